"""Metrics of the user's own: `file.py:function` with `function(x, y, outputs)` → float.

It sees a whole role in order; x and outputs are one array where the model has one input or output,
else dicts by name. Attributes of the function: `higher_is_better` (True), `group_size` (1:
consecutive samples that belong together, such as the windows of a clip; the bootstrap draws
groups and n counts them) and `resamples` (100; 0 for no interval).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import user_code
from edgekit.errors import DataError
from edgekit.intervals import bootstrap
from edgekit.types import Accuracy
from edgekit.user_code import UserFunction

Array = NDArray[Any]
Inputs = Mapping[str, Array] | Array | None

_RESAMPLES = 100


def load(spec: str) -> UserFunction:
    """Loads the function and checks its attributes.

    Raises:
        DataError: The file or function is missing or fails, or an attribute is wrong.
    """
    user = user_code.load(spec)
    for name, least in (("group_size", 1), ("resamples", 0)):
        value = user.attribute(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise DataError(
                f"{spec}.{name} is {value!r}; it must be a whole number, at least {least}",
                f"set {user.name}.{name} in {user.path}",
            )
    return user


def higher_is_better(user: UserFunction) -> bool:
    """Whether a larger figure is better."""
    return bool(user.attribute("higher_is_better", True))


def group_size(user: UserFunction) -> int:
    """Consecutive samples that belong together."""
    return int(user.attribute("group_size", 1))


def evaluate(
    user: UserFunction, x: Inputs, y: Array | None, outputs: Mapping[str, Array]
) -> Accuracy:
    """The figure of a whole role, with a bootstrap interval over its groups.

    Draws for which the function fails or returns NaN are left out (an AUC without one of the
    classes); with more than a tenth of those there is no interval.

    Raises:
        DataError: The function fails on the whole role or returns no finite number, or the
            samples are no whole groups.
    """
    n, size = len(next(iter(outputs.values()))), group_size(user)
    if n % size:
        raise DataError(
            f"{user.spec}: {n} samples are no multiple of its group_size {size}",
            "give whole groups, in order",
        )
    value = _call(user, x, y, outputs, slice(None))

    def resampled(drawn: NDArray[np.intp]) -> float:
        numbers = (drawn[:, None] * size + np.arange(size)).ravel()
        try:
            return _call(user, x, y, outputs, numbers)
        except DataError:
            return math.nan

    resamples = int(user.attribute("resamples", _RESAMPLES))
    interval = bootstrap(resampled, n // size, resamples=resamples)
    return Accuracy(user.spec, value, interval, n // size, higher_is_better(user))


def _call(
    user: UserFunction,
    x: Inputs,
    y: Array | None,
    outputs: Mapping[str, Array],
    chosen: slice | NDArray[np.intp],
) -> float:
    arguments = [_plain(x, chosen), None if y is None else y[chosen], _plain(outputs, chosen)]
    with user_code.guarded(user.path, user.spec):
        result = user.function(*arguments)
    try:
        value = float(result)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{user.spec} returned {str(result)[:80]!r}, not a finite number",
            "return one float for the whole role",
        )
    return value


def _plain(arrays: Inputs, chosen: slice | NDArray[np.intp]) -> Any:
    """One array where there is one, else a dict by name."""
    if arrays is None:
        return None
    if isinstance(arrays, np.ndarray):
        return arrays[chosen]
    picked = {name: array[chosen] for name, array in arrays.items()}
    return next(iter(picked.values())) if len(picked) == 1 else picked
