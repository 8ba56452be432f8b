"""Sets the weights of least magnitude to zero, in no pattern, N of M, or in blocks.

N:M: Mishra et al. 2021, Accelerating Sparse Deep Neural Networks (arXiv 2104.08378): of M
neighbours along the input channels, for each tap and output alone; 2:4 is what TensorRT's sparse
kernels read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernel_matrices
from edgekit.compression.kernel_matrices import Kernel
from edgekit.recipe_types import Removal, Shape, pattern_of

Array = NDArray[Any]
Scope = Literal["layer", "global"]


class Amount(NamedTuple):
    """How much goes: a share, or one per layer of the graph; from where; in which pattern."""

    sparsity: float | Mapping[str, float]
    pattern: str = "unstructured"
    scope: Scope = "layer"


class _Units(NamedTuple):
    """What goes as one: (taps, rows, columns) magnitudes, infinite for what may not go; sizes."""

    magnitudes: Array
    sizes: Array


def fitting(kernels: Sequence[Kernel], amount: Amount) -> tuple[list[Kernel], list[Removal]]:
    """The kernels that the pattern can be made in, and the others with the reason."""
    shape = pattern_of(amount.pattern)
    fit: list[Kernel] = []
    left: list[Removal] = []
    for kernel in kernels:
        why = _obstacle(kernel, amount, shape)
        if why is None:
            fit.append(kernel)
        else:
            said = f"{kernel_matrices.label(kernel)}{why}"
            left.append(Removal(kernel.layer, kernel.kind, None, None, said))
    return fit, left


def masks(kernels: Sequence[Kernel], amount: Amount, done: float = 1.0) -> list[Array]:
    """True where a weight stays, in the shapes of the kernels.

    Args:
        kernels: Those that fit the pattern.
        amount: What is asked in the end.
        done: The share of it that is to be zero now. Zeros that are there are taken first.
    """
    values = [kernel.values for kernel in kernels]
    units = [_units(kernel, one, amount) for kernel, one in zip(kernels, values, strict=True)]
    if amount.scope == "global":
        assert isinstance(amount.sparsity, float), "one share for all"
        gone = _lowest_of_all(units, done * amount.sparsity)
    else:
        shares = [_share(kernel, amount) for kernel in kernels]
        gone = [_lowest(one, done * share) for one, share in zip(units, shares, strict=True)]
    return [
        ~kernel_matrices.restored(kernel, _spread(one, kernel, value, amount))
        for kernel, value, one in zip(kernels, values, gone, strict=True)
    ]


def prune(model: Any, amount: Amount, *, trained: bool) -> tuple[list[Removal], list[Removal]]:
    """Sets weights to zero, in place.

    Args:
        model: A Keras model of connected layers.
        amount: How much.
        trained: Leave frozen layers alone, since they cannot make up for what goes.

    Returns:
        What became of each kernel, and what had to stay as it is with the reason.
    """
    kernels, left = kernel_matrices.find(model, trained=trained)
    fit, unfit = fitting(kernels, amount)
    applied = []
    for kernel, mask in zip(fit, masks(fit, amount), strict=True):
        values = kernel.values
        kernel.variable.assign(np.where(mask, values, np.zeros_like(values)))
        applied.append(_told(kernel, mask, amount))
    return applied, [*left, *unfit]


def _share(kernel: Kernel, amount: Amount) -> float:
    shape = pattern_of(amount.pattern)
    if shape.kind == "N:M":  # exactly so, however the share was rounded
        return 1 - shape.rows / shape.columns
    if not isinstance(amount.sparsity, Mapping):
        return amount.sparsity
    return amount.sparsity[kernel.outer]


def _obstacle(kernel: Kernel, amount: Amount, shape: Shape) -> str | None:
    if isinstance(amount.sparsity, Mapping) and kernel.outer not in amount.sparsity:
        return "no sparsity was found for it"
    if shape.kind == "unstructured":
        return None
    if kernel.kind == "Embedding":
        return (
            f"its rows are looked up and not multiplied, which the pattern {amount.pattern} is for"
        )
    _, inputs, outputs = kernel_matrices.matrices(kernel, kernel.values).shape
    if shape.kind == "N:M" and inputs % shape.columns:
        return f"{amount.pattern} needs a multiple of {shape.columns} inputs, and it has {inputs}"
    if shape.kind == "RxC" and (inputs < shape.rows or outputs < shape.columns):
        return (
            f"it is smaller than a block of {amount.pattern}: {inputs} inputs by {outputs} outputs"
        )
    return None


def _units(kernel: Kernel, values: Array, amount: Amount) -> _Units:
    """Magnitudes of what goes together; for N:M, only of those that may."""
    found = np.abs(kernel_matrices.matrices(kernel, values).astype(np.float32))
    shape = pattern_of(amount.pattern)
    if shape.kind == "N:M":
        found = np.where(_largest(found, shape), np.inf, found)
    if shape.kind != "RxC":
        return _Units(found, np.ones(found.shape, np.int64))
    rows, columns = (
        np.arange(0, size, step) for size, step in zip(found.shape[1:], shape[1:], strict=True)
    )
    return _Units(_added(found, rows, columns) / _added(np.ones_like(found), rows, columns),
                  _added(np.ones(found.shape, np.int64), rows, columns))  # fmt: skip


def _added(found: Array, rows: Array, columns: Array) -> Array:
    added: Array = np.add.reduceat(np.add.reduceat(found, rows, axis=1), columns, axis=2)
    return added


def _largest(found: Array, shape: Shape) -> Array:
    """The `rows` largest of each `columns` neighbours along the inputs."""
    taps, inputs, outputs = found.shape
    groups = found.reshape(taps, inputs // shape.columns, shape.columns, outputs)
    rank = np.argsort(np.argsort(-groups, axis=2, kind="stable"), axis=2, kind="stable")
    return (rank < shape.rows).reshape(found.shape)


def _lowest(units: _Units, share: float) -> Array:
    """The units of least magnitude that hold a share of the weights; the largest always stays."""
    magnitudes, sizes = units.magnitudes.ravel(), units.sizes.ravel()
    order = np.argsort(magnitudes, kind="stable")
    wanted = np.cumsum(sizes[order]) <= round(share * int(sizes.sum()))
    gone = np.zeros(magnitudes.shape, bool)
    gone[order[:-1]] = wanted[:-1]
    return (gone & np.isfinite(magnitudes)).reshape(units.magnitudes.shape)


def _lowest_of_all(units: Sequence[_Units], share: float) -> list[Array]:
    """The lowest of all layers together; each keeps its largest, or nothing would pass it."""
    if not units:
        return []
    magnitudes = [one.magnitudes.ravel().copy() for one in units]
    for one in magnitudes:
        one[np.argmax(one)] = np.inf
    flat = _Units(np.concatenate(magnitudes), np.concatenate([one.sizes.ravel() for one in units]))
    gone = np.split(_lowest(flat, share), np.cumsum([one.size for one in magnitudes])[:-1])
    return [part.reshape(one.magnitudes.shape) for part, one in zip(gone, units, strict=True)]


def _spread(gone: Array, kernel: Kernel, values: Array, amount: Amount) -> Array:
    """What goes, weight by weight, as (taps, inputs, outputs)."""
    _, inputs, outputs = kernel_matrices.matrices(kernel, values).shape
    shape = pattern_of(amount.pattern)
    if shape.kind != "RxC":
        return gone
    spread = np.repeat(np.repeat(gone, shape.rows, axis=1), shape.columns, axis=2)
    return spread[:, :inputs, :outputs]


def _told(kernel: Kernel, mask: Array, amount: Amount) -> Removal:
    zeros = int(mask.size - np.count_nonzero(mask))
    among = " of all layers" if amount.scope == "global" else ""
    among += ", as many as its sensitivity allows" if isinstance(amount.sparsity, Mapping) else ""
    done = f"{kernel_matrices.label(kernel)}{zeros:,} of {mask.size:,} zero"
    return Removal(kernel.layer, kernel.kind, None, None, f"{_what(amount)}{among}", done)


def _what(amount: Amount) -> str:
    shape = pattern_of(amount.pattern)
    if shape.kind == "N:M":
        return f"all but {shape.rows} of {shape.columns} neighbours"
    return (
        "the smallest" if shape.kind == "unstructured" else f"the smallest {amount.pattern} blocks"
    )
