"""How `edgekit convert` says what it wrote, how it was calibrated, and how far it is off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType

from edgekit import engine_plan, printing, printing_gpu, printing_npu, tensor_names, units
from edgekit import manifest as manifests
from edgekit.arena_types import TflmArena
from edgekit.intervals import SQNR_CAP_DB
from edgekit.manifest_types import Calibration, ConversionPlan, Manifest, Parity, Rung
from edgekit.types import Accuracy

SHOWN_TENSORS = 2


def plan(planned: ConversionPlan) -> RenderableType:
    """What `--dry-run` resolved."""
    batch = "dynamic" if planned.batch is None else str(planned.batch)
    if planned.batch_range:
        batch = "{}..{}".format(*planned.batch_range)
    facts = [
        ("would write", planned.output + " (unchanged already)" * planned.up_to_date),
        ("format", f"{planned.emit or planned.format} {planned.precision} for {planned.target}"),
        ("from", f"{planned.model} ({planned.source_format})"),
        ("input", f"{planned.input_type}, batch {batch}, preprocessing {planned.preprocess}"),
        ("output", planned.output_type),
        ("simplified first", "yes" if planned.simplify else "no"),
        ("data", planned.data or "none"),
    ]
    if planned.device not in (None, engine_plan.NOWHERE):
        facts.append(("engine", f"built on {planned.device}"))
    if planned.max_drop is not None:
        facts.append(("largest drop", f"{planned.max_drop:g} of {planned.metric or 'top1'}"))
    return printing.stack(printing.facts(facts), printing.warnings(planned.notes))


def convert(made: Manifest, output: Path) -> RenderableType:
    """One block: the files, the tensors, the evidence.

    Args:
        made: What stands beside the artifact.
        output: Where the artifact is, as the user named it.
    """
    return printing.stack(
        printing.facts(_facts(made, output)),
        _to_build(made),
        _candidates(made.calibration) if made.calibration else None,
        _ladder(made.ladder) if made.ladder else None,
        printing.warnings(made.warnings),
    )


def _facts(made: Manifest, output: Path) -> Iterator[tuple[str, printing.Cell]]:
    artifact = made.artifact
    target = f" for {made.profile.name}" if made.profile else ""
    yield "artifact", f"{output} ({_sizes(made)})"
    yield "manifest", str(manifests.path_for(output))
    yield "format", f"{artifact.format} {artifact.precision or ''}{target}"
    yield "from", made.source.path
    stored = made.steps[-1].detail.get("sparse", ()) if made.steps else ()
    if stored:
        yield "sparse", f"weights of {len(stored)} layers; --no-sparse leaves them, and zips better"
    memory = _memory(made)
    if memory:
        yield "memory", memory
    if made.environment.get("c_compiler"):
        yield "run here", f"golden vectors equal, compiled by {made.environment['c_compiler']}"
    if made.estimate:
        yield from printing_npu.facts(made.estimate)
    if made.engine:
        yield from printing_gpu.engine(made.engine, made.timing.get("engine_build_s"))
    simplified = _simplified(made)
    if simplified:
        yield "simplified", simplified
    yield from (("input", printing.tensor(spec)) for spec in made.inputs)
    yield from (("output", printing.tensor(spec)) for spec in made.outputs)
    if made.calibration:
        yield "calibration", _chosen(made.calibration)
    if made.float_layers:
        yield "kept float", ", ".join(made.float_layers)
    if made.parity:
        yield "parity", _parity(made.parity)
    if made.engine:
        yield "engine parity", f"{_decibels(made.engine.sqnr_db)} on the device"
    if made.accuracy:
        yield "accuracy", _accuracy(made.source_accuracy, made.accuracy)


def _to_build(made: Manifest) -> RenderableType | None:
    """The command that makes the engine, to be pasted; None where there is none to make."""
    step = next((step for step in made.steps if step.name == "build"), None)
    if step is None or step.detail["ran"]:
        return None
    detail = step.detail
    where = (
        f"builds the engine (compute capability {detail['compute_capability']}, TensorRT"
        f" {detail['tensorrt_major']}):"
    )
    return printing.command(where, detail["command"])


def _simplified(made: Manifest) -> str | None:
    """What was taken out before conversion, on one line; None if it was nothing."""
    step = next((step for step in made.steps if step.name == "simplify"), None)
    removed = step.detail.get("removed", ()) if step else ()
    if step is None or not removed:
        return None
    channels = sum(entry["channels"] or 0 for entry in removed)
    layers = sum(entry["channels"] is None for entry in removed)
    parts = [
        f"{count} {what}{'s' * (count > 1)}"
        for count, what in ((channels, "dead channel"), (layers, "layer without effect"))
        if count
    ]
    before, after = step.detail["parameters_before"], step.detail["parameters_after"]
    return f"{' and '.join(parts)} removed: {before:,} → {after:,} parameters"


def _memory(made: Manifest) -> str | None:
    """What it needs on a device; None where that was not planned."""
    step = next((step for step in made.steps if step.name.startswith("emit ")), None)
    if step is None:
        return _arena(made.arena) if made.arena else None
    detail = step.detail
    if "arena_bytes" in detail:
        arena = f"arena {units.size(detail['arena_bytes'])}"
    else:
        arena = _heads(detail["arena_head_bytes"], detail["arena_tail_estimate_bytes"])
    return f"constants {units.size(detail['constant_bytes'])}, {arena}"


def _arena(arena: TflmArena) -> str:
    largest = ", ".join(
        f"{tensor_names.short(entry.name)} {units.size(entry.size_bytes)}"
        for entry in arena.largest[:SHOWN_TENSORS]
    )
    return f"{_heads(arena.head_bytes, arena.tail_estimate_bytes)}\nlargest tensors: {largest}"


def _heads(head_bytes: int, tail_bytes: int) -> str:
    return f"arena {units.size(head_bytes)} and about {units.size(tail_bytes)} (an estimate)"


def _sizes(made: Manifest) -> str:
    artifact = made.artifact
    files = f"{len(artifact.files)} files, " if len(artifact.files) > 1 else ""
    return f"{files}{units.size(artifact.size_bytes)}, gzip {units.size(artifact.gzip_bytes)}"


def _chosen(calibration: Calibration) -> str:
    return f"{calibration.chosen}, on {calibration.samples} samples (seed {calibration.seed})"


def _parity(parity: Parity) -> str:
    on = f"{parity.samples} {'real' if parity.real_data else 'generated'} samples"
    agreement = "" if parity.agreement is None else f", same class {100 * parity.agreement:.1f} %"
    error = f"{parity.max_rel:.2g}".replace("e-0", "e-")
    largest = f"largest error {error} of the range{_allowed(parity)}"
    return f"{_decibels(parity.sqnr_db)} on {on}\n{largest}{agreement}"


def _allowed(parity: Parity) -> str:
    """What a float artifact's error may be; that of a quantized one has no limit but its signal."""
    rule = "max_rel <= "
    if not parity.tolerance.startswith(rule):
        return ""
    return f" (allowed: {parity.tolerance.removeprefix(rule)})"


