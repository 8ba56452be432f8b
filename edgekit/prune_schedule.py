"""How zeros come little by little while a model trains (Zhu & Gupta 2017, arXiv 1710.01878).

s(t) = s_final · (1 − (1 − t/n)³): fast while there is much to spare, slow towards the end. All are
there after half of the training, so that what is left recovers. Nothing here imports a framework.
"""

from __future__ import annotations

import math

import msgspec

from edgekit.recipe_types import PruneStep

RAMP_SHARE = 0.5
"""Of a training, after which the sparsity is the final one."""
RAMP_UPDATES = 50
"""How often masks change on the way: after each there are some steps to recover in."""

LEARNING_RATE = 1e-3
"""Adam's usual one, whatever the model was compiled with: what loses most of its weights has to
move, and a stored rate is where a schedule had ended. Digits demo, 80 % per layer: 86.8 % on val
with the model's own 0.00018, 97.0 with this."""


def with_rate(step: PruneStep) -> PruneStep:
    """A step with the learning rate that it trains with."""
    return msgspec.structs.replace(step, learning_rate=step.learning_rate or LEARNING_RATE)


def ramp(step: int, steps: int) -> float:
    """The share of the final sparsity before a training step, from 0 to 1.

    Args:
        step: Counted from 0 over all epochs.
        steps: How many there are.
    """
    end = ramp_end(steps)
    return 1.0 if step >= end else 1 - (1 - step / end) ** 3


def ramp_end(steps: int) -> int:
    """The training step at which the sparsity is the final one."""
    return max(1, math.ceil(RAMP_SHARE * steps))


def is_update(step: int, steps: int) -> bool:
    """Whether masks change before a training step."""
    end = ramp_end(steps)
    return step == end or (step < end and step % max(1, end // RAMP_UPDATES) == 0)


def earliest_epoch(epochs: int) -> int:
    """The first epoch that ends with the final sparsity."""
    return math.floor(RAMP_SHARE * epochs) + 1
