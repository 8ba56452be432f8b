"""OpenVINO's silent bfloat16: whether float32 arithmetic takes a difference away."""

from __future__ import annotations

from collections.abc import Callable

from edgekit import compare_outputs, compare_sides
from edgekit.chunks import Arrays
from edgekit.compare_outputs import Answered, Differences, Ports
from edgekit.compare_sides import Named, Side
from edgekit.compare_types import Compared, OutputDifference, Rerun
from edgekit.types import Batch
from edgekit.workers import scratch

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def ran_in_bfloat16(about: Compared) -> bool:
    """Whether OpenVINO computed in bfloat16, asked for or not."""
    return about.runtime == "openvino" and (
        about.precision_hint == "bfloat16" or "bfloat16" in (about.ran or "")
    )


def rerun(
    named: Named,
    reference: Side,
    artifact: Side,
    ports: Ports,
    samples: Arrays,
    progress: Callable[[str], None],
) -> Rerun | None:
    """Runs an artifact that ran in bfloat16 once more in float32; None for any other.

    Args:
        named: The artifact, to be opened once more.
        reference: The reference, open.
        artifact: The artifact, as it ships.
        ports: Matched inputs and outputs.
        samples: Calibration samples by the reference's input names.
        progress: Told what is being done.
    """
    if not ran_in_bfloat16(artifact.about):
        return None
    progress("running the artifact in float32 too")
    options = {**artifact.options, **FLOAT32}
    with compare_sides.reopened(named, options) as exact:
        seen = [_difference(reference, side, ports, samples) for side in (artifact, exact)]
    return Rerun(
        FLOAT32,
        as_it_ran_max_abs=_largest(seen[0]),
        max_abs=_largest(seen[1]),
        as_it_ran_sqnr_db=min(one.sqnr_db for one in seen[0]),
        sqnr_db=min(one.sqnr_db for one in seen[1]),
    )


def _largest(outputs: tuple[OutputDifference, ...]) -> float | None:
    found = [one.max_abs for one in outputs if one.max_abs is not None]
    return max(found) if len(found) == len(outputs) else None


def _difference(
    reference: Side, artifact: Side, ports: Ports, samples: Arrays
) -> tuple[OutputDifference, ...]:
    differences = Differences(ports)
    given = {ports.inputs[name]: array for name, array in samples.items()}
    with scratch() as directory:
        expected = compare_outputs.run(reference, [samples], directory / "reference")
        found = compare_outputs.run(artifact, [given], directory / "artifact")
        for one, other in zip(expected, found, strict=True):
            own = {name: other[ports.outputs[name]] for name in ports.outputs}
            differences.add(Answered(Batch(samples), one, own))
    return differences.figures()