def _accuracy(source: Accuracy | None, artifact: Accuracy) -> str:
    name = artifact.metric
    before = f"{units.metric(name, source.value)} → " if source else ""
    interval = units.metric_interval(name, artifact.value, artifact.ci95)
    return f"{name} {before}{units.metric(name, artifact.value)} {interval}, n = {artifact.n}"


def _candidates(calibration: Calibration) -> RenderableType:
    failed = any(candidate.error for candidate in calibration.candidates)
    columns = [("calibration", False), ("SQNR of the output", True), ("", False)]
    rows = [
        (
            candidate.method,
            _decibels(candidate.sqnr_db),
            "chosen" if candidate.method == calibration.chosen else "",
            *([candidate.error or ""] if failed else []),
        )
        for candidate in calibration.candidates
    ]
    return printing.table([*columns, *([("why not", False)] if failed else [])], rows)


def _decibels(value_db: float | None) -> str:
    """A signal-to-noise ratio; its cap says that the outputs are the same."""
    if value_db is None:
        return units.NOT_MEASURED
    return "identical" if value_db >= SQNR_CAP_DB else f"{value_db:.1f} dB".replace("-", "−")


def _ladder(ladder: tuple[Rung, ...]) -> RenderableType:
    rows = [
        (
            rung.name,
            units.metric(rung.accuracy.metric, rung.accuracy.value) if rung.accuracy else "",
            "" if rung.drop is None else f"{rung.drop:.4f}",
            rung.outcome,
        )
        for rung in ladder
    ]
    columns = [("--max-drop tried", False), ("accuracy", True), ("drop", True), ("", False)]
    return printing.table(columns, rows)
