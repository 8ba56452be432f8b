"""What a worker does to check pruning and clustering; answers are plain data, judged by tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import keras
import msgspec
import numpy as np

from edgekit.compression import clustering, explaining, holding, kernel_matrices, pruning
from edgekit.compression.compressor import Compressor
from edgekit.held import NOTHING, Held
from edgekit.recipe_types import RecipeStep

L = keras.layers


def image():
    x = given = keras.Input((8, 8, 4), name="image")
    x = L.Conv2D(8, 3, padding="same", name="conv")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, name="each")(x)
    x = L.SeparableConv2D(8, 3, name="parted")(x)
    x = L.Conv2DTranspose(12, 3, strides=2, name="back")(L.ReLU()(x))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(given, L.Dense(3, activation="softmax", name="out")(x))


def rows():
    x = given = keras.Input((12, 4), name="rows")
    x = L.Conv1D(8, 3, name="conv")(x)
    x = L.DepthwiseConv1D(3, name="each")(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True, name="gru"), name="both")(x)
    x = L.LSTM(4, name="lstm")(x)
    return keras.Model(given, L.Dense(2, name="out")(x))


def words():
    x = given = keras.Input((6,), dtype="int32", name="words")
    x = L.Embedding(20, 8, name="embed")(x)
    x = L.Add()([x, L.MultiHeadAttention(2, 4, name="attend")(x, x)])
    x = L.EinsumDense("abc,cd->abd", (6, 12), name="einsum")(x)
    return keras.Model(given, L.Dense(2, name="out")(L.Flatten()(x)))


def volume():
    x = given = keras.Input((4, 4, 4, 4), name="volume")
    x = L.Conv3D(4, 3, name="conv")(x)
    return keras.Model(given, L.Dense(2, name="out")(L.Flatten()(x)))


@keras.saving.register_keras_serializable("tests")
class Own(L.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(shape[-1], 3), name="table")

    def call(self, x):
        return x @ self.table


def odd():
    x = given = keras.Input((4, 4, 3), name="image")
    x = L.PReLU(name="slope")(L.Conv2D(8, 3, name="conv", trainable=False)(x))
    return keras.Model(given, L.Dense(2, name="out")(Own(name="own")(L.Flatten()(x))))


MODELS = {"image": image, "rows": rows, "words": words, "volume": volume, "odd": odd}


def made(name, few=None):
    """A model with normal weights; `few`: rounded, so that not many are distinct."""
    keras.utils.set_random_seed(7)
    model = MODELS[name]()
    rng = np.random.default_rng(3)
    for variable in model.variables:
        if len(variable.shape) > 1:
            values = rng.standard_normal(variable.shape).astype("float32")
            variable.assign(np.rint(values * few) / few if few else values)
    return model


def weights(model):
    return {
        variable.path: np.array(variable).tolist()
        for variable in model.variables
        if len(variable.shape) > 1 and "bias" not in variable.path
    }


class Cases:
    def prune(self, name, sparsity, pattern="unstructured", scope="layer", trained=False):
        model = made(name)
        before = weights(model)
        amount = pruning.Amount(sparsity, pattern, scope)
        applied, kept = pruning.prune(model, amount, trained=trained)
        return _told(before, model, applied, kept)

    def simplified(self, place, pattern):
        """Input channels and zeros per group of four of a kernel behind a channel that is dead."""
        keras.utils.set_random_seed(7)
        image = keras.Input((8, 8, 4), name="image")
        x = L.Conv2D(8, 3, activation="relu", name="first")(image)
        model = keras.Model(image, L.Conv2D(4, 3, name="second")(x))
        kernel, bias = (np.array(one) for one in model.get_layer("first").weights)
        kernel[..., 3], bias[3] = 0, -1
        model.get_layer("first").set_weights([kernel, bias])
        model.save(place)
        compressor = Compressor()
        compressor.open(place)
        compressor.begin()
        compressor.apply_prune(0.5, pattern, "layer", trained=False)
        compressor.apply_simplify(for_inference=True, probes=None)
        compressor.save(place)
        values = np.array(keras.saving.load_model(place).get_layer("second").kernel)
        inputs = values.shape[2]
        whole = values[:, :, : inputs // 4 * 4].reshape(9, -1, 4, 4)
        return inputs, sorted({int(count) for count in (whole == 0).sum(2).ravel()})

    def prune_twice(self, name, first, second):
        model = made(name)
        pruning.prune(model, pruning.Amount(first), trained=False)
        before = weights(model)
        applied, kept = pruning.prune(model, pruning.Amount(second), trained=False)
        return _told(before, model, applied, kept)

    def cluster(self, name, clusters, init="density", sparsity=0.0, for_int8=False, few=None):
        model = made(name, few)
        if sparsity:
            pruning.prune(model, pruning.Amount(sparsity), trained=False)
        before = weights(model)
        applied, kept = clustering.cluster(
            model, clusters, init, seed=5, for_int8=for_int8, trained=False
        )
        return _told(before, model, applied, kept)

    def k_means(self, values, count, init):
        centres = clustering.k_means(
            np.array(values), np.ones(len(values)), count, np.array([]), init,
            np.random.default_rng(0),
        )  # fmt: skip
        return centres.tolist()

    def gradual(self, name, sparsity, steps, pattern="unstructured"):
        """Zeros after each call that training makes, while noise is added to all weights."""
        model = made(name)
        amount = {"sparsity": sparsity, "pattern": pattern, "scope": "layer"}
        (held,) = holding.constraints(model, NOTHING, amount)
        kernels, _ = kernel_matrices.find(model)
        rng = np.random.default_rng(0)
        shares = []
        for step in range(steps):
            held.before(step, steps)
            for kernel in kernels:
                kernel.variable.assign(kernel.values + rng.normal(0, 1e-3, kernel.values.shape))
            held.project()
            kernel = kernels[0]
            shares.append(float((kernel.values == 0).mean()))
        return shares

    def held(self, name, sparsity, clusters, for_int8):
        """Which weights are zero, and which are equal, before and after three noisy updates."""
        model = made(name)
        pruning.prune(model, pruning.Amount(sparsity), trained=False)
        if clusters:
            clustering.cluster(model, clusters, "density", seed=0, for_int8=for_int8, trained=False)
        before = weights(model)
        constraints = holding.constraints(model, Held(True, clusters, for_int8))
        kernels, _ = kernel_matrices.find(model)
        rng = np.random.default_rng(0)
        for step in range(3):
            for constraint in constraints:
                constraint.before(step, 3)
            for kernel in kernels:
                kernel.variable.assign(kernel.values + rng.normal(0, 0.02, kernel.values.shape))
            for constraint in constraints:
                constraint.project()
        moved = weights(model)
        for constraint in constraints:
            constraint.settle()
        return {"before": before, "moved": moved, "after": weights(model)}

    def explain(self, name, steps):
        wanted = msgspec.convert(steps, list[RecipeStep])
        model = made(name)
        before = weights(model)
        told = list(explaining.explain(model, wanted, 1, Path("none.keras")))
        return {
            "steps": [explaining.as_plain(one) for one in told],
            "changed": weights(model) != before,
        }

    def teacher_moves(self, path, sparsity):
        """Whether pruning the model that teaches also prunes its teacher."""
        made("image").save(path)
        compressor = Compressor()
        compressor.open(path)
        compressor.begin()
        compressor.apply_simplify(False, None)
        before = _digest(compressor._origin.model)
        compressor.apply_prune(sparsity, "unstructured", "layer", trained=False)
        return [before, _digest(compressor._origin.model), _digest(compressor._model().model)]

    def weights_of(self, path):
        return weights(keras.saving.load_model(path))


def _digest(model):
    return hashlib.sha256(b"".join(one.tobytes() for one in model.get_weights())).hexdigest()


def _told(before, model, applied, kept):
    return {
        "before": before,
        "after": weights(model),
        "applied": msgspec.to_builtins(applied),
        "kept": msgspec.to_builtins(kept),
    }
