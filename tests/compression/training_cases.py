"""What a worker does to check training; answers are plain data, judged by the tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from edgekit import keras_loading
from edgekit.compression import compile_config, losses, output_activations, training_plan
from edgekit.compression.compressor import Compressor
from edgekit.data import open_data

L = keras.layers


class Data:
    """Training data in memory."""

    def __init__(self, arrays, labels):
        self.arrays, self.labels = arrays, labels
        self.count, self.views = len(arrays[0]), 1

    def batch(self, _view, numbers):
        return [one[numbers] for one in self.arrays], (
            None if self.labels is None else self.labels[numbers]
        )


def dense(outputs, activation=None, inputs=4, tail=()):
    x = given = keras.Input((inputs,), name="given")
    x = L.Dense(outputs, activation=activation, name="out")(x)
    for layer in tail:
        x = layer(x)
    return keras.Model(given, x)


def image(dropout=0.0, frozen=False, batch_size=None):
    x = given = keras.Input((8, 8, 1), batch_size=batch_size, name="image")
    x = L.Conv2D(8, 3, use_bias=False, name="conv")(x)
    x = L.BatchNormalization(name="bn")(x)
    x = L.ReLU()(x)
    x = L.Dropout(dropout)(x)
    x = L.GlobalAveragePooling2D()(x)
    model = keras.Model(given, L.Dense(3, activation="softmax", name="classes")(x))
    if frozen:
        model.get_layer("conv").trainable = False
    return model


def lstm():
    x = given = keras.Input((6, 3), name="rows")
    x = L.LSTM(5, dropout=0.5, recurrent_dropout=0.2)(x)
    return keras.Model(given, L.Dense(3, activation="softmax")(x))


class Cases:
    """Called by the tests, one after the other."""

    def loss(self, model, labels, config=None, dtype=None, user=None):
        """Name, notes and value of the loss that `resolve` finds, on the first 8 samples."""
        keras.utils.set_random_seed(0)
        loaded = keras_loading.of_model(MODELS[model](), None)
        y = None if labels is None else np.array(labels, dtype)
        count = 8 if y is None else len(y)
        rng = np.random.default_rng(0)
        arrays = [
            rng.standard_normal((count, *spec.shape[1:])).astype(np.float32)
            for spec in loaded.inputs
        ]
        data = Data(arrays, y)
        stored = compile_config.CompileConfig(config) if config is not None else None
        task = losses.resolve(loaded, data, stored, user)
        outputs = loaded.call([tf.constant(one) for one in arrays])
        target = arrays[task.target_input] if task.target_input is not None else y
        value = task(None if target is None else tf.constant(target), outputs)
        return {
            "name": task.name,
            "notes": " ".join(task.notes),
            "target_input": task.target_input,
            "value": float(value),
            "outputs": np.asarray(outputs[0]).tolist(),
            "x": arrays[0].tolist(),
        }

    def kind(self, model):
        return output_activations.from_layers(MODELS[model]())

    def write(self, model, path, compiled=None, fill=None):
        keras.utils.set_random_seed(1)
        made = MODELS[model]()
        if compiled:
            made.compile(**compiled)
        if fill is not None:
            made.set_weights([np.full_like(weight, fill) for weight in made.get_weights()])
        made.save(path)

    def train(self, path, data, directory, **options):
        """Trains as the main process does; losses per epoch, notes, and the saved file's hash."""
        compressor = Compressor()
        compressor.open(path)
        compressor.begin()
        augment = options.pop("augment", None)
        saved = options.pop("save", None)
        limit_s = options.pop("limit_s", 60.0)
        loaded = compressor.load_training(data, "none", 0, 1, augment, directory)
        before = attributes(compressor._model().model)
        settings = {
            "epochs": 2, "learning_rate": None, "batch_size": None, "seed": 0, "loss": None,
            "distill": None,
        }  # fmt: skip
        if options.get("distill"):
            compressor.open_teacher(None, False)
        said = compressor.start_training(**{**settings, **options})
        while options.get("distill") and not taught(compressor):
            pass
        during = attributes(compressor._model().model)
        compressor.keep()
        kept = compressor._model().model.get_weights()
        epochs, calls = [], 0
        while len(epochs) < said_epochs(options):
            state = compressor.advance(limit_s)
            calls += 1
            if state["failed_at"] is not None:
                break
            if state["epoch_done"]:
                epochs.append(state["loss"])
        weights = compressor._model().model.get_weights()
        traces = compressor._session.trainer._function.experimental_get_tracing_count()
        compressor.end_training()
        digest = None
        if saved:
            compressor.save(saved)
            digest = hashlib.sha256(Path(saved).read_bytes()).hexdigest()
        after = attributes(compressor._model().model)
        compressor.restore()
        same = all(map(np.array_equal, kept, compressor._model().model.get_weights()))
        return {
            "loaded": loaded, "said": said, "epochs": epochs, "calls": calls,
            "finite": all(bool(np.isfinite(weight).all()) for weight in weights),
            "moved": [not np.array_equal(*pair) for pair in zip(kept, weights, strict=True)],
            "failed_at": state["failed_at"], "before": before, "during": during, "after": after,
            "restored": same, "sha256": digest, "traces": traces,
        }  # fmt: skip

    def spooled(self, model, data, directory, preprocess="none", augment=None):
        """Two views' batches, by number, and how they lie on disk."""
        from edgekit.compression import training_data  # noqa: PLC0415

        loaded = keras_loading.of_model(MODELS[model](), None)
        dataset = open_data(data, inputs=loaded.inputs, preprocess=preprocess)
        made = training_data.spool(dataset, seed=3, augment=augment, directory=Path(directory))
        numbers = np.array([5, 0, 5, made.count - 1])
        views = [made.batch(view, numbers) for view in range(made.views)]
        blocks = np.concatenate([block[0] for block in made.blocks(0)])
        return {
            "count": made.count,
            "views": made.views,
            "x": [view[0][0].tolist() for view in views],
            "y": [None if view[1] is None else view[1].tolist() for view in views],
            "dtype": str(views[0][0][0].dtype),
            "blocks": blocks.tolist(),
            "files": {
                str(file.relative_to(directory)): file.stat().st_size
                for file in sorted(Path(directory).rglob("*.raw"))
            },
        }

    def rates(self, recorded, optimizer, distilling):
        config = compile_config.CompileConfig(None, optimizer, recorded)
        return training_plan._learning_rate(config, distilling)

    def config(self, path):
        found = compile_config.read(Path(path))
        return None if found is None else [found.loss, found.optimizer, found.learning_rate]


