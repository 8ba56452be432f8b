"""What a worker does to check pruning by reconstruction; answers are plain data."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from edgekit.compression import channels, graph, patches, rebuilding
from edgekit.compression.compressor import Compressor
from edgekit.compression.reconstruction import Samples

SAMPLES = 512


class Cases:
    def rows(self, kind, options, shape):
        """The largest difference between a Keras layer and its rows times its weights."""
        draw = np.random.default_rng(0)
        inputs = keras.Input(shape)
        made = getattr(keras.layers, kind)(**options)(inputs)
        model = keras.Model(inputs, made)
        layer = graph.read(model).layers[model.layers[-1].name]
        layer.weights = [draw.normal(size=weight.shape).astype("f") for weight in layer.weights]
        model.layers[-1].set_weights(layer.weights)
        x = draw.normal(size=(3, *shape)).astype("f")
        wanted = np.asarray(model(x))
        walk = patches.geometry(layer, x.shape[1:-1])
        places = patches.positions(walk, len(x), 10**6, draw)
        kernel = layer.weights[patches.mixing(layer)]
        found = patches.rows(layer, x, walk, places) @ kernel.reshape(-1, kernel.shape[-1])
        found = found + (layer.weights[-1] if layer.config["use_bias"] else 0)
        return {
            "places": len(places) == wanted[..., 0].size,
            "error": float(np.abs(found.reshape(wanted.shape) - wanted).max()),
        }

    def redundant(self, name, criterion, scope="layer"):
        """Half of the channels are multiples of others: what pruning them costs the outputs."""
        model = _NETS[name]()
        taken = graph.read(model)
        x = _inputs(model, 1)
        samples = Samples(
            lambda: ([x[at : at + 64]] for at in range(0, SAMPLES, 64)), SAMPLES // 64
        )
        made = channels.prune_channels(
            taken, 0.5, criterion=criterion, scope=scope,
            samples=samples if criterion == "reconstruction" else None,
        )  # fmt: skip
        pruned = rebuilding.rebuild(taken)
        unseen = _inputs(model, 2)
        before, after = (np.asarray(one(unseen, training=False)) for one in (model, pruned))
        return {
            "error": float(np.square(before - after).mean() / before.var(0).mean()),
            "removed": {r.layer: [r.channels, r.remaining] for r in made.removed},
            "told": made.errors,
        }

    def told_and_true(self, name):
        """The error that is told of the layer 'next', and what its outputs show on the samples."""
        model = _NETS[name]()
        taken = graph.read(model)
        x = _inputs(model, 1)
        samples = Samples(
            lambda: ([x[at : at + 64]] for at in range(0, SAMPLES, 64)), SAMPLES // 64
        )
        made = channels.prune_channels(taken, 0.5, criterion="reconstruction", samples=samples)
        last = "norm" if name.endswith("normalized") else "next"
        before, after = (
            np.asarray(keras.Model(one.inputs, one.get_layer(last).output)(x, training=False))
            for one in (model, rebuilding.rebuild(taken))
        )
        flat = before.reshape(-1, before.shape[-1])
        wrong = np.square(before - after).reshape(flat.shape).mean(0)
        return {"told": made.errors["next"], "true": float(wrong.sum() / flat.var(0).sum())}

    def by_data(self, directory, batch, step):
        """The worker's own way, from a file to a file; the train role has no labels."""
        place = Path(directory)
        keras.utils.set_random_seed(7)
        model = keras.Sequential([
            keras.layers.Input((8, 8, 2), batch_size=batch),
            keras.layers.Conv2D(16, 3, use_bias=False, name="conv"),
            keras.layers.BatchNormalization(name="norm"), keras.layers.ReLU(),
            keras.layers.Conv2D(8, 3, name="next"), keras.layers.ReLU(),
            keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", name="scores"),
        ])  # fmt: skip
        model.save(place / "m.keras")
        x = np.random.default_rng(0).normal(2, 1, (90, 8, 8, 2)).astype("f")
        np.savez(place / "d.npz", x_train=x, x_test=x[:9])
        outcomes = []
        for _ in range(2):
            compressor = Compressor()
            compressor.open(str(place / "m.keras"))
            compressor.begin()
            compressor.load_training(
                str(place / "d.npz"), "none", 0, 1, None, str(place / "training")
            )
            made = compressor.apply_channels("reconstruction", multiple=1, **step)
            compressor.save(str(place / "out.keras"))
            compressor.check_saved(str(place / "out.keras"), trust=False)
            outcomes.append((made, (place / "out.keras").read_bytes()))
        return {"made": outcomes[0][0], "same": outcomes[0] == outcomes[1]}

    def not_finite(self):
        model = _NETS["dense"]()
        bad = np.full((8, *model.inputs[0].shape[1:]), np.nan, "f")
        channels.prune_channels(
            graph.read(model), 0.5, criterion="reconstruction",
            samples=Samples(lambda: iter([[bad]]), 1),
        )  # fmt: skip


