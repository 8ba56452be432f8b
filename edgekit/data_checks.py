"""Whether arrays are what the model's inputs and the metrics can take; what is not, is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.types import Dimension, TensorSpec

NUMERIC_KINDS = "biuf"
Shape = tuple[int, ...]


def is_integer(spec: TensorSpec) -> bool:
    """Whether an input takes whole numbers (token ids), not quantized real ones."""
    return spec.scale is None and spec.dtype.lstrip("u").startswith(("int", "bool"))


def shape_text(shape: Sequence[Dimension | str]) -> str:
    """A shape as it is printed, with `?` for axes that may vary."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def check_inputs(inputs: Sequence[TensorSpec]) -> None:
    """Raises DataError for a model whose inputs no numbers fit (text, or none at all)."""
    if not inputs:
        raise DataError("the model has no inputs, so no data fits it", "leave out --data")
    for spec in inputs:
        if not is_integer(spec) and not spec.dtype.lstrip("bu").startswith(("float", "int")):
            raise DataError(
                f"the input {spec.name} takes {spec.dtype}; only numbers can be given as data",
                "export the model from behind its text or resource inputs",
            )


def check_dtype(dtype: np.dtype[Any], what: str) -> None:
    """Raises DataError for anything but numbers."""
    if dtype.kind in NUMERIC_KINDS:
        return
    if dtype.hasobject:
        raise DataError(
            f"{what} holds pickled Python objects, which are never loaded",
            "save it as an array of numbers, with every sample of the same shape",
        )
    raise DataError(
        f"{what} has dtype {dtype}; only numbers are read", "save numbers (labels as 0, 1, 2, …)"
    )


def sample_shape(shape: Sequence[int], spec: TensorSpec, what: str) -> Shape:
    """The shape that one sample takes in the model's input.

    A channel axis of length 1 at the end may be missing or in excess: nothing is lost by it.

    Args:
        shape: Of the data, [n, …].
        spec: The model's input.
        what: Names the data in the message.

    Raises:
        DataError: It does not fit.
    """
    got, wanted = tuple(shape[1:]), spec.shape[1:]
    if 0 in shape:
        raise DataError(
            f"{what} has shape {shape_text(shape)}: it holds no samples",
            "save some, or leave it out",
        )
    if shape:
        for candidate in (got, (*got, 1), got[:-1] if got[-1:] == (1,) else got):
            if _matches(candidate, wanted):
                return candidate
    raise DataError(
        f"{what} has shape {shape_text(shape)}; "
        f"the input {spec.name} takes {shape_text(('n', *wanted))}",
        "save the samples in that shape, samples first",
    )


def fit(
    array: NDArray[np.generic], spec: TensorSpec, what: str, numbers: NDArray[np.intp]
) -> NDArray[np.generic]:
    """Samples in the shape and type of a model's input: float32, or its own whole-number type.

    Args:
        array: Of shape [n, …].
        spec: The model's input.
        what: Names the data in the message.
        numbers: The n samples' numbers in the data, for the message.

    Raises:
        DataError: The shape or type does not fit, or a value is NaN or infinite.
    """
    shape = (len(array), *sample_shape(array.shape, spec, what))
    check_dtype(array.dtype, what)
    if is_integer(spec):
        return _whole(array, spec, what).reshape(shape)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and named below
        values = array.astype(np.float32).reshape(shape)
    check_finite(values, what, numbers)
    return values


def check_finite(values: NDArray[np.generic], what: str, numbers: NDArray[np.intp]) -> None:
    """Raises DataError where samples hold NaN or infinite values, with how many do."""
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise DataError(
            f"{what} holds NaN or infinite values in {int(bad.sum())} of the {len(values)} "
            f"samples just read, first in sample {int(numbers[bad][0])}",
            "remove or repair these samples",
        )


def by_input_name(
    given: Mapping[str, Any], inputs: Sequence[TensorSpec], what: str
) -> dict[str, Any]:
    """Orders what is given by name as the model's inputs are.

    TensorFlow's export decorates names (`serving_default_NAME:0`); the bare NAME means the same.

    Raises:
        DataError: An input is missing, or a name is none of the model's.
    """
    found = {}
    left = dict(given)
    for spec in inputs:
        bare = spec.name.removeprefix("serving_default_").rsplit(":", 1)[0]
        name = spec.name if spec.name in left else bare
        if name not in left:
            raise _unnamed(f"{what} lacks the input {spec.name}", given, inputs)
        found[spec.name] = left.pop(name)
    if left:
        raise _unnamed(f"{what} names the unknown input {next(iter(left))}", given, inputs)
    return found


def _unnamed(wrong: str, given: Mapping[str, Any], inputs: Sequence[TensorSpec]) -> DataError:
    names = ", ".join(spec.name for spec in inputs)
    return DataError(f"{wrong}; given: {', '.join(given)}", f"name each of the inputs: {names}")


def _matches(shape: Shape, wanted: Sequence[Dimension]) -> bool:
    return len(shape) == len(wanted) and all(
        size in {got, None} for got, size in zip(shape, wanted, strict=True)
    )


def _whole(array: NDArray[np.generic], spec: TensorSpec, what: str) -> NDArray[np.generic]:
    if array.dtype.kind == "f":
        raise DataError(
            f"{what} has dtype {array.dtype}; the input {spec.name} takes {spec.dtype}",
            f"save it as {spec.dtype}",
        )
    if spec.dtype != "bool":
        limits = np.iinfo(spec.dtype)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise DataError(
                f"{what} holds values from {low} to {high}, "
                f"which {spec.dtype} of the input {spec.name} cannot hold",
                f"save values from {limits.min} to {limits.max}",
            )
    return array.astype(spec.dtype)
