"""Chooses channels by what the layers that read them can make up for, and has them do so.

For each bundle of channels, from the input on: what its readers would compute from the original
activations is the target, what they get in the model as it has become is the input, and
`elimination` finds which channels cost least and the best weights for the rest. No labels and no
training, only samples: He et al. 2017, Channel Pruning for Accelerating Very Deep Neural Networks
(arXiv 1707.06168), with the closed form of Optimal Brain Surgeon in place of their lasso. Imports
Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.compression import bounds, elimination, kernels, patches, rebuilding
from edgekit.compression.channel_groups import Channels
from edgekit.compression.channel_order import Bundle, Order
from edgekit.compression.elimination import INTERCEPT, Problem
from edgekit.compression.graph import Graph, Layer, Tensor, consumers, inputs_of
from edgekit.errors import DataError

Array = NDArray[Any]

SAMPLES = 1024
ROWS_PER_WEIGHT = 8
LEAST_ROWS = 8192
"""Places of an output that are looked at: for each weight of one output, and at least."""
LEAST_VARIANCE = 1e-6
"""Of the mean square: an output that hardly varies is judged by its size."""
MOST_INPUTS = 8192
"""Weights of one output up to which their second moments fit (0.5 GB); beyond, none adjusts."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Unlabelled inputs: `open` gives all `batches` of them again, in the order of the model's."""

    open: Callable[[], Iterable[Sequence[Array]]]
    batches: int


def scores(graph: Graph, channels: Channels, order: Order, samples: Samples) -> Array:
    """How much the end of each channel adds to what its readers cannot make up for.

    As shares of the variance of what they compute, which can be compared across layers. Every
    bundle is looked at as if nothing else went.

    Returns:
        By group, at its smallest element: the largest share so far as the bundle's channels go one
        by one, so that their order is that of their going.

    Raises:
        DataError: See `choose`.
    """
    models = _Models(graph)
    found = np.zeros(channels.total)
    for bundle in order.bundles:
        numbers = _readers(graph, channels, bundle)
        found[bundle.groups] = np.inf
        if numbers and bundle.groups.size > 1:
            readers = _seen(models, channels, numbers, samples)
            problems = [_problem(reader) for reader in readers]
            chosen = elimination.eliminate(problems, bundle.groups, bundle.groups.size - 1)
            found[chosen.gone] = np.maximum.accumulate(chosen.costs)
    return found


def choose(
    graph: Graph, channels: Channels, order: Order, lost: Array, samples: Samples
) -> tuple[Order, dict[str, float | None]]:
    """Puts the channels of every bundle in the order in which they go, and adjusts the weights.

    Args:
        graph: The model; kernels and biases that read what goes are changed in place, and the mean
            of a batch normalization where a layer without a bias needs one.
        channels: Its channels.
        order: Its bundles; the order of their groups does not matter.
        lost: How many channels each bundle loses.
        samples: What the model computes on.

    Returns:
        The order, whose first channels of each bundle are those to cut, and by layer what share of
        its output's variance is not reached any more, None where its weights could not adjust.

    Raises:
        DataError: An activation is not finite, or there are no samples.
    """
    models = _Models(graph)
    found = list(order.bundles)
    errors: dict[str, float | None] = {}
    begun = [(_readers(graph, channels, bundle), at) for at, bundle in enumerate(order.bundles)]
    for readers, at in sorted(begun):
        if lost[at] and readers:
            chosen, shares = _bundle(models, channels, found[at], readers, int(lost[at]), samples)
            found[at] = chosen
            errors |= shares
    return replace(order, bundles=tuple(found)), errors


def _readers(graph: Graph, channels: Channels, bundle: Bundle) -> list[int]:
    return [
        number
        for number in channels.readers
        if np.isin(channels.group[channels.of(inputs_of(graph.calls[number])[0])],
                   bundle.groups).any()
    ]  # fmt: skip


