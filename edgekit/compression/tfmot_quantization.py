"""Quantization-aware training by TFMOT, of the layers that it knows; PQAT, CQAT and PCQAT too.

Importing TFMOT switches `tf.keras` of this process to the old Keras: only for a worker of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray

from edgekit.compression import tfmot_rules
from edgekit.compression.graph import Graph
from edgekit.compression.tfmot_keeping import PRESERVED
from edgekit.compression.tfmot_replay import Replayed
from edgekit.compression.tfmot_techniques import Weights, plain_kernels

Array = NDArray[Any]

START, DECAY = 6.0, 0.999
"""TFMOT's ranges of activations start at ±6, and each step moves them by 1 − DECAY."""
TOLD_SHARE = 0.05

_DEFAULT: Any = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme


class Quantizing:
    """`quantize_annotate_layer` and `quantize_apply`."""

    def __init__(
        self,
        replayed: Replayed,
        ruling: tfmot_rules.Ruling,
        taken: Graph,
        *,
        steps: int,
        zeros: bool,
        clusters: bool,
    ) -> None:
        self._names, self._taken = replayed.names, taken
        self.collaboration = _collaboration(zeros=zeros, clusters=clusters)

        def annotate(layer: Any) -> Any:
            if self._names.get(layer.name) not in ruling.treated:
                return layer
            return tfmot.quantization.keras.quantize_annotate_layer(layer)

        annotated = tf_keras.models.clone_model(replayed.model, clone_function=annotate)
        scheme = _Scheme(zeros=zeros, clusters=clusters)
        with tfmot.quantization.keras.quantize_scope():
            self.model = tfmot.quantization.keras.quantize_apply(annotated, scheme)
        self._check(ruling)
        left = DECAY**steps
        self.notes = []
        if left > TOLD_SHARE:
            self.notes.append(
                f"TFMOT's activation ranges start at ±{START:g} and move by {1 - DECAY:.1%} a step:"
                f" {left:.0%} of the start is left after {steps} steps"
            )
        self.settled_at = 0
        self.settle()

    def settle(self) -> None:
        """The range of a weight is that of its last training step: here, that of now."""
        for wrapper in self._wrapped():
            for weight, quantizer, variables in wrapper._weight_vars:
                quantizer(weight, True, variables)

    def weights(self) -> Weights:
        """Quantized and dequantized where the training does so."""
        found: Weights = {}
        for layer in self.model.layers:
            inner = getattr(layer, "layer", layer)
            if inner.name not in self._names:
                continue
            if getattr(layer, "_weight_vars", None):
                bias = [np.asarray(layer.layer.bias)] if inner.use_bias else []
                found[self._names[inner.name]] = [*_quantized(layer), *bias]
            elif inner.weights:
                found[self._names[inner.name]] = [np.asarray(one) for one in inner.get_weights()]
        return found

    def ranges(self) -> dict[str, list[float]]:
        """The lowest and highest value of each quantized layer output, inputs included."""
        found = {}
        for layer in self.model.layers:
            if type(layer).__name__ == "QuantizeLayer":
                given = layer.input._keras_history.layer.name
                found[self._names[given]] = _range(layer.quantizer_vars)
        for wrapper in self._wrapped():
            variables = _output_variables(wrapper)
            if variables is not None:
                found[self._names[wrapper.layer.name]] = _range(variables)
        return found

    def unkept(self) -> dict[str, list[Any]]:
        """Those that stay float, and those that TFMOT quantizes and does no more with."""
        found = plain_kernels(self.model, self._names, self._taken)
        for wrapper in self._wrapped():
            name = self._names[wrapper.layer.name]
            if wrapper._weight_vars and self._taken.layers[name].kind not in PRESERVED:
                found[name] = [weight for weight, _, _ in wrapper._weight_vars]
        return found

    def _check(self, ruling: tfmot_rules.Ruling) -> None:
        """TFMOT leaves layers out in silence."""
        found = {
            self._names[wrapper.layer.name] for wrapper in self._wrapped() if wrapper._weight_vars
        }
        wanted = {
            name for name in ruling.treated if self._taken.layers[name].kind in tfmot_rules.WEIGHTED
        }
        assert found == wanted, f"TFMOT quantizes no kernel of {sorted(wanted - found)}"

    def _wrapped(self) -> Iterator[Any]:
        return (layer for layer in self.model.layers if hasattr(layer, "_weight_vars"))


