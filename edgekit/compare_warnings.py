"""What the figures of a comparison mean, in sentences: only what they show."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import registry, units
from edgekit.compare_outputs import within_one_step
from edgekit.compare_reruns import ran_in_bfloat16
from edgekit.compare_types import (
    AccuracyChange,
    ClassChange,
    CompareReport,
    OutputDifference,
    Rerun,
)

SIGNIFICANT = 0.05
EXPLAINED_DB = 6.0
"""Float32 arithmetic explains a difference where it takes three quarters of its power away."""
POOR_DB = 40.0
"""Nobody asks for the reason of an output that is closer to the reference's."""


def warnings(report: CompareReport) -> Iterator[str]:
    """One line each."""
    for about in (report.reference, report.artifact):
        if registry.is_compiled(about.format):
            yield (
                f"{about.path} was run by {about.runtime}, not by {about.format}: what is compiled"
                " of it for the device computes the same graph with kernels of its own, which"
                " round otherwise"
            )
    if report.accuracy is None:
        yield "the data has no labels, so that accuracy was not compared: outputs were"
    else:
        yield from _accuracy(report.accuracy)
    if report.rerun is not None:
        yield of_rerun(report.rerun)
    if ran_in_bfloat16(report.reference):
        yield (
            "the reference itself ran in bfloat16; without INFERENCE_PRECISION_HINT=f32 OpenVINO"
            " chooses that where the CPU has it"
        )
    hidden = of_kernels(report)
    if hidden is not None:
        output, seen_db = hidden
        yield (
            f"these layers do not explain output '{output.name}' ({output.sqnr_db:.1f} dB as"
            f" shipped, {seen_db:.1f} dB where every tensor is kept): the fused kernels that ship"
            f" do, which differ by up to {_kernels(report)}"
        )
    for output in report.outputs:
        if within_one_step(output.max_steps):
            yield (
                f"output '{output.name}' differs by no more than one quantization step"
                f" ({output.step:.3g}), which is what kernels do that round the last bit otherwise"
            )


def lost_classes(change: AccuracyChange) -> tuple[ClassChange, ...]:
    """Classes whose loss chance does not explain, although there are many classes to look at.

    McNemar's exact p-value of each, times the number of classes (Bonferroni), is below 0.05.
    """
    classes = change.classes or ()
    return tuple(
        one for one in classes if one.lost > one.won and one.p_value * len(classes) < SIGNIFICANT
    )


def of_kernels(report: CompareReport) -> tuple[OutputDifference, float] | None:
    """The output that is poor as shipped, and the SQNR of the run that keeps every tensor.

    None where that run is no better. Else fused kernels make the difference, which no layer shows.
    """
    found = report.layers
    if (
        found is None
        or found.first_bad
        or found.changed
        or within_one_step(found.kernels_max_steps)
    ):
        return None
    seen_db = [layer.sqnr_db for layer in found.layers if layer.matched_by == "output"]
    worst = min(report.outputs, key=lambda output: output.sqnr_db)
    if not seen_db or worst.sqnr_db >= min(POOR_DB, min(seen_db) - EXPLAINED_DB):
        return None
    return worst, min(seen_db)


def _kernels(report: CompareReport) -> str:
    assert report.layers is not None, "kernels are seen beside layers"
    steps = report.layers.kernels_max_steps
    told = f" ({units.significant(steps, 2)} quantization steps)" if steps else ""
    return units.difference(report.layers.kernels_max_abs) + told


def _accuracy(change: AccuracyChange) -> Iterator[str]:
    paired = change.paired
    if paired is not None and change.drop > 0 and paired.p_value < SIGNIFICANT:
        yield (
            f"the artifact is worse, and not by chance: {paired.only_source_right} samples are"
            f" right in the reference alone, {paired.only_result_right} in the artifact alone"
            f" (McNemar: p {units.probability(paired.p_value)})"
        )
    lost = lost_classes(change)
    if lost:
        named = ", ".join(f"{one.label} ({one.lost} lost, {one.won} won)" for one in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        yield (f"classes that lost more than chance explains: {named}{more}; a total can hide that")


def of_rerun(rerun: Rerun) -> str:
    """Whether bfloat16 explains the difference, with the hint that takes it away."""
    hint = "INFERENCE_PRECISION_HINT=f32"
    figures = (
        f"{units.difference(rerun.as_it_ran_max_abs)} as it ran,"
        f" {units.difference(rerun.max_abs)} with {hint}"
    )
    if rerun.sqnr_db >= rerun.as_it_ran_sqnr_db + EXPLAINED_DB:
        return (
            f"OpenVINO ran the artifact in bfloat16, which explains the difference ({figures}):"
            f" set {hint} where it is deployed"
        )
    return (
        f"OpenVINO ran the artifact in bfloat16, which does not explain the difference ({figures})"
    )
