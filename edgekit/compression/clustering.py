"""Gives the weights of each kernel a few values that they share; zeros stay zeros.

k-means on the weights (Han et al. 2016, Deep Compression, arXiv 1510.00149, §3). Where int8 is
planned, weights are clustered as parts of the largest of their output channel: int8 has a scale per
channel, under which values that were equal would become different bytes. The ends are then 1 and
−1, and levels are multiples of 1/127, so that each level is the same byte in every channel.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernel_matrices
from edgekit.compression.kernel_matrices import Kernel
from edgekit.recipe_types import Removal

Array = NDArray[Any]
Init = Literal["density", "k-means++"]

GRID = 127
"""Steps of int8 on either side of zero."""
ROUNDS = 100
"""Of k-means at most; it ends where nothing moves any more."""

_ONE_SCALE = frozenset({"LSTMCell", "GRUCell", "SimpleRNNCell", "Embedding"})
"""Layers whose int8 weights have one scale, not one per output."""


class Levels(NamedTuple):
    """A kernel as (taps, inputs, outputs): `values[place] × scales`, one scale per output."""

    values: Array
    places: Array
    scales: Array


def cluster(
    model: Any, clusters: int, init: Init, *, seed: int, for_int8: bool, trained: bool
) -> tuple[list[Removal], list[Removal]]:
    """Moves the weights of each kernel to shared values, in place.

    Args:
        model: A Keras model of connected layers, with batch normalization folded.
        clusters: How many values a kernel has at most, zero being one of them where it occurs.
        init: Where k-means begins: at equal shares of the weights, or far from each other.
        seed: Of k-means++.
        for_int8: Cluster what int8 will see; see above.
        trained: Leave frozen layers alone.

    Returns:
        What became of each kernel, and what had to stay as it is with the reason.
    """
    kernels, left = kernel_matrices.find(model, trained=trained)
    random = np.random.default_rng(seed)
    applied = []
    for kernel in kernels:
        matrices = _matrices(kernel)
        scales = scales_of(kernel, matrices) if for_int8 else np.ones(matrices.shape[2])
        parts = matrices / scales
        distinct = np.unique(on_grid(parts) if for_int8 else parts)
        fixed = _fixed(parts, for_int8=for_int8)
        why = _obstacle(distinct, fixed, clusters)
        if why:
            said = f"{kernel_matrices.label(kernel)}{why}"
            left.append(Removal(kernel.layer, kernel.kind, None, None, said))
            continue
        found = _clustered(parts, scales, fixed, clusters, init, random, for_int8=for_int8)
        store(kernel, found)
        applied.append(_told(kernel, found, distinct.size))
    return applied, left


def levels_of(kernel: Kernel, clusters: int, *, for_int8: bool) -> Levels | None:
    """The values that a kernel's weights share; None where it has more than `clusters`."""
    matrices = _matrices(kernel)
    scales = scales_of(kernel, matrices) if for_int8 else np.ones(matrices.shape[2])
    parts = on_grid(matrices / scales) if for_int8 else matrices
    values, places = np.unique(parts, return_inverse=True)
    if values.size > clusters:
        return None
    return Levels(values, places.reshape(parts.shape), scales)


def store(kernel: Kernel, levels: Levels) -> None:
    """Writes a kernel's weights."""
    matrices = levels.values[levels.places] * levels.scales
    values = kernel_matrices.restored(kernel, matrices)
    kernel.variable.assign(values.astype(kernel.values.dtype))


def scales_of(kernel: Kernel, matrices: Array) -> Array:
    """The largest magnitude of each output's weights, or of all; 1 where all are zero."""
    axes = None if kernel.kind in _ONE_SCALE else (0, 1)
    largest = np.broadcast_to(np.abs(matrices).max(axis=axes), matrices.shape[2:])
    return np.where(largest > 0, largest, 1.0)


def axes_of_a_scale(kernel: Kernel) -> tuple[int, ...]:
    """The axes of the kernel itself whose weights have one int8 scale together."""
    count = len(kernel.variable.shape)
    outputs = () if kernel.kind in _ONE_SCALE else tuple(axis % count for axis in kernel.outputs)
    return tuple(axis for axis in range(count) if axis not in outputs)


