"""What a worker does to check TFMOT's engine; answers are plain data, judged by the tests."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from edgekit.compression import graph, tfmot_replay, tfmot_rules
from edgekit.compression.compressor import Compressor
from edgekit.compression.tfmot_engine import Engine

L = keras.layers
HELD = {"zeros": False, "clusters": None, "groups": False}


class Cases:
    """Called by the tests, one after the other."""

    def write(self, model: str, path: str) -> None:
        """Builds a model and saves it."""
        keras.utils.set_random_seed(0)
        made = MODELS[model]()
        made.compile("adam", "sparse_categorical_crossentropy")
        made.save(path)

    def difference(self, model: str) -> float:
        """Replays a model, and compares it with Keras 3 on inputs of its own."""
        keras.utils.set_random_seed(0)
        source = MODELS[model]()
        randomize(source)
        replayed = tfmot_replay.replay_graph(graph.read(source))
        rng = np.random.default_rng(3)
        words = model == "words"
        given = [
            rng.integers(0, 9, (5, *one.shape[1:]))
            if words
            else rng.normal(size=(5, *one.shape[1:]))
            for one in source.inputs
        ]
        given = [one.astype(np.int32 if words else np.float32) for one in given]
        old = replayed.model(given, training=False)
        new = source(given if len(given) > 1 else given[0], training=False)
        return max(
            float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())
            for a, b in zip(keras.tree.flatten(old), keras.tree.flatten(new), strict=True)
        )

    def registries(self) -> dict[str, list[str]]:
        """The kinds of layers that TFMOT's own registries name, by technique."""
        from tensorflow_model_optimization.python.core.clustering.keras import (  # noqa: PLC0415 an extra
            clustering_registry,
        )
        from tensorflow_model_optimization.python.core.sparsity.keras import (  # noqa: PLC0415 an extra
            prune_registry,
        )

        prune, cluster = prune_registry.PruneRegistry, clustering_registry.ClusteringRegistry
        scheme = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()
        quantize = scheme.get_quantize_registry()
        named = {
            "prune": [one for one, weights in prune._LAYERS_WEIGHTS_MAP.items() if weights]
            + list(prune._RNN_LAYERS),
            "cluster": [one for one, weights in cluster._LAYERS_WEIGHTS_MAP.items() if weights]
            + [*cluster._SUPPORTED_RNN_LAYERS, *cluster._SUPPORTED_MHA_LAYERS],
            "quantize": list(quantize._layer_quantize_map),
        }
        return {
            key: sorted({one.__name__ for one in kinds if one.__name__ in vars(L)})
            for key, kinds in named.items()
        }

    def rules(self) -> dict[str, list[str]]:
        """The kinds of layers that edgekit hands to TFMOT."""
        return {
            "prune": sorted(tfmot_rules.PRUNED),
            "cluster": sorted(tfmot_rules.CLUSTERED),
            "quantize": sorted(tfmot_rules.QUANTIZED),
        }

    def run(
        self, model, step, place, data=None, held=None, epochs=0, output=None, random=True,
        broken_off=False,
    ):  # fmt: skip
        """One step, driven as the main process does; weights before and after, by layer.

        A training that is broken off fails in its first epoch: nothing of it is kept.
        """
        place = Path(place)
        compressor, engine = Compressor(), Engine()
        compressor.open(model)
        if random:
            randomize(compressor._model().model)
        compressor.begin()
        before = kernels(compressor._model().model)
        compressor.save(str(place / "before.keras"))
        begun = engine.begin(str(place / "before.keras"), step, held or HELD, False)
        said = {"notes": [], "first_epoch": 0}
        if epochs:
            compressor.load_training(data, "none", 0, 1, None, str(place / "spool"))
            engine.load_training(str(place / "spool"), "none", 0, None, model, str(place / "views"))
            said = engine.start_training(epochs, 0.01, None, 0, None, None)
            for _ in range(0 if broken_off else epochs):
                state = engine.advance(60.0)
                assert state["epoch_done"], state
            engine.keep()
            engine.restore()
            engine.end_training()
        else:
            engine.apply_once()
        finished = engine.finish(str(place / "weights.npz"))
        compressor.take_weights(str(place / "weights.npz"), **(held or HELD))
        if output:
            compressor.save(output)
        return {
            "begun": begun, "said": said, "finished": finished, "before": before,
            "after": kernels(compressor._model().model),
            "difference": outputs_apart(engine, compressor),
        }  # fmt: skip


def outputs_apart(engine, compressor):
    """Largest difference between the wrapped tf_keras model and the Keras 3 model, relative."""
    specs = engine._model().inputs
    rng = np.random.default_rng(5)
    given = [rng.normal(size=(8, *one.shape[1:])).astype(np.float32) for one in specs]
    old, new = (np.asarray(one._model().call(given)[0]) for one in (engine, compressor))
    return float(np.abs(old - new).max() / np.abs(new).max())


def randomize(model):
    """Statistics of batch normalization that are not those of a new model."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, one.shape) for one in layer.get_weights()])


def kernels(model):
    """Weights with more than one axis, by layer and place."""
    return {
        f"{layer.name}.{place}": weight.tolist()
        for layer in model.layers
        if not isinstance(layer, keras.Model)
        for place, weight in enumerate(layer.get_weights())
        if weight.ndim > 1
    }


def mixed():
    x = given = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(8, 3, use_bias=False, name="conv")(x)
    x = L.BatchNormalization(name="bn")(x)
    x = L.ReLU(name="relu")(x)
    x = L.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = L.Add(name="add")([x, L.Conv2D(8, 1, name="point")(x)])
    x = L.Reshape((16, 8), name="rows")(x)
    x = L.Conv1D(8, 3, activation="relu", name="conv1d")(x)
    x = L.LSTM(6, name="lstm")(x)
    return keras.Model(given, L.Dense(3, activation="softmax", name="classes")(x))


def plain():
    x = given = keras.Input((8, 8, 1), name="image")
    x = L.ReLU(name="relu")(L.Conv2D(8, 3, name="conv")(x))
    x = L.Conv2D(8, 3, activation="relu", name="second")(x)
    x = L.DepthwiseConv2D(3, name="depthwise")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(given, L.Dense(3, activation="softmax", name="classes")(x))


def attention():
    x = given = keras.Input((6, 8), name="rows")
    y = L.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = L.LayerNormalization(name="norm")(x + y)
    x = keras.ops.relu(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True), name="both")(x)
    x = L.TimeDistributed(L.Dense(5, activation="silu"), name="each")(x)
    return keras.Model(given, L.Dense(3, name="out")(L.Flatten()(x)))


def nested():
    given = keras.Input((8, 8, 1), name="image")
    inner = keras.Sequential(
        [keras.Input((8, 8, 1)), L.SeparableConv2D(4, 3, name="inner"), L.LeakyReLU(0.2)],
        name="sub",
    )
    x = L.Concatenate()([inner(given), inner(given * 2.0)])
    return keras.Model(given, L.Dense(3, name="out")(L.GlobalMaxPooling2D()(x)))


def words():
    x = given = keras.Input((7,), dtype="int32", name="words")
    x = L.Embedding(9, 6, mask_zero=True, name="table")(x)
    return keras.Model(given, L.Dense(2, name="out")(L.GRU(5, name="gru")(x)))


def custom():
    given = keras.Input((4,), name="given")
    return keras.Model(given, L.Dense(2, activation="hard_sigmoid", name="hard")(given))


MODELS = {one.__name__: one for one in (mixed, plain, attention, nested, words, custom)}
assert tf_keras.__version__.startswith("2.")
