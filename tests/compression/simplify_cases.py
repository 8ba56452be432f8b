"""What a worker does with the planted models, Keras' applications and model files.

Answers are plain data, judged by the test. Weights are random and of both signs, so that nothing
but what was planted can be proven dead.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from model_zoo import ZOO
from planted_models import ARCHITECTURES

from edgekit import chunks
from edgekit.compression import agreement, bounds, graph, rebuilding, simplify
from edgekit.errors import ParityError
from edgekit.keras_loading import load, of_model
from edgekit.keras_source import Source
from edgekit.loading import identify

L = keras.layers


class Cases:
    def architecture(self, name, planted, options=None):
        keras.utils.set_random_seed(7)
        model, plant = ARCHITECTURES[name]()
        _randomize(model)
        if planted:
            plant(model)
        return _simplified(model, options or {})

    def zoo(self, name):
        keras.utils.set_random_seed(7)
        model = ZOO[name]()
        answer = _simplified(model, {})
        rebuilt = rebuilding.rebuild(graph.read(model))
        answer["trainable"] = [
            sum(w.shape.num_elements() for w in m.trainable_weights) for m in (model, rebuilt)
        ]
        answer["structures"] = [
            str(keras.tree.map_structure(lambda t: t.shape, (m._inputs_struct, m._outputs_struct)))
            for m in (getattr(model, "_functional", None) or model, rebuilt)
        ]
        return answer

    def application(self, name, size, planted):
        keras.utils.set_random_seed(7)
        model = getattr(keras.applications, name)(
            weights=None, input_shape=(size, size, 3), classes=10
        )
        if planted:
            _randomize(model)
            _kill(model)
        answer = _simplified(model, {})
        answer["inference"] = _simplified(model, {"for_inference": True})
        return answer

    def file(self, path):
        loaded = load(identify(Path(path)), trust=False)
        return _simplified(loaded.model, {}) | {
            "inference": _simplified(loaded.model, {"for_inference": True})
        }

    def escapes(self, name):
        """The layers of a planted model with a value outside its bounds; how many have none."""
        keras.utils.set_random_seed(7)
        model, plant = ARCHITECTURES[name]()
        _randomize(model)
        plant(model)
        taken = graph.read(model)
        model = rebuilding.rebuild(taken)
        wanted = {layer.name: layer for layer in model._operations}
        found = bounds.of_graph(taken, 100.0)
        tensors = [t for t in found if taken.layer_of(t).name in wanted and not t.index
                   and len(wanted[taken.layer_of(t).name]._inbound_nodes) == 1]  # fmt: skip
        symbolic = [wanted[taken.layer_of(t).name].output for t in tensors]
        draw = np.random.default_rng(1)
        inputs = [draw.uniform(-100, 100, (4, *t.shape[1:])).astype("f") for t in model.inputs]
        values = keras.Model(model.inputs, symbolic)(inputs, training=False)
        outside = []
        for tensor, value in zip(tensors, map(np.array, values), strict=True):
            low, high = found[tensor].low, found[tensor].high
            slack = 1e-6 * np.abs(value).max()
            if not ((low - slack <= value) & (value <= high + slack)).all():
                outside.append(taken.layer_of(tensor).name)
        return outside, len(tensors) - len(outside)

    def disagreement(self):
        """Compares two models that differ for the given probe and for no random one."""
        image = keras.Input((2,), name="x")
        before = keras.Model(image, L.ReLU(name="y")(image))
        image = keras.Input((2,), name="x")
        after = keras.Model(image, L.ReLU(max_value=300.0, name="y")(image))
        assert agreement.largest_difference(before, after, (), 1e-5) == 0.0
        probe = {"x": np.full((1, 2), 1000.0, np.float32)}
        try:
            agreement.largest_difference(before, after, (probe,), 1e-5)
        except ParityError as error:
            return type(error).__name__
        return "nothing"

    def export(self, name, planted, directory):
        """What `Source.simplify` answers, and the largest difference of what it then predicts."""
        keras.utils.set_random_seed(7)
        model, plant = EXPORTED[name]()
        _randomize(model)
        if planted:
            plant(model)
        source = Source()
        source._loaded = of_model(model, "keras3")
        samples, place = Path(directory) / "samples", Path(directory)
        chunks.write(samples, [{"image": _input(model.inputs[0])}])
        source.predict(str(samples), str(place / "before"))
        answer = source.simplify(str(samples), 8)
        source.predict(str(samples), str(place / "after"))
        (before,), (after,) = (
            chunks.read_all(place / side).values() for side in ("before", "after")
        )
        return answer | {"same": source._model().model is model,
                         "difference": _difference(before, after)}  # fmt: skip

    def error(self, name):
        model = {"subclassed": _Subclassed}[name]()
        model(np.zeros((1, 2), np.float32))
        simplify.simplify(model)


class _Forgetful(L.Layer):
    """Cannot be made from its config, which lacks the factor."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"name": self.name}