def _inputs(model, seed):
    return (
        np.random.default_rng(seed).normal(0, 1, (SAMPLES, *model.inputs[0].shape[1:])).astype("f")
    )


def _dense():
    inputs = keras.Input((12,))
    x = keras.layers.Dense(16, activation="relu", name="first")(inputs)
    return _redundant(keras.Model(inputs, keras.layers.Dense(5, name="out")(x)), ["first"])


def _convolutions():
    """Kernels without a bias: normalization takes the intercept up."""
    inputs = keras.Input((10, 10, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False, name="second")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return _redundant(keras.Model(inputs, keras.layers.Dense(5, name="out")(x)), ["first"])


def _residual():
    inputs = keras.Input((8, 8, 2))
    stem = keras.layers.Conv2D(8, 1, activation="relu", name="stem")(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="inner")(stem)
    x = keras.layers.Conv2D(8, 1, name="back")(x)
    x = keras.layers.ReLU()(keras.layers.Add()([stem, x]))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    model = keras.Model(inputs, keras.layers.Dense(4, name="out")(x))
    return _redundant(model, ["stem", "inner", "back"])


def _depthwise():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="first")(inputs)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="each")(x)
    x = keras.layers.SeparableConv2D(6, 3, name="apart")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Dense(4, name="out")(x))
    kernel = model.get_layer("each").get_weights()[0]
    kernel[..., 4:, :] = kernel[..., :4, :]
    apart = model.get_layer("apart").get_weights()
    apart[0][..., 4:, :] = apart[0][..., :4, :]
    model.get_layer("apart").set_weights(apart)
    model.get_layer("each").set_weights([kernel])
    return _redundant(model, ["first"])


def _sequence():
    inputs = keras.Input((20, 3))
    x = keras.layers.Conv1D(8, 3, padding="causal", activation="relu", name="first")(inputs)
    x = keras.layers.Conv1D(6, 3, strides=2, padding="same", dilation_rate=1, name="next")(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    return _redundant(keras.Model(inputs, keras.layers.Dense(4, name="out")(x)), ["first"])


def _concatenated(normalized):
    """One reader of two bundles: what goes of the first must not come back with the second."""
    inputs = keras.Input((8, 8, 2))
    branches = [
        keras.layers.Conv2D(8, size, padding="same", activation="relu", name=name)(inputs)
        for name, size in (("one", 1), ("two", 3))
    ]
    x = keras.layers.Concatenate()(branches)
    x = keras.layers.Conv2D(6, 3, use_bias=not normalized, name="next")(x)
    if normalized:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return _redundant(keras.Model(inputs, x), [])


def _transposed():
    """A transposed convolution reads the channels: its weights stay as they are."""
    inputs = keras.Input((5, 5, 3))
    x = keras.layers.Conv2D(8, 1, activation="relu", name="first")(inputs)
    return keras.Model(inputs, keras.layers.Conv2DTranspose(2, 3, strides=2, name="up")(x))


def _redundant(model, names):
    """Makes the later half of some layers' channels multiples of the earlier half."""
    draw = np.random.default_rng(5)
    for layer in model.layers:
        values = [
            draw.normal(0.1, 0.4, value.shape).astype("f") if value.ndim == 1 and "norm" not in
            layer.name else value for value in layer.get_weights()
        ]  # fmt: skip
        layer.set_weights(values)
    for name in names:
        values = model.get_layer(name).get_weights()
        for value in values:
            half = value.shape[-1] // 2
            value[..., half:] = 1.5 * value[..., :half]
        model.get_layer(name).set_weights(values)
    return model


_NETS = {
    "dense": _dense,
    "convolutions": _convolutions,
    "residual": _residual,
    "depthwise": _depthwise,
    "sequence": _sequence,
    "transposed": _transposed,
    "concatenated": lambda: _concatenated(False),
    "concatenated_normalized": lambda: _concatenated(True),
}