def taught(compressor):
    state = compressor.prepare_teacher(1.0)
    return state["done"] == state["total"]


def said_epochs(options):
    return options.get("epochs", 2)


def attributes(model):
    found = {}
    for layer in model._flatten_layers():
        for name in ("momentum", "rate", "dropout", "recurrent_dropout"):
            if isinstance(getattr(layer, name, None), float):
                found[f"{layer.name}.{name}"] = getattr(layer, name)
    return found


def regularized():
    x = given = keras.Input((4,), name="given")
    x = L.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5), name="out")(x)
    return keras.Model(given, L.Activation("softmax")(x))


def two_outputs():
    given = keras.Input((4,), name="given")
    return keras.Model(
        given, [L.Dense(3, activation="softmax", name="a")(given), L.Dense(2, name="b")(given)]
    )


def all_frozen():
    model = dense(3, "softmax")
    model.trainable = False
    return model


def segmenting():
    given = keras.Input((2, 2, 1), name="given")
    return keras.Model(given, L.Conv2D(3, 1, name="pixels")(given))


MODELS = {
    "softmax": lambda: dense(3, "softmax"),
    "logits": lambda: dense(3),
    "sigmoid": lambda: dense(1, "sigmoid"),
    "one_logit": lambda: dense(1),
    "sigmoids": lambda: dense(3, "sigmoid"),
    "regression": lambda: dense(2),
    "autoencoder": lambda: dense(4),
    "reshaped": lambda: dense(6, "softmax", tail=[L.Reshape((6, 1)), L.Flatten()]),
    "activated": lambda: dense(3, tail=[L.Activation("softmax"), L.Activation("linear")]),
    "softmax_layer": lambda: dense(3, tail=[L.Softmax()]),
    "nested": lambda: dense(4, "relu", tail=[dense(3, "softmax")]),
    "by_numbers": lambda: dense(3, "softmax", tail=[L.Lambda(lambda x: 1.0 * x)]),
    "image": image,
    "image_dropout": lambda: image(0.5),
    "image_frozen": lambda: image(frozen=True),
    "image_fixed": lambda: image(batch_size=8),
    "lstm": lstm,
    "regularized": regularized,
    "two_outputs": two_outputs,
    "all_frozen": all_frozen,
    "segmenting": segmenting,
}
