"""What rounding weights shifts on average, taken out of the biases; and what layers read.

Rounding a kernel by Δ moves a layer's mean output by Σ Δ · E[x] over what it reads, which its bias
can take back (Nagel et al. 2019, arXiv 1906.04721, section 4.2). Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import fake_quant, kernels
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.tracing import Traced

Array = NDArray[Any]
Batches = Iterable[Sequence[Array]]


def largest_inputs(twin: Twin, batches: Batches) -> dict[str, Array]:
    """The largest magnitude of each channel that each layer with a kernel reads."""
    found = _per_channel(twin, batches, lambda rows: tf.reduce_max(tf.abs(rows), axis=0))
    return {name: values.max(axis=0) for name, values in found.items()}


def correct(twin: Twin, batches: Batches) -> None:
    """Changes the biases of layers with rounded kernels, in place; borders are not counted.

    Grouped convolutions, whose outputs read a part of the channels each, are left as they are.
    """
    found = _per_channel(twin, batches, lambda rows: tf.reduce_mean(rows, axis=0))
    means = {name: values.mean(axis=0) for name, values in found.items()}
    for name, rounded in twin.rules.kernels.items():
        layer = twin.graph.layers[name]
        source = layer.source
        if not layer.config.get("use_bias") or not kernels.is_plain(layer):
            continue
        if layer.kind in kernels.SEPARABLE:
            continue
        kernel = source.weights[0].numpy()
        shift = fake_quant.weights_on_grid(kernel, rounded[0].channels) - kernel
        if layer.kind in kernels.TRANSPOSED:
            shift = np.swapaxes(shift, -1, -2)
        taps = shift.reshape(-1, *shift.shape[-2:]).sum(axis=0)  # [inputs, outputs]
        mean = means[name]
        moved = (
            (taps * mean[:, None]).reshape(-1)
            if layer.kind in kernels.DEPTHWISE
            else mean[: len(taps)] @ taps
        )
        source.weights[1].assign(source.weights[1].numpy() - moved.astype(np.float32))


def _per_channel(twin: Twin, batches: Batches, reduce: Callable[[Any], Any]) -> dict[str, Array]:
    """Something of every channel that each layer reads, for each batch, in float."""

    def look(inputs: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def reads(name: str, value: Any) -> None:
            if name not in found:
                found[name] = reduce(tf.reshape(value, [-1, value.shape[-1]]))

        twin.run(inputs, rounding=False, reads=reads)
        return found

    every = list(map(Traced(look), batches))
    return {name: np.stack([np.asarray(one[name]) for one in every]) for name in every[0]}