def on_grid(parts: Array) -> Array:
    """Parts of a channel's largest weight as int8 rounds them."""
    rounded: Array = np.rint(parts * GRID) / GRID
    return rounded


def _matrices(kernel: Kernel) -> Array:
    return kernel_matrices.matrices(kernel, kernel.values).astype(np.float64)


def _obstacle(distinct: Array, fixed: Array, clusters: int) -> str | None:
    if distinct.size <= clusters:
        return f"it has only {distinct.size} distinct values"
    if not np.isfinite(distinct).all():
        return "some of its weights are not finite"
    if fixed.size > clusters:
        return f"{clusters} values cannot hold both signs and zero"
    return None


def _told(kernel: Kernel, levels: Levels, before: int) -> Removal:
    count = np.unique(levels.places).size
    done = f"{kernel_matrices.label(kernel)}{count} values"
    return Removal(kernel.layer, kernel.kind, None, None, f"there were {before:,}", done)


def _fixed(parts: Array, *, for_int8: bool) -> Array:
    """Values that must be levels: zero where it occurs, and for int8 the ends."""
    wanted = (-1.0, 0.0, 1.0) if for_int8 else (0.0,)
    return np.array([value for value in wanted if (parts == value).any()])


def _clustered(
    parts: Array,
    scales: Array,
    fixed: Array,
    clusters: int,
    init: Init,
    random: Any,
    *,
    for_int8: bool,
) -> Levels:
    """The levels of one kernel; a weight that is not zero does not become zero."""
    values = parts.ravel()
    weights = np.broadcast_to(scales**2, parts.shape).ravel()  # an error counts as what it is in w
    ends, rest = fixed[fixed != 0], values != 0
    count = clusters - int(0.0 in fixed)
    centres = k_means(values[rest], weights[rest], count, ends, init, random)
    levels = np.unique(np.concatenate([on_grid(centres) if for_int8 else centres, fixed]))
    nonzero = np.flatnonzero(levels) if 0.0 in fixed else np.arange(levels.size)
    places = np.full(values.shape, int(np.searchsorted(levels, 0.0)))
    places[rest] = nonzero[_nearest(levels[nonzero], values[rest])]
    return Levels(levels, places.reshape(parts.shape), scales)


def k_means(
    values: Array, weights: Array, count: int, fixed: Array, init: Init, random: Any
) -> Array:
    """Lloyd's algorithm on numbers, in sorted order.

    Args:
        values: (n,) what to cluster.
        weights: (n,) what each counts.
        count: How many centres, the fixed ones among them.
        fixed: Centres that stay where they are.
        init: "density" begins at equal shares of the values, "k-means++" far from each other.
        random: A numpy generator, for "k-means++" (Arthur & Vassilvitskii 2007).

    Returns:
        The centres, sorted; fewer where some would hold nothing.
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    sums = [np.concatenate([[0.0], np.cumsum(one)]) for one in (weights, weights * values)]
    free = count - fixed.size
    start = _far_apart(values, weights, free, fixed, random) if init == "k-means++" else None
    if start is None:
        start = values[((np.arange(free) + 0.5) / free * values.size).astype(int)]
    centres = np.unique(np.concatenate([start, fixed]))
    for _ in range(ROUNDS):
        bounds = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], bounds, [values.size]])
        mass, moment = (one[bounds[1:]] - one[bounds[:-1]] for one in sums)
        stays = np.isin(centres, fixed)
        moved = np.where(stays | (mass == 0), centres, moment / np.where(mass == 0, 1, mass))
        moved = np.unique(moved[(mass > 0) | stays])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _far_apart(values: Array, weights: Array, count: int, fixed: Array, random: Any) -> Array:
    """Centres drawn with the squared distance to the nearest one before."""
    chosen = list(fixed) or [random.choice(values, p=weights / weights.sum())]
    distances = np.min([(values - centre) ** 2 for centre in chosen], axis=0) * weights
    for _ in range(count + fixed.size - len(chosen)):
        if not distances.any():
            break
        centre = random.choice(values, p=distances / distances.sum())
        distances = np.minimum(distances, (values - centre) ** 2 * weights)
        chosen.append(centre)
    return np.array(chosen)


def _nearest(levels: Array, values: Array) -> Array:
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