def _blocks(*between):
    """A convolution with 16 filters of which 11 never open, and what comes after it."""
    x = image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(16, 3, activation="relu", name="first")(x)
    for layer in between:
        x = layer(x)
    x = L.Conv2D(4, 3, name="second")(x)
    model = keras.Model(image, L.GlobalAveragePooling2D(name="out")(x))

    def plant(model):
        kernel, bias = model.get_layer("first").get_weights()
        kernel[..., :11], bias[:11] = 0, -1
        model.get_layer("first").set_weights([kernel, bias])

    return model, plant


EXPORTED = {
    "plain": _blocks,
    "dropout": lambda: _blocks(L.Dropout(0.5), L.Activation("linear"), L.Identity()),
    "cropping": lambda: _blocks(L.Cropping2D(0, name="crop")),
    "forgetful": lambda: _blocks(_Forgetful(2.0), L.Cropping2D(0, name="crop")),
}


class _Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = L.Dense(1)

    def call(self, x):
        return self.dense(x)


def _simplified(model, options):
    weights = [np.array(weight) for weight in model.weights]
    inputs = [_input(tensor) for tensor in model.inputs]
    expected = _run(model, inputs)
    rebuilt = rebuilding.rebuild(graph.read(model))
    changed, report = simplify.simplify(model, **options)
    again, _ = simplify.simplify(changed, **options)
    return {
        "stable": again is changed,
        "rebuilt_identical": all(map(np.array_equal, expected, _run(rebuilt, inputs)))
        and _same_weights(rebuilt, model),
        "same_object": changed is model,
        "source_untouched": all(map(np.array_equal, weights, map(np.array, model.weights))),
        "names": [_outputs(changed), [t._keras_history.operation.name for t in changed.inputs]],
        "names_before": [
            _outputs(model), [t._keras_history.operation.name for t in model.inputs]
        ],
        "difference": max(map(_difference, expected, _run(changed, inputs))),
        "channels": {r.layer: r.channels for r in report.removed if r.channels is not None},
        "identities": [r.layer for r in report.removed if r.channels is None],
        "kept": [[r.layer, r.channels, r.why] for r in report.kept],
        "frozen": [r.layer for r in report.frozen],
        "kinds": sorted({type(layer).__name__ for layer in changed.layers}),
        "why": {r.layer: r.why for r in report.removed},
        "parameters": [report.parameters_before, report.parameters_after],
        "counted": [model.count_params(), changed.count_params()],
        "reported": report.largest_difference,
    }  # fmt: skip


def _outputs(model):
    return (getattr(model, "_functional", None) or model).output_names


def _same_weights(one, other):
    def by_shape(model):
        return sorted(np.array(weight).tobytes() for weight in model.weights)

    return by_shape(one) == by_shape(other)


def _run(model, inputs):
    graph_of = getattr(model, "_functional", None) or model
    packed = keras.tree.pack_sequence_as(graph_of._inputs_struct, inputs)
    return [np.array(out) for out in keras.tree.flatten(model(packed, training=False))]


def _difference(expected, actual):
    """Independent of the comparison under test."""
    assert expected.shape == actual.shape
    return float(np.abs(expected - actual).max() / np.abs(expected).max())


def _input(tensor):
    draw = np.random.default_rng(99)
    shape = (3, *[size or 32 for size in tensor.shape[1:]])
    if "int" in str(tensor.dtype):
        return draw.integers(0, 5, shape).astype(str(tensor.dtype))
    return draw.normal(0, 2, shape).astype(np.float32)


def _randomize(model):
    """Statistics, offsets and biases that are neither zero nor one."""
    draw = np.random.default_rng(3)
    for layer in model._flatten_layers():
        own = layer._trainable_variables + layer._non_trainable_variables
        for weight in own:
            value = np.array(weight)
            if weight.name in ("gamma", "moving_variance"):
                value = draw.uniform(0.5, 1.5, value.shape)
            elif weight.name in ("beta", "moving_mean", "bias"):
                value = draw.normal(0, 0.2, value.shape)
            weight.assign(value.astype(weight.dtype))


def _kill(model):
    """A tenth of each normalization's channels shut before a ReLU, or made constant before none."""
    draw = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            dead = draw.random(gamma.shape) < 0.1
            gamma[dead], beta[dead] = 0, -0.3
            layer.set_weights([gamma, beta, mean, variance])
