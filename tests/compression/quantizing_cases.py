"""What a worker does to check quantization; answers are plain data, judged by the tests."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from edgekit.compression import (
    bias_correction,
    equalizing,
    fake_quant,
    graph,
    int8_rules,
    observing,
    quantizing,
    refining,
)
from edgekit.compression.compressor import Compressor
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.range_training import RangeTraining

L = keras.layers


def residual():
    """Convolution, depthwise, addition, concatenation, pooling, dense; normalization to fold."""
    x = given = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="relu")(x)
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = L.ReLU(6.0, name="relu6")(y)
    y = L.Conv2D(6, 1, name="pointwise")(y)
    x = L.Add(name="add")([x, y])
    x = L.Activation("relu", name="joined")(x)
    z = L.Conv2D(4, 1, activation="tanh", name="bent")(x)
    x = L.Concatenate(name="cat")([x, z])
    x = L.AveragePooling2D(2, name="pool")(x)
    x = L.Flatten(name="flat")(x)
    x = L.Dense(16, activation="relu", name="wide")(L.Dropout(0.2)(x))
    return keras.Model(given, L.Dense(3, activation="softmax", name="classes")(x))


def mixed():
    """Layers that int8 leaves out beside some that it does not."""
    x = given = keras.Input((8, 6), name="rows")
    x = L.Conv1D(6, 3, padding="same", activation="relu", name="conv1d")(x)
    x = L.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = L.LSTM(5, name="lstm")(x)
    return keras.Model(given, L.Dense(3, name="out")(x))


def upward():
    x = given = keras.Input((4, 4, 3), name="image")
    x = L.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu", name="up")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(given, L.Dense(2, name="out")(x))


def dense():
    given = keras.Input((4,), name="given")
    return keras.Model(given, L.Dense(3, name="out")(given))


def chain():
    """Layers that alone read each other, whose channels differ a hundredfold."""
    x = given = keras.Input((8, 8, 2), name="image")
    x = L.Conv2D(6, 3, padding="same", activation="relu", name="first")(x)
    x = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.ReLU(name="relu")(x)
    x = L.Conv2D(5, 1, activation="relu", name="second")(x)
    x = L.Flatten(name="flat")(L.MaxPooling2D(2, name="pool")(x))
    return keras.Model(given, L.Dense(4, name="out")(x))


def uneven(model):
    """The chain with channels of unlike size, the same function."""
    factors = np.geomspace(0.05, 20.0, 6)
    first, depthwise = model.get_layer("first"), model.get_layer("depthwise")
    kernel, bias = first.get_weights()
    first.set_weights([kernel * factors, bias * factors])
    kernel, bias = depthwise.get_weights()
    depthwise.set_weights([kernel / factors[:, None], bias])
    return model


MODELS = {
    "residual": residual, "mixed": mixed, "upward": upward, "dense": dense, "chain": chain,
}  # fmt: skip


def made(name):
    keras.utils.set_random_seed(3)
    model = MODELS[name]()
    random = np.random.default_rng(0)
    model.set_weights(
        [
            np.abs(random.normal(1, 0.2, w.shape))
            if w.ndim == 1
            else random.normal(0, 0.3, w.shape)
            for w in model.get_weights()
        ]
    )
    return model


class Cases:
    """Called by the tests, one after the other."""

    def activations(self, values, low, high, symmetric):
        value = tf.constant(values, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(value)
            rounded = fake_quant.activations(value, low, high, symmetric=symmetric)
        return rounded.numpy().tolist(), tape.gradient(rounded, value).numpy().tolist()

    def weights(self, values, channels):
        value = tf.constant(values, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(value)
            rounded = fake_quant.weights(value, channels)
        once = fake_quant.weights_on_grid(np.asarray(values, np.float32), channels)
        return {
            "traced": rounded.numpy().tolist(),
            "gradient": tape.gradient(rounded, value).numpy().tolist(),
            "once": once.tolist(),
            "again": fake_quant.weights_on_grid(once, channels).tolist(),
        }

    def rules(self, model, scheme="litert", per_tensor=()):
        found = int8_rules.rules(graph.read(quantizing.folded(made(model))), scheme, per_tensor)
        return {
            "sites": {site.name: site.limits for site in found.sites()},
            "kernels": {
                name: [one.channels for one in all_] for name, all_ in found.kernels.items()
            },
            "float": found.float_layers,
        }

    def ranges(self, model, momentum_steps):
        """Ranges after calibration, and after so many training steps on doubled inputs."""
        twin = Twin(made(model), "litert")
        random = np.random.default_rng(1)
        x = random.normal(size=(32, *twin.model.input_shape[1:])).astype(np.float32)
        twin.set_ranges(observing.extremes(observing.observe(twin, [[x]])))
        before = twin.ranges()
        training = RangeTraining(twin)
        for step in range(momentum_steps):
            training.before(step, 2 * momentum_steps)
            training.forward([tf.constant(2 * x)])
        during = twin.ranges()
        for step in range(momentum_steps, 2 * momentum_steps):
            training.before(step, 2 * momentum_steps)
            training.forward([tf.constant(4 * x)])
        return {"x": [float(x.min()), float(x.max())], "before": before, "during": during,
                "after": twin.ranges()}  # fmt: skip

    def float_again(self, model):
        """The largest difference of a twin that does not round from its model."""
        twin = Twin(made(model), "litert")
        random = np.random.default_rng(1)
        x = random.normal(size=(8, *twin.model.input_shape[1:])).astype(np.float32)
        ours = np.asarray(twin.run([tf.constant(x)], rounding=False)[0])
        return float(np.abs(ours - np.asarray(twin.model(x))).max())

    def zeros(self, model):
        """Whether a kernel keeps its zeros as training simulates the grid, and put on it."""
        source = made(model)
        twin = Twin(source, "litert")
        kernel = source.get_layer("out").kernel
        planted = kernel.numpy()
        planted[::2] = 0.0
        kernel.assign(planted)
        simulated = [fake_quant.weights(*one).numpy() for one in twin.kernels()]
        twin.put_on_grid()
        return [np.array_equal(one == 0, planted == 0) for one in (*simulated, kernel.numpy())]

    def equalized(self):
        """Pairs, the change of the outputs, and how unlike the channels are before and after."""
        model = uneven(made("chain"))
        twin = Twin(model, "litert")
        x = np.random.default_rng(1).normal(size=(64, 8, 8, 2)).astype(np.float32)
        before = np.asarray(model(x))
        largest = bias_correction.largest_inputs(twin, [[x]])
        pairs = equalizing.equalize(twin.graph, twin.rules, largest)
        after = bias_correction.largest_inputs(twin, [[x]])
        spread = [
            float(one["depthwise"].max() / one["depthwise"].min()) for one in (largest, after)
        ]
        change = float(np.abs(np.asarray(model(x)) - before).max() / np.abs(before).max())
        return {"pairs": [list(pair) for pair in pairs], "change": change, "spread": spread}

    def bias_corrected(self):
        """Mean shift of outputs by rounded weights alone, before and after, over their spread."""
        model = made("dense")
        kernel = model.get_layer("out").kernel
        kernel.assign(kernel.numpy() * np.array([[1.0], [1e-3], [8e-3], [3e-3]]))
        twin = Twin(model, "litert")
        x = np.random.default_rng(1).normal(4, 1, size=(64, 4)).astype(np.float32)
        exact = np.asarray(model(x))

        def shift():
            weights = fake_quant.weights_on_grid(kernel.numpy(), [1])
            return float(np.abs((x @ weights + model.get_layer("out").bias - exact).mean(0)).max())

        before = shift()
        bias_correction.correct(twin, [[x]])
        return [before, shift()]

    def bias_of_groups(self):
        """Biases of a grouped convolution before and after; its two groups read unlike means."""
        given = keras.Input((4, 4, 4), name="given")
        model = keras.Model(given, L.Conv2D(6, 3, groups=2, name="groups")(given))
        keras.utils.set_random_seed(3)
        model.set_weights([np.random.normal(size=one.shape) for one in model.get_weights()])
        bias = model.get_layer("groups").bias
        before = bias.numpy().tolist()
        x = np.random.normal([1, 1, 9, 9], size=(16, 4, 4, 4)).astype(np.float32)
        bias_correction.correct(Twin(model, "litert"), [[x]])
        return [before, bias.numpy().tolist()]

    def refined(self, seed=0, steps=60, samples=96):
        """A refinement of a net that plain int8 serves badly."""
        refining.STEPS = steps
        model = uneven(made("chain"))
        twin = Twin(model, "litert")
        x = np.random.default_rng(1).normal(size=(samples, 8, 8, 2)).astype(np.float32)
        fresh = np.random.default_rng(2).normal(size=(64, 8, 8, 2)).astype(np.float32)
        exact = np.asarray(model(fresh))
        twin.set_ranges(observing.extremes(observing.observe(twin, [[x]])))
        plain = np.asarray(twin.run([tf.constant(fresh)])[0])
        work = refining.Refinement(twin, [x], 16, seed)
        while True:
            state = work.advance(0.5)
            if state["done"] >= state["total"]:
                break
        found = np.asarray(twin.run([tf.constant(fresh)])[0])
        twin.put_on_grid()
        again = np.asarray(twin.run([tf.constant(fresh)])[0])
        return {
            "report": work.report,
            "noise": [float(np.square(exact - one).mean()) for one in (plain, found)],
            "same_on_grid": float(np.abs(again - found).max()),
            "sum": float(sum(np.abs(one).sum() for one in model.get_weights())),
        }

    def useless(self):
        """A refinement where what judges it answers 0, as any int8 does: it cannot be better."""
        refining.STEPS = 10
        model = uneven(made("chain"))
        for layer in model.layers:
            if layer.weights:
                layer.bias.assign(np.zeros(layer.bias.shape))
        before = model.get_weights()
        x = np.random.default_rng(1).normal(size=(64, 8, 8, 2)).astype(np.float32)
        x[np.arange(64) % 8 == 7] = 0.0
        plain, twin = (Twin(model, "litert") for _ in range(2))
        for _ in refining.Refinement(plain, [x], 8, 0)._calibrated():
            pass  # what convert would find
        work = refining.Refinement(twin, [x], 8, 0)
        while work.advance(60.0)["done"] < refining.STEPS:
            pass
        return {
            "report": work.report,
            "untouched": all(map(np.array_equal, before, model.get_weights())),
            "ranges": [plain.ranges(), twin.ranges()],
        }

    def counts(self, samples, size, fixed):
        """How many samples adjust, choose and judge."""
        work = refining.Refinement(
            Twin(made("dense"), "litert"), [np.zeros((samples, 4), np.float32)], size, 0,
            fixed=fixed,
        )  # fmt: skip
        return [len(part[0]) for part in (work._fitted, work._choosing, work._judging)]

    def breaks_off(self, path, data, directory, loss):
        """Training of a twin whose loss is NaN at some step: which, and whether all came back."""
        compressor = Compressor()
        compressor.open(path)
        compressor.begin()
        compressor.load_training(data, "none", 0, 1, None, directory)
        compressor.begin_quantization("litert", [], 0)
        compressor.start_training(1, 0.01, 8, 0, loss, None)
        compressor.keep()
        model, twin = compressor._model().model, compressor._twin
        before = model.get_weights(), twin.ranges()
        failed_at = compressor.advance(60.0)["failed_at"]
        moved = twin.ranges() != before[1]
        compressor.restore()
        compressor.end_training()
        same = all(map(np.array_equal, before[0], model.get_weights()))
        return {"failed_at": failed_at, "moved": moved, "weights": same,
                "ranges": twin.ranges() == before[1]}  # fmt: skip

    def too_few(self):
        refining.Refinement(Twin(made("dense"), "litert"), [np.zeros((5, 4), np.float32)], 4, 0)

    def write(self, model, path, data):
        """A model that has learned `data`, saved."""
        keras.utils.set_random_seed(0)
        built = MODELS[model]()
        with np.load(data) as stored:
            x, y = stored["x_train"], stored["y_train"]
        built.compile(keras.optimizers.Adam(1e-2), loss="sparse_categorical_crossentropy")
        built.fit(x, y, epochs=6, batch_size=32, verbose=0)
        built.save(path)

    def answers(self, path, data):
        """What the twin of a saved model answers to the test role, by its recorded ranges."""
        model = keras.saving.load_model(path)
        manifest = json.loads(Path(f"{path}.edgekit.json").read_text())
        found = manifest["quantization"]
        twin = Twin(model, found["scheme"], found["per_tensor"])
        twin.set_ranges({name: tuple(ends) for name, ends in found["ranges"].items()})
        with np.load(data) as stored:
            x = stored["x_test"]
        return np.asarray(twin.run([tf.constant(x)])[0]).tolist()

    def kernels(self, path):
        """The kernels of a saved model by layer."""
        model = keras.saving.load_model(path)
        return {
            layer.name: np.asarray(layer.kernel).tolist()
            for layer in model.layers
            if hasattr(layer, "kernel")
        }

    def differs(self, path, output):
        """Saves a model again with one weight changed."""
        model = keras.saving.load_model(path)
        weights = model.get_weights()
        weights[0] = weights[0] + 0.01
        model.set_weights(weights)
        model.save(output)
