"""What a worker does to check distillation; answers are plain data, judged by the tests."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from edgekit import keras_loading
from edgekit.compression import distillation, hints, softening, teaching
from edgekit.compression.losses import TaskLoss

L = keras.layers
SETTINGS = {"temperature": 4.0, "weight": 0.9, "features": False}


class Data:
    """Training data in memory; view v is v greater."""

    def __init__(self, arrays, y=None, views=1):
        self.arrays, self.y, self.views = arrays, y, views
        self.count = len(arrays[0])
        self.asked = []

    def prepare(self, view, limit_s):  # noqa: ARG002 as TrainingData has it
        return True

    def batch(self, view, numbers):
        x = [(one[numbers] + view).astype(one.dtype) for one in self.arrays]
        return x, None if self.y is None else self.y[numbers]

    def blocks(self, view):
        for start in range(0, self.count, 16):
            self.asked.append((view, start))
            yield self.batch(view, np.arange(start, min(start + 16, self.count)))[0]


# ------------------------------------------------------------------------------------------- nets


def _image(width, last, name="image"):
    x = image = keras.Input((8, 8, 3), name=name)
    x = L.Conv2D(width, 3, padding="same", activation="relu", name="low")(x)
    x = L.MaxPooling2D(name="pool")(x)
    x = L.Conv2D(2 * width, 3, padding="same", activation="relu", name="high")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, L.Dense(5, activation=last, name="scores")(x))


def _conv1d(width, last):
    x = rows = keras.Input((12, 4), name="rows")
    x = L.Conv1D(width, 3, strides=2, activation="relu", name="low")(x)
    x = L.Flatten(name="flat")(x)
    x = L.Dense(5, name="scores")(x)
    return keras.Model(rows, L.Activation(last, name="out")(x) if last else x)


def _lstm(width, last):
    x = rows = keras.Input((9, 6), name="rows")
    x = L.LSTM(width, name="read")(x)
    return keras.Model(rows, L.Dense(5, activation=last, name="scores")(x))


def _transformer(width, last):
    words = keras.Input((8,), dtype="int32", name="words")
    x = L.Embedding(20, width, name="embed")(words)
    x = L.LayerNormalization(name="norm")(x + L.MultiHeadAttention(2, 4, name="attend")(x, x))
    x = x + L.Dense(width, name="narrow")(L.Dense(2 * width, activation="gelu", name="wide")(x))
    x = L.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(words, L.Dense(5, activation=last, name="scores")(x))


def _dense(width, last):
    x = row = keras.Input((6,), name="row")
    x = L.Dense(width, activation="relu", name="hidden")(x)
    return keras.Model(row, L.Dense(5, activation=last, name="scores")(x))


def _autoencoder(width, last):
    x = row = keras.Input((6,), name="row")
    x = L.Dense(width, activation="relu", name="code")(x)
    return keras.Model(row, L.Dense(6, activation=last, name="again")(x))


def _two(width, last):
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    x = L.Dense(width, activation="relu", name="hidden")(L.Concatenate(name="both")([left, right]))
    kind = L.Dense(5, activation=last, name="kind")(x)
    return keras.Model([left, right], [kind, L.Dense(2, name="size")(x)])


def _folded(width, last):
    x = row = keras.Input((6,), name="row")
    x = L.Reshape((3, 2), name="pairs")(L.Dense(6, name="wide")(x))
    x = L.Dense(5, activation=last, name="each")(x)
    return keras.Model(row, L.Reshape((3, 5, 1), name="folded")(x))


NETS = {
    "image": _image, "conv1d": _conv1d, "lstm": _lstm, "transformer": _transformer,
    "dense": _dense, "autoencoder": _autoencoder, "two": _two, "folded": _folded,
}  # fmt: skip


def _net(kind, width, last, seed):
    keras.utils.set_random_seed(seed)
    model = NETS[kind](width, last)
    for layer in model.layers:  # a fresh net's outputs hardly differ from one another
        if "scores" in layer.name or layer.name in ("kind", "again", "each"):
            layer.set_weights([4 * value for value in layer.get_weights()])
    return keras_loading.of_model(model, None)


def _data(student, count=64, views=1, labelled=True):
    draw = np.random.default_rng(0)
    arrays = []
    for spec in student.inputs:
        shape = (count, *(size or 8 for size in spec.shape[1:]))
        whole = spec.dtype == "int32"
        arrays.append(
            draw.integers(0, 20, shape).astype("int32")
            if whole
            else draw.normal(size=shape).astype("float32")
        )
    return Data(arrays, draw.integers(0, 5, count) if labelled else None, views)


def _task(name="sparse_categorical_crossentropy"):
    function = getattr(keras.losses, name)
    return TaskLoss(name, lambda y, outputs: tf.reduce_mean(function(y, outputs[0])))


def _objective(student, teacher, directory, task=None, data=None, **settings):
    data = data or _data(student)
    return (
        distillation.objective(
            student, teaching.of_loaded(teacher), task, {**SETTINGS, **settings}, data,
            Path(directory),
        ),
        data,
    )  # fmt: skip


def _prepare(objective):
    while True:
        state = objective.prepare(0)
        if state["done"] >= state["total"]:
            return


def _train(objective, data, epochs, rate=0.01):
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(objective.variables)

    @tf.function(jit_compile=False)
    def step(inputs, y, taught):
        with tf.GradientTape() as tape:
            loss = objective.loss(objective.forward(inputs), y, taught)
        values = [variable.value for variable in objective.variables]
        optimizer.apply(tape.gradient(loss, values))
        return loss

    losses = []
    for epoch in range(epochs):
        numbers = np.arange(data.count)
        x, y = data.batch(epoch % data.views, numbers)
        taught = objective.taught(epoch % data.views, numbers)
        given = [tf.constant(one) for one in x]
        losses.append(
            float(
                step(
                    given,
                    None if y is None else tf.constant(y),
                    None if taught is None else tf.constant(taught),
                )
            )
        )
    return losses


def _call(loaded, arrays):
    return [np.asarray(one) for one in loaded.call([tf.constant(one) for one in arrays])]


class Cases:
    """Methods that tests call by name."""

    def divergences(self, temperature):
        """The two divergences on random logits, and Keras' own of the softened softmaxes."""
        draw = np.random.default_rng(1)
        teacher, student = (draw.normal(0, 5, (7, 4)).astype("float32") for _ in range(2))
        soft = [keras.ops.softmax(one / temperature) for one in (teacher, student)]
        return {
            "teacher": teacher.tolist(),
            "student": student.tolist(),
            "classes": float(softening.kl_of_classes(teacher, student, temperature)),
            "from_probabilities": float(
                softening.kl_of_classes(
                    softening.log_of(tf.nn.softmax(teacher)),
                    softening.log_of(tf.nn.softmax(student)),
                    temperature,
                )
            ),
            "keras": float(keras.losses.KLDivergence()(*soft)) * temperature**2,
            "independent": float(softening.kl_of_independent(teacher, student, temperature)),
        }

    def underflow(self, last, directory):
        """Gradients of a student whose probabilities underflow to 0, traced and not."""
        student, teacher = _net("dense", 8, last, 1), _net("dense", 16, last, 2)
        scores = student.model.get_layer("scores")
        scores.set_weights([1000 * value for value in scores.get_weights()])
        objective, data = _objective(student, teacher, directory)
        _prepare(objective)
        numbers = np.arange(data.count)
        given = [tf.constant(one) for one in data.batch(0, numbers)[0]]
        taught = tf.constant(objective.taught(0, numbers))

        def gradients():
            with tf.GradientTape() as tape:
                loss = objective.loss(objective.forward(given), None, taught)
            return tape.gradient(loss, [one.value for one in objective.variables])

        kernel = student.model.get_layer("hidden").kernel
        place = [one is kernel for one in objective.variables].index(True)
        traced, eager = tf.function(gradients)(), gradients()
        return {
            "smallest": float(_call(student, data.arrays)[0].min()),
            "finite": [
                all(bool(np.isfinite(one).all()) for one in found) for found in (traced, eager)
            ],
            "moves": float(np.abs(traced[place]).max()) > 0,
        }

    def first_loss(self, directory, temperature, weight, labelled):
        """The very first loss of a distillation, with all that is needed to compute it anew."""
        student, teacher = _net("dense", 8, "softmax", 1), _net("dense", 16, "softmax", 2)
        data = _data(student, labelled=labelled)
        objective, _ = _objective(
            student, teacher, directory, _task() if labelled else None, data,
            temperature=temperature, weight=weight,
        )  # fmt: skip
        _prepare(objective)
        return {
            "student": _call(student, data.arrays)[0].tolist(),
            "teacher": _call(teacher, data.arrays)[0].tolist(),
            "labels": None if data.y is None else data.y.tolist(),
            "loss": _train(objective, data, 1)[0],
            "notes": list(objective.notes),
        }

    def distil(self, kind, last, directory, teacher_last="same", features=False, epochs=60):
        """Trains a small student on a larger net of its kind."""
        student = _net(kind, 4, last, 1)
        teacher = _net(kind, 12, last if teacher_last == "same" else teacher_last, 2)
        before = [np.array(value) for value in teacher.model.get_weights()]
        objective, data = _objective(
            student, teacher, directory, features=features, data=_data(student, labelled=False)
        )
        _prepare(objective)
        losses = _train(objective, data, epochs)
        after = teacher.model.get_weights()
        return {
            "losses": losses,
            "notes": list(objective.notes),
            "teacher_unchanged": all(map(np.array_equal, before, after)),
            "variables": [str(one.name) for one in objective.variables],
            "student_variables": len(student.model.trainable_variables),
        }

    def mismatch(self, student, teacher, directory, task=None, features=False):
        """An objective of two nets given as [kind, last]; its notes."""
        pair = [_net(one[0], 4, one[1], seed) for seed, one in enumerate((student, teacher))]
        loss = _task(task) if task else None
        objective, _ = _objective(*pair, directory, loss, features=features)
        return {"notes": list(objective.notes)}

    def other_classes(self, directory):
        """A teacher with one class more."""
        student, teacher = _net("dense", 4, "softmax", 1), _net("autoencoder", 4, "softmax", 2)
        _objective(student, teacher, directory)

    def lessons(self, directory, views):
        """What is kept on disk, against the teacher's answers to each view."""
        student, teacher = _net("two", 4, "softmax", 1), _net("two", 12, "softmax", 2)
        data = _data(student, count=50, views=views)
        objective, _ = _objective(student, teacher, directory, data=data)
        states = [objective.prepare(0) for _ in range(-(-50 // 16) * views)]
        again = objective.prepare(0)
        numbers = np.array([49, 3, 3, 17])
        worst = 0.0
        for view in range(views):
            expected = _call(teacher, data.batch(view, numbers)[0])
            rows = np.concatenate([one.reshape(4, -1) for one in expected], axis=1)
            worst = max(worst, float(np.abs(objective.taught(view, numbers) - rows).max()))
        files = sorted(path.name for path in Path(directory).glob("*.npy"))
        mapped = isinstance(objective._lessons._views[0], np.memmap)
        return {
            "states": states, "again": again, "worst": worst, "files": files, "mapped": mapped,
            "asked": len(data.asked),
        }  # fmt: skip

    def opened(self, path, samples, trust=False):
        """A teacher from a file: its answers to samples, and its notes."""
        teacher = teaching.open_teacher(path, trust=trust)
        names = [spec.name for spec in teacher.inputs]
        shape = np.shape(samples)
        image = keras.Input(shape[1:], name=names[0])
        width = teacher.outputs[0].shape[-1]
        out = L.Dense(width, name="scores")(L.Flatten()(image))
        student = keras_loading.of_model(keras.Model(image, out), None)
        pupil = teaching.Pupil(teacher, student)
        return {
            "answers": pupil.ask([np.array(samples, "float32")])[0].tolist(),
            "notes": list(teacher.notes),
            "live": teacher.loaded is not None,
        }

    def features_of_file(self, path, directory):
        """Features asked of a teacher that has no Keras layers."""
        teacher = teaching.open_teacher(path, trust=False)
        row = keras.Input((4,), name="in")
        model = keras.Model(row, L.Dense(3, name="out")(L.Dense(5, name="hidden")(row)))
        student = keras_loading.of_model(model, None)
        distillation.objective(
            student, teacher, None, {**SETTINGS, "features": True}, _data(student), Path(directory)
        )

    def matched(self, student, teacher):
        """Places of the inputs that feed a teacher; nets are given as {name: shape}."""

        def net(inputs):
            given = [keras.Input(shape, name=name) for name, shape in inputs.items()]
            x = L.Concatenate()([L.Flatten()(one) for one in given]) if given[1:] else given[0]
            return keras_loading.of_model(
                keras.Model(given, L.Dense(2, name="out")(L.Flatten()(x))), None
            )

        return teaching.match_inputs(teaching.of_loaded(net(teacher)), net(student).inputs)

    def broken_teacher(self, directory):
        """A teacher that answers NaN."""
        student, teacher = _net("dense", 4, "softmax", 1), _net("dense", 4, "softmax", 2)
        teacher.model.get_layer("scores").set_weights([np.full((4, 5), np.nan), np.zeros(5)])
        _objective(student, teacher, directory)

    def pairs(self, student, teacher, asked):
        """Names of the pairs that are found between two nets [kind, width]."""
        ours, theirs = (_net(kind, width, None, 1).model for kind, width in (student, teacher))
        found = hints.find(ours, theirs, asked)
        return [[pair.name, list(pair.student.shape), list(pair.teacher.shape)] for pair in found]

    def fit(self, widths, silent=0):
        """The error of a hint before and after training, against the fit by numpy."""
        draw = np.random.default_rng(3)
        ours = draw.normal(2, 3, (40, 5, widths[0])).astype("float32")
        ours[..., :silent] = 0
        mix = draw.normal(size=(widths[0], widths[1])).astype("float32")
        theirs = ours @ mix + draw.normal(0, 0.1, (40, 5, widths[1])).astype("float32")
        hint = hints.Hint(hints.Pair(None, None, "a=b"), ours, theirs)
        return {
            "error": float(hint.error(ours, theirs)),
            "off": float(hint.error(ours, theirs + 1))
            * float(theirs.reshape(-1, widths[1]).var(axis=0).mean()),
            "kernel": list(hint.kernel.shape),
            "finite": bool(np.isfinite(hint.kernel.numpy()).all()),
        }

    def flat_feature(self, directory):
        """A teacher whose hidden layer is dead."""
        student, teacher = _net("dense", 4, "softmax", 1), _net("dense", 8, "softmax", 2)
        teacher.model.get_layer("hidden").set_weights([np.zeros((6, 8)), -np.ones(8)])
        _objective(student, teacher, directory, features=["hidden"])
