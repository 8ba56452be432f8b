"""Silences channels of a live model, one bundle at a time, and lets them speak again.

A channel that no layer reads is as good as removed: the weights that read it are set to zero, and
nothing has to be rebuilt or traced anew.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import channel_groups, channel_order, channels, graph, kernels
from edgekit.compression.channel_order import Bundle
from edgekit.compression.importance import Criterion
from edgekit.errors import ModelError

Array = NDArray[Any]


class ChannelBundles:
    """The bundles of a model whose channels may go, by the names that `channels` gives them.

    Args:
        model: A Keras 3 model.
        criterion: In which order the channels of a bundle go.
        taylor: The scores of "taylor", where that is the criterion.

    Raises:
        ModelError: No channel of the model may go, or it is subclassed.
    """

    def __init__(self, model: Any, criterion: Criterion, taylor: Array | None = None) -> None:
        self._graph = graph.read(model)
        self._channels = channel_groups.of_graph(self._graph)
        score = channels.scores(self._graph, self._channels, criterion, taylor)
        found = channel_order.bundles(self._channels, score)
        names = channels.bundle_names(self._graph, found)
        self._bundles: dict[str, Bundle] = dict(zip(names, found, strict=True))
        if not self._bundles:
            raise ModelError(
                "no channel of the model may go: each is an output, or tied to something unknown",
                "edgekit inspect --recipe channels50 says why, layer by layer",
            )

    def subjects(self) -> list[dict[str, Any]]:
        """`name` of each bundle, and how many channels it has (`size`)."""
        return [{"name": name, "size": int(one.groups.size)} for name, one in self._bundles.items()]

    @contextlib.contextmanager
    def changed(self, name: str, share: float) -> Iterator[None]:
        """The model while the least important channels of one bundle are not read."""
        bundle = self._bundles[name]
        lost = min(bundle.groups.size - 1, math.floor(share * bundle.groups.size))
        gone = np.zeros(self._channels.total, bool)
        gone[bundle.groups[:lost]] = True
        readers = [
            (call, mask) for call in self._channels.readers
            if (mask := gone[self._channels.group[self._read_by(call)]]).any()
        ]  # fmt: skip
        touched = [self._graph.layers[self._graph.calls[call].layer] for call, _ in readers]
        try:
            for layer, (_, mask) in zip(touched, readers, strict=True):
                layer.source.weights[0].assign(_without(layer, mask))
            yield
        finally:
            for layer in touched:
                layer.source.weights[0].assign(layer.weights[0])

    def _read_by(self, call: int) -> Array:
        """The elements that a layer with a kernel reads."""
        return self._channels.of(graph.inputs_of(self._graph.calls[call])[0])


def _without(layer: graph.Layer, silent: Array) -> Array:
    """A reader's kernel, zero where it reads what is silent."""
    kernel = layer.weights[0].copy()
    if layer.kind in kernels.TRANSPOSED:
        kernel[..., silent] = 0
    else:
        kernel[..., silent, :] = 0
    return kernel