class _Models:
    """The model as it was, and as it has become: channels that are gone are still computed there.

    `gone` names their groups: whoever reads such a channel reads nothing.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.before, self.now = rebuilding.rebuild(graph), rebuilding.rebuild(graph)
        self.original = {
            name: [weight.copy() for weight in layer.weights]
            for name, layer in graph.layers.items()
        }
        self.gone = np.zeros(0, np.int64)

    def layer(self, number: int) -> Layer:
        return self.graph.layers[self.graph.calls[number].layer]

    def store(self, layer: Layer) -> None:
        self.now.get_layer(layer.name).set_weights(layer.weights)


@dataclass(slots=True)
class _Reader:
    """A layer that reads the channels, with what has been summed up of it.

    `kernel` is what it has become, `original` what it was. `intercept` is what is added now, and
    `added` what was added before any channel went; None where nothing can take an intercept up.
    """

    layer: Layer
    kernel: Array
    original: Array
    groups: Array
    gone: Array
    normalization: Layer | None
    intercept: Array | None
    added: Array
    moments: Array
    targets: Array
    target_squares: float = 0.0
    target_sum: Array | float = 0.0
    seen: int = 0


def _bundle(
    models: _Models,
    channels: Channels,
    bundle: Bundle,
    numbers: Sequence[int],
    count: int,
    samples: Samples,
) -> tuple[Bundle, dict[str, float | None]]:
    readers = _seen(models, channels, numbers, samples)
    problems = [_problem(reader) for reader in readers]
    chosen = elimination.eliminate(problems, bundle.groups, count)
    models.gone = np.concatenate([models.gone, chosen.gone])
    for reader, weights in zip(readers, chosen.weights, strict=True):
        _adjust(models, reader, weights)
    rest = bundle.groups[~np.isin(bundle.groups, chosen.gone)]
    groups = np.concatenate([chosen.gone, rest])
    scored = replace(bundle, groups=groups, score=np.arange(groups.size, dtype=np.float64))
    return scored, {
        reader.layer.name: _error(reader, problem, weights)
        for reader, problem, weights in zip(readers, problems, chosen.weights, strict=True)
    }


def _seen(
    models: _Models, channels: Channels, numbers: Sequence[int], samples: Samples
) -> list[_Reader]:
    readers = [_reader(models, channels, number) for number in numbers]
    _look(models, readers, samples)
    return readers


def _reader(models: _Models, channels: Channels, number: int) -> _Reader:
    layer = models.layer(number)
    of_input = channels.group[channels.of(inputs_of(models.graph.calls[number])[0])]
    kernel = _matrix(layer, layer.weights)
    transposed = layer.kind in kernels.TRANSPOSED
    groups = of_input if transposed else patches.channels_of_rows(layer, of_input)
    adjusts = not transposed and len(kernel) < MOST_INPUTS
    biased = bool(layer.config["use_bias"])
    normalization = _normalization(models, number) if adjusts and not biased else None
    intercept, added = _intercept(models, layer, normalization) if adjusts else (None, np.zeros(1))
    size = len(kernel) + (intercept is not None)
    return _Reader(
        layer, kernel, _matrix(layer, models.original[layer.name]), groups,
        np.isin(groups, models.gone), normalization, intercept, added,
        np.zeros((size, size) if adjusts else size), np.zeros((size, kernel.shape[1])),
    )  # fmt: skip


def _intercept(
    models: _Models, layer: Layer, normalization: Layer | None
) -> tuple[Array | None, Array]:
    """What a layer adds to its outputs now, and what it added before: its bias, or a mean's shift.

    A normalization takes an intercept off its mean.
    """
    before = models.original[layer.name]
    if layer.config["use_bias"]:
        return layer.weights[-1], before[-1]
    if normalization is not None:
        mean = models.original[normalization.name][-2]
        return mean - normalization.weights[-2], np.zeros_like(mean)
    return None, np.zeros(1)


def _matrix(layer: Layer, weights: Sequence[Array]) -> Array:
    """The weights that mix channels, (rows, outputs)."""
    kernel = weights[patches.mixing(layer)]
    if layer.kind in kernels.TRANSPOSED:
        return np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1)
    return kernel.reshape(-1, kernel.shape[-1])


def _normalization(models: _Models, number: int) -> Layer | None:
    """The batch normalization that alone reads a layer, whose mean can take up an intercept."""
    reading = consumers(models.graph).get(Tensor(number), [])
    if len(reading) != 1 or reading[0] < 0 or models.layer(number).config["activation"] not in (
        None, "linear",
    ):  # fmt: skip
        return None
    layer = models.layer(reading[0])
    rank = len(models.graph.shape(Tensor(number)))
    shared = sum(call.layer == layer.name for call in models.graph.calls.values()) > 1
    usable = layer.kind == "BatchNormalization" and bounds.normalizes_channels(layer, rank)
    return layer if usable and not shared else None


def _look(models: _Models, readers: Sequence[_Reader], samples: Samples) -> None:
    """Sums up inputs and targets of the readers over all samples."""
    before, now = (
        keras.Model(model.inputs, [model.get_layer(reader.layer.name).input for reader in readers])
        for model in (models.before, models.now)
    )
    rng = np.random.default_rng(0)
    for batch in samples.open():
        given = keras.tree.pack_sequence_as(before._inputs_struct, list(batch))
        pairs = zip(_values(before, given), _values(now, given), strict=True)
        for reader, (x_before, x_now) in zip(readers, pairs, strict=True):
            _add(reader, x_before, x_now, samples.batches, rng)
    if not all(reader.seen and np.isfinite(reader.moments).all() for reader in readers):
        raise DataError(
            "the activations that the criterion reconstruction looks at are not finite, or there"
            " are no samples",
            'check --data and --preprocess, or use criterion = "l1"',
        )


def _values(model: Any, given: Any) -> list[Array]:
    return [np.asarray(value) for value in keras.tree.flatten(model(given, training=False))]


def _add(
    reader: _Reader, x_before: Array, x_now: Array, batches: int, rng: np.random.Generator
) -> None:
    if reader.moments.ndim == 1 and reader.layer.kind in kernels.TRANSPOSED:
        flat = x_now.reshape(-1, x_now.shape[-1]).astype(np.float64)
        reader.moments += np.square(flat).sum(0)
        reader.seen += len(flat)
        return
    shape = patches.geometry(reader.layer, x_now.shape[1:-1])
    wanted = max(LEAST_ROWS, ROWS_PER_WEIGHT * len(reader.kernel))
    places = patches.positions(shape, len(x_now), math.ceil(wanted / batches), rng)
    rows = patches.rows(reader.layer, x_now, shape, places)
    rows[:, reader.gone] = 0
    reader.seen += len(rows)
    if reader.moments.ndim == 1:
        reader.moments += np.square(rows, dtype=np.float64).sum(0)
        return
    made = patches.rows(reader.layer, x_before, shape, places) @ reader.original + reader.added
    if reader.intercept is not None:
        rows = np.concatenate([rows, np.ones_like(rows[:, :1])], axis=1)
    reader.moments += rows.T @ rows
    reader.targets += rows.T @ made
    reader.target_squares += float(np.square(made, dtype=np.float64).sum())
    reader.target_sum = reader.target_sum + made.sum(0, dtype=np.float64)


def _problem(reader: _Reader) -> Problem:
    weights, groups = reader.kernel.astype(np.float64), reader.groups
    moments, targets = reader.moments / reader.seen, reader.targets / reader.seen
    if moments.ndim == 1:
        scale = float((moments[:, None] * weights**2).sum())
        return Problem(moments, targets, weights, groups, scale or 1.0)
    if reader.intercept is not None:
        weights = np.concatenate([weights, reader.intercept[None].astype(np.float64)])
        groups = np.append(groups, INTERCEPT)
    return Problem(moments, targets, weights, groups, _variance(reader))


def _variance(reader: _Reader) -> float:
    """Of the targets, summed over outputs; above zero where they do not vary either."""
    mean = np.asarray(reader.target_sum) / reader.seen
    squares = reader.target_squares / reader.seen
    return max(squares - float(np.square(mean).sum()), LEAST_VARIANCE * squares) or 1.0


def _error(reader: _Reader, problem: Problem, weights: Array) -> float | None:
    """What is left of the targets' variance: the mean squared error over it."""
    if not problem.adjusts:
        return None
    reached = float((weights * (problem.moments @ weights - 2 * problem.targets)).sum())
    return max(0.0, reached + reader.target_squares / reader.seen) / problem.scale


def _adjust(models: _Models, reader: _Reader, weights: Array) -> None:
    """Writes the weights back, into the graph and the model as it has become."""
    layer, place = reader.layer, patches.mixing(reader.layer)
    if reader.intercept is not None:
        weights, last = weights[:-1], weights[-1]
        if reader.normalization is None:
            layer.weights[-1] = last.astype(layer.weights[-1].dtype)
        else:
            mean = models.original[reader.normalization.name][-2]
            reader.normalization.weights[-2] = (mean - last).astype(mean.dtype)
            models.store(reader.normalization)
    kernel = layer.weights[place]
    if layer.kind in kernels.TRANSPOSED:
        shape = (kernel.shape[-1], *kernel.shape[:-1])
        layer.weights[place] = np.moveaxis(weights.reshape(shape), 0, -1).astype(kernel.dtype)
    else:
        layer.weights[place] = weights.reshape(kernel.shape).astype(kernel.dtype)
    models.store(layer)
