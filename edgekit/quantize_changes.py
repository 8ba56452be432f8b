"""The quantize step where it changes weights: what int8 is on the target, and what is recorded.

Nothing here imports a framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from edgekit import compression_state, compression_warnings, hardware, training_loop
from edgekit.compression_state import Work
from edgekit.manifest_types import Quantization
from edgekit.recipe_types import QuantizeStep

SHOWN = 5


@contextmanager
def twin(work: Work, step: QuantizeStep, name: str) -> Iterator[dict[str, Any]]:
    """The model's fake-quantized twin, while a step trains it; its ranges are then recorded.

    Yields:
        What there is to say of it in the manifest.
    """
    profile = hardware.load(work.plan.asked.target) if work.plan.asked.target else None
    scheme = step.scheme or (hardware.scheme(profile) if profile else "litert")
    one_scale = hardware.one_scale(profile) if profile and scheme == "litert" else ()
    if step.mode == "qat":
        held = work.worker.call("held")
        compression_state.warn(work, *compression_warnings.of_shared_values(held, one_scale))
    work.progress(f"{name}: int8 as {scheme} has it, ranges of some training samples")
    begun = work.worker.call(
        "begin_quantization", scheme=scheme, per_tensor=list(one_scale), seed=work.plan.asked.seed
    )
    stays: dict[str, str] = begun["float_layers"]
    if stays:
        work.progress(f"{name}: {_told(stays)}")
    yield {"scheme": scheme, "per_tensor": list(one_scale), "float_layers": stays}
    mode = "qat" if step.mode == "qat" else "refined"
    made = work.worker.call("finish_quantization", mode=mode)
    work.quantization = msgspec.convert(made, Quantization | None)


def refine(work: Work, name: str) -> dict[str, Any]:
    """Tunes int8 on unlabelled samples; returns what there is to say of it in the manifest."""
    begun = work.worker.call("begin_refinement", seed=work.plan.asked.seed)
    work.progress(f"{name}: the float model teaches its int8 twin, on {begun['samples']} samples")
    while True:
        state = work.worker.call("advance_refinement", limit_s=training_loop.CALL_S)
        if state["done"] >= state["total"]:
            break
        work.bar(state["done"] / state["total"], f"{name}: step {state['done']}/{state['total']}")
    held = work.worker.call("held")
    report: dict[str, Any] = work.worker.call("finish_refinement")
    if report["kept"] == "refined" and held["clusters"]:
        compression_state.warn(work, compression_warnings.REFINED)
    work.progress(f"{name}: {verdict(report)}")
    return {"refined": report, "held": work.worker.call("held")}


def verdict(report: dict[str, Any]) -> str:
    """Whether a refinement was kept, and by what figures; see `refining.Refinement.report`."""
    kept = (
        "kept"
        if report["kept"] == "refined"
        else "no better, the model stays as it was, and convert makes plain int8 of it"
    )
    return (
        f"refined {report['sqnr_db']:.1f} dB against plain {report['plain_sqnr_db']:.1f} dB on"
        f" {report['judging']} held-back samples ({report['choosing']} others chose the best"
        f" training step): {kept}"
    )


def _told(stays: dict[str, str]) -> str:
    shown = [f"{layer} ({reason})" for layer, reason in list(stays.items())[:SHOWN]]
    more = f" and {len(stays) - SHOWN} more" if len(stays) > SHOWN else ""
    return f"{len(stays)} layer{'s' * (len(stays) > 1)} not simulated: {', '.join(shown)}{more}"