class _Scheme(_DEFAULT):  # type: ignore[misc]  # TFMOT is untyped
    """TFMOT's scheme that keeps zeros, clusters or both, with a registry that can be relied on."""

    def __init__(self, *, zeros: bool, clusters: bool) -> None:
        self._zeros, self._clusters = zeros, clusters

    def get_quantize_registry(self) -> Any:
        return _Registry(self._keeping)

    def get_layout_transformer(self) -> Any:
        return _Layout(super().get_layout_transformer(), self.get_quantize_registry())

    def _keeping(self) -> Any:
        combine = tfmot.experimental.combine
        if self._clusters:
            return combine.Default8BitClusterPreserveQuantizeScheme(self._zeros)
        if self._zeros:
            return combine.Default8BitPrunePreserveQuantizeScheme()
        return _DEFAULT()


class _Layout:
    """TFMOT's layout, with kernels quantized also where a layer ReLU follows.

    There TFMOT means to leave out the quantization of what lies between the two, and leaves out
    that of the kernel with it.
    """

    def __init__(self, inner: Any, registry: Any) -> None:
        self._inner, self._registry = inner, registry

    def apply(self, model: Any, configs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The model as the layout wants it, and how each layer is quantized, by name."""
        changed, made = self._inner.apply(model, configs)
        for layer in changed.layers:
            config = made.get(layer.name, {}).get("quantize_config")
            nothing = type(config).__name__ == "NoOpQuantizeConfig"
            if nothing and type(layer).__name__ in tfmot_rules.WEIGHTED:
                own = self._registry.get_quantize_config(layer)
                made[layer.name]["quantize_config"] = _KernelOnly(own)
        return changed, made


class _KernelOnly(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[misc]  # untyped
    """Another config, without what it does to activations."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get_weights_and_quantizers(self, layer: Any) -> Any:
        return self._inner.get_weights_and_quantizers(layer)

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        self._inner.set_quantize_weights(layer, quantize_weights)

    def get_activations_and_quantizers(self, layer: Any) -> Any:  # noqa: ARG002 TFMOT's interface
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        pass

    def get_output_quantizers(self, layer: Any) -> Any:  # noqa: ARG002 likewise
        return []

    def get_config(self) -> dict[str, Any]:
        return {"inner": self._inner}


class _Registry:
    """Asks a scheme anew for each layer.

    TFMOT's own registries share one quantizer between layers, and after the first layer without
    zeros it keeps those of no other. They also claim to support layers that they then refuse.
    """

    def __init__(self, scheme: Any) -> None:
        self._scheme = scheme
        self._default = _DEFAULT().get_quantize_registry()

    def supports(self, layer: Any) -> bool:
        """Whether the default scheme does."""
        return bool(self._default.supports(layer))

    def get_quantize_config(self, layer: Any) -> Any:
        """A config with quantizers of its own."""
        registry = self._scheme().get_quantize_registry()
        if registry.supports(layer):
            return registry.get_quantize_config(layer)
        return _DEFAULT().get_quantize_registry().get_quantize_config(layer)


def _collaboration(*, zeros: bool, clusters: bool) -> str:
    return {(0, 0): "QAT", (1, 0): "PQAT", (0, 1): "CQAT", (1, 1): "PCQAT"}[zeros, clusters]


def _quantized(wrapper: Any) -> list[Array]:
    return [
        np.asarray(quantizer(weight, False, variables))
        for weight, quantizer, variables in wrapper._weight_vars
    ]


def _output_variables(wrapper: Any) -> dict[str, Any] | None:
    if wrapper._output_quantizers:
        found: dict[str, Any] = wrapper._output_quantizer_vars
        return found
    for activation in wrapper._quantize_activations:
        if hasattr(activation, "_post_activation_vars"):
            return dict(activation._post_activation_vars)
    return None


def _range(variables: dict[str, Any]) -> list[float]:
    return [float(variables["min_var"]), float(variables["max_var"])]
