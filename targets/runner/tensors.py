"""Between the float values that a user means and the integers that an artifact takes and gives.

A tensor is a dict: name, shape (None for a size that may vary), dtype, scale, zero_point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .protocol import RunnerError

Tensor = dict[str, Any]
Array = Any


def to_runtime(values: Array, tensor: Tensor) -> Array:
    """Values as the artifact takes them.

    A quantized input gets q = clamp(round(x / scale) + zero_point), rounded half to even as the
    runtimes' own kernels do (XNNPACK's f32-qs8-vcvt). Integers without a scale, token ids for
    example, are rounded to the nearest.

    Raises:
        RunnerError: A value has no integer form (NaN or infinite).
    """
    dtype = np.dtype(tensor["dtype"])
    if dtype.kind not in "iu":
        return np.ascontiguousarray(values, dtype=dtype)
    if values.dtype.kind in "iub" and tensor["scale"] is None:
        return _cast(values.astype(np.int64), dtype)
    real = np.asarray(values, dtype=np.float32)
    if not np.isfinite(real).all():
        raise RunnerError(
            "input '%s' is %s, and the samples hold NaN or infinite values"
            % (tensor["name"], dtype),
            "clean the data",
            "data",
        )
    if tensor["scale"] is None:
        return _cast(np.rint(np.asarray(values, dtype=np.float64)), dtype)
    return _cast(np.rint(real / np.float32(tensor["scale"])) + tensor["zero_point"], dtype)


def to_float(stored: Array, tensor: Tensor) -> Array:
    """An output as the user means it: scale · (q − zero_point) where it is quantized."""
    if tensor["scale"] is None or stored.dtype.kind not in "iu":
        return stored.astype(np.float32) if stored.dtype.kind == "f" else stored
    return (stored.astype(np.float32) - tensor["zero_point"]) * np.float32(tensor["scale"])


def concrete(shape: list[Any]) -> list[int]:
    """A shape with every size that may vary set to 1."""
    return [1 if size is None else int(size) for size in shape]


def adopt(tensors: list[Tensor], known: list[Tensor]) -> None:
    """Takes scale and zero point from the manifest where the file's format has no room for them."""
    by_name = {entry["name"]: entry for entry in known}
    for tensor in tensors:
        entry = by_name.get(tensor["name"], {})
        if tensor["scale"] is None and entry.get("scale") is not None:
            tensor["scale"] = entry["scale"]
            tensor["zero_point"] = entry.get("zero_point") or 0


def _cast(values: Array, dtype: Any) -> Array:
    limits = np.iinfo(dtype)
    return np.ascontiguousarray(np.clip(values, limits.min, limits.max).astype(dtype))
