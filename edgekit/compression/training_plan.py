"""How a training goes: batch size, learning rate and schedule, for what was not given.

Imports nothing heavy: either generation of Keras trains by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.compression.compile_config import CompileConfig
    from edgekit.keras_loading import Loaded

WARM_UP_SHARE = 0.05
WARM_UP_STEPS = 20
"""The least warm-up: Adam's second moments are noise before."""

BATCH_SIZES = ((2_000, 16), (20_000, 32), (100_000, 64))
"""Up to so many samples, batches of so many; above, 128. A short training needs many steps."""

LOWEST_RATE, USUAL_RATE, HIGHEST_RATE = 1e-4, 1e-3, 2e-3
"""What is believed of a recorded learning rate: lower ones are where a schedule had ended."""

FINETUNE_SHARE = 0.1
"""Of the model's own learning rate: a trained model is to be moved, not trained anew."""

QUANTIZE_SHARE = 0.02
"""Likewise, in steps of int8: a ResNet-8 ended three epochs at a loss of 0.048 with 2e-5, and of
0.060 with 1e-4, which first undid what it had."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a training goes; see `plan`."""

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    steps_per_epoch: int


def plan(
    student: Loaded,
    count: int,
    config: CompileConfig | None,
    *,
    epochs: int,
    learning_rate: float | None,
    batch_size: int | None,
    seed: int,
    distilling: bool,
    quantizing: bool = False,
) -> tuple[Settings, tuple[str, ...]]:
    """Fills in what was not given; returns it with the reasons in words.

    The last, partial batch of an epoch is left out (another shape would be traced anew): every
    epoch is shuffled anew, so that no sample is left out for good. A model whose batch dimension
    is fixed trains with that; fewer samples than it takes are repeated.
    """
    notes = []
    fixed = {spec.shape[0] for spec in student.inputs} - {None}
    size = min(batch_size or _batch_size(count), count)
    if fixed:
        size = int(fixed.pop() or 1)
        if batch_size not in (None, size):
            notes.append(f"batches of {size}: the model's batch dimension is fixed")
    rate = learning_rate
    if rate is None:
        rate, why = _learning_rate(config, distilling, quantizing)
        notes.append(f"learning rate {rate:g}: {why}")
    steps = max(1, count // size)
    return Settings(epochs, rate, size, seed, steps), tuple(notes)


def _batch_size(count: int) -> int:
    return next((size for most, size in BATCH_SIZES if count <= most), 128)


def _learning_rate(
    config: CompileConfig | None, distilling: bool, quantizing: bool = False
) -> tuple[float, str]:
    share = QUANTIZE_SHARE if quantizing else 1.0 if distilling else FINETUNE_SHARE
    told = "" if share == 1.0 else f"{share:g} of "
    own = config.adaptive_rate if config else None
    if own is None:
        return share * USUAL_RATE, f"{told}Adam's usual {USUAL_RATE:g} (the model has none)"
    if own < LOWEST_RATE:
        return share * USUAL_RATE, (
            f"{told}Adam's usual {USUAL_RATE:g} (the model's {own:.2g} is the end of a schedule)"
        )
    rate = min(own, HIGHEST_RATE)
    capped = f", at most {HIGHEST_RATE:g}" if rate < own else ""
    return share * rate, f"{told}the model's own {own:.3g}{capped}"


def schedule(settings: Settings) -> dict[str, float]:
    """The learning rate over all steps, as either generation's CosineDecay takes it."""
    steps = settings.epochs * settings.steps_per_epoch
    warm = min(steps // 2, max(math.ceil(WARM_UP_SHARE * steps), WARM_UP_STEPS))
    return {
        "initial_learning_rate": settings.learning_rate / (warm + 1),
        "decay_steps": max(1, steps - warm),
        "warmup_target": settings.learning_rate,
        "warmup_steps": warm,
    }
