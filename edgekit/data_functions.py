"""Reads data from the user's `file.py:function`.

`function(role)` returns an iterable of `(x, y or None)` batches, or None where it has no such
role; x is an array of shape [n, …], or a dict of them by input name. Each call must give the same
samples in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import data_reading, hashing, user_code
from edgekit.data_checks import by_input_name, check_dtype, check_finite, fit
from edgekit.data_reading import Numbers
from edgekit.errors import DataError
from edgekit.types import ROLES, Batch, Role, TensorSpec
from edgekit.user_code import UserFunction

ENDLESS_SAMPLES = 5_000_000
"""More than this from one call is taken for a generator without an end."""

_SHAPE_OF_IT = "return an iterable of (x, y or None) batches, as in [(x_test, y_test)], or None"


@dataclass(frozen=True)
class FunctionReader:
    """See `edgekit.data_reading.Reader`."""

    function: UserFunction
    inputs: tuple[TensorSpec, ...]
    pools: dict[Role, int | None]
    notes: tuple[str, ...] = field(
        default=("the function's file is hashed; files that it reads are not tracked",)
    )

    def count(self, pool: Role) -> int:
        """The samples of a role; the first call reads all of them."""
        known = self.pools[pool]
        if known is None:
            known = sum(data_reading.batch_length(batch) for batch in self.read(pool, None))
            self.pools[pool] = known
        return known

    def read(self, pool: Role, wanted: Numbers | None) -> Iterator[Batch]:
        """Streams samples in order."""
        return self.read_result(_call(self.function, pool), pool, wanted)

    def read_result(self, result: Any, pool: Role, wanted: Numbers | None) -> Iterator[Batch]:
        """Streams samples from what the function returned."""
        what = f"{self.function.spec}({pool!r})"
        start = 0
        for number, item in enumerate(_items(self.function, what, result)):
            x, y = _pair(item, f"{what} batch {number}")
            arrays, labels, length = _arrays(x, y, self.inputs, f"{what} batch {number}")
            chosen = data_reading.within(wanted, start, start + length)
            if len(chosen):
                yield self._batch(arrays, labels, what, chosen, start)
            start += length
            if start > ENDLESS_SAMPLES:
                raise DataError(
                    f"{what} gave more than {ENDLESS_SAMPLES} samples",
                    "let it end after one pass over the data",
                )
            if data_reading.past_last(wanted, start):
                return
        if wanted is not None and start <= int(wanted[-1]):
            raise DataError(
                f"{what} gave {start} samples, fewer than the time before",
                "let every call give the same samples in the same order",
            )

    def labels(self, pool: Role) -> NDArray[np.generic] | None:  # noqa: ARG002
        """None: the samples would have to be made as well."""
        return None

    def fingerprints(self, pool: Role, limit_bytes: int) -> NDArray[np.uint64]:
        """A hash of each sample."""
        return data_reading.fingerprint(self.read(pool, None), limit_bytes)

    def sha256(self) -> str:
        """SHA-256 of the file and the function's name."""
        digest = hashing.sha256_file(self.function.path)
        return hashing.sha256_listing([(self.function.name, digest)])

    def _batch(
        self,
        arrays: Mapping[str, NDArray[np.generic]],
        labels: NDArray[np.generic] | None,
        what: str,
        chosen: Numbers,
        start: int,
    ) -> Batch:
        numbers = chosen + start
        x = {
            spec.name: fit(arrays[spec.name][chosen], spec, f"x of {what}", numbers)
            for spec in self.inputs
        }
        if labels is None:
            return Batch(x)
        y = labels[chosen]
        check_finite(y, f"y of {what}", numbers)
        return Batch(x, y)


def open_function(spec: str, inputs: Sequence[TensorSpec]) -> FunctionReader:
    """Loads the function and looks at the first batch of every role.

    Raises:
        DataError: The file or function is missing or fails, or a batch does not fit the model.
    """
    function = user_code.load(spec)
    reader = FunctionReader(function, tuple(inputs), {})
    for role in ROLES:
        result = _call(function, role)
        if result is None:
            continue
        if next(reader.read_result(result, role, None), None) is None:
            raise DataError(
                f"{spec}({role!r}) gave no samples",
                f"return None from it where there is no {role} data",
            )
        reader.pools[role] = None
    if not reader.pools:
        raise DataError(f"{spec} returned None for each of {', '.join(ROLES)}", _SHAPE_OF_IT)
    return reader


def _call(function: UserFunction, role: Role) -> Any:
    with user_code.guarded(function.path, f"{function.spec}({role!r})"):
        return function.function(role)


def _items(function: UserFunction, what: str, result: Any) -> Iterator[Any]:
    if _is_single_pair(result):
        raise DataError(f"{what} returned one (x, y) pair, not batches", "return [(x, y)]")
    if isinstance(result, dict | str | bytes | np.ndarray) or not hasattr(result, "__iter__"):
        raise DataError(f"{what} returned {_kind(result)}", _SHAPE_OF_IT)
    with user_code.guarded(function.path, what):
        iterator = iter(result)
    end = object()
    while True:
        with user_code.guarded(function.path, what):
            item = next(iterator, end)
        if item is end:
            return
        yield item


def _is_single_pair(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and not isinstance(result[0], tuple)


def _pair(item: Any, what: str) -> tuple[Any, Any]:
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise DataError(f"{what} is {_kind(item)}, not (x, y or None)", _SHAPE_OF_IT)


def _arrays(
    x: Any, y: Any, inputs: Sequence[TensorSpec], what: str
) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.generic] | None, int]:
    if isinstance(x, Mapping):
        named = by_input_name(x, inputs, what)
    elif len(inputs) == 1:
        named = {inputs[0].name: x}
    else:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(f"{what} has one x; the model has the inputs {names}", "give x as a dict")
    arrays = {name: _array(value, f"x of {what}") for name, value in named.items()}
    if isinstance(y, Mapping):
        raise DataError(
            f"y of {what} is a dict; labels are one array, for the first output",
            "give one array; --metric file.py:function can judge several outputs",
        )
    labels = None if y is None else _array(y, f"y of {what}")
    lengths = {len(array) for array in (*arrays.values(), *([] if labels is None else [labels]))}
    if len(lengths) > 1:
        counts = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        told = counts if labels is None else f"{counts}, y {len(labels)}"
        raise DataError(f"{what} has different numbers of samples: {told}", "give as many of each")
    return arrays, labels, lengths.pop()


def _array(value: Any, what: str) -> NDArray[np.generic]:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{what} is no array: {error}", "give samples of the same shape") from None
    check_dtype(array.dtype, what)
    if array.ndim == 0:
        raise DataError(f"{what} is a single number", "give an array of shape [n, …]")
    return array


def _kind(value: Any) -> str:
    size = f" of length {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{size}"
