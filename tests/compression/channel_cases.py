"""What a worker does to check channel pruning; answers are plain data, judged by the test."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import planted_models
import simplify_cases

from edgekit import keras_layers
from edgekit.compression import (
    channel_groups,
    channel_order,
    channels,
    graph,
    rebuilding,
    recalibration,
    taylor,
)  # fmt: skip
from edgekit.compression.compressor import Compressor
from edgekit.errors import DataError


class Cases:
    def prune(self, name, ratio=None, options=None):
        model = _model(name)
        taken = graph.read(model)
        made = channels.prune_channels(taken, ratio, **(options or {}))
        pruned = rebuilding.rebuild(taken)
        inputs = [simplify_cases._input(tensor) for tensor in model.inputs]
        before, after = simplify_cases._run(model, inputs), simplify_cases._run(pruned, inputs)
        return {
            "identical": all(map(np.array_equal, before, after))
            and simplify_cases._same_weights(model, pruned),
            "finite": all(bool(np.isfinite(value).all()) for value in after),
            "shapes": [value.shape for value in before] == [value.shape for value in after],
            "names": simplify_cases._outputs(model) == simplify_cases._outputs(pruned),
            "removed": {r.layer: [r.channels, r.remaining] for r in made.removed},
            "kept": {r.layer: r.why for r in made.kept},
            "parameters": [model.count_params(), pruned.count_params()],
            "macs": [_macs(model), _macs(pruned)],
            "counted": [
                [counts["parameters"], counts["macs"]] for counts in (made.before, made.after)
            ],
            "budget": channels.as_plain(made)["budget"],
        }

    def silenced(self, name, silent):
        """Pruned at a half, against the source with the readers of certain channels silenced.

        Args:
            name: The architecture.
            silent: (maker, reader) layers, whose least channels by L1 norm are found here anew.
        """
        model = _model(name)
        taken = graph.read(model)
        channels.prune_channels(taken, 0.5)
        pruned = rebuilding.rebuild(taken)
        least = {}
        for maker, _ in silent:  # all norms first: silencing changes the next layer's
            kernel = np.array(model.get_layer(maker).kernel)
            norms = np.abs(kernel).reshape(-1, kernel.shape[-1]).sum(axis=0)
            least[maker] = np.argsort(norms)[: norms.size // 2]
        for maker, reader in silent:
            values = model.get_layer(reader).get_weights()
            values[0][..., least[maker], :] = 0
            model.get_layer(reader).set_weights(values)
        inputs = [simplify_cases._input(tensor) for tensor in model.inputs]
        pairs = zip(
            simplify_cases._run(model, inputs), simplify_cases._run(pruned, inputs), strict=True
        )
        return max(simplify_cases._difference(*pair) for pair in pairs)

    def by_batch_norm(self):
        """Which channels survive where the scales of 'norm' are 1 … 8 in a known order."""
        model = _model("normalized")
        order = [5.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0]
        values = model.get_layer("norm").get_weights()
        values[0][:] = order
        model.get_layer("norm").set_weights(values)
        taken = graph.read(model)
        channels.prune_channels(taken, 0.5, criterion="bn-scale")
        return taken.layers["norm"].weights[0].tolist()

    def taylor(self, name, scope="global", **amount):
        """Importance by data against finite differences: every group's readers scaled by hand."""
        model = _model(name)
        taken = graph.read(model)
        found = channel_groups.of_graph(taken)
        draw = np.random.default_rng(3)
        batches = [
            ([draw.normal(0, 1, (4, *tensor.shape[1:])).astype("f") for tensor in model.inputs],
             draw.integers(0, 2, 4).astype("f"))
            for _ in range(2)
        ]  # fmt: skip

        def loss(inputs, y):
            outputs = keras.tree.flatten(model(inputs, training=False))
            return keras.ops.mean(keras.ops.square(outputs[0] - 0.3) * keras.ops.sum(y + 1))

        scores, samples = taylor.importance(taken, found, loss, batches)
        free = sorted({int(group) for bundle in channel_order.bundles(found, scores)
                       for group in bundle.groups})  # fmt: skip
        by_hand = [
            float(np.mean([_slope(taken, found, group, loss, batch) ** 2 for batch in batches]))
            for group in free
        ]
        scale = max(by_hand)
        errors = [abs(scores[g] - hand) / scale for g, hand in zip(free, by_hand, strict=True)]
        made = channels.prune_channels(taken, taylor=scores, scope=scope, **amount)
        return {
            "error": max(errors),
            "samples": samples,
            "groups": len(free),
            "removed": {r.layer: r.remaining for r in made.removed},
            "finite": all(bool(np.isfinite(value).all()) for value in
                          simplify_cases._run(rebuilding.rebuild(taken), batches[0][0])),
        }  # fmt: skip

    def by_data(self, directory, batch):
        """The worker's own way: training data, scores, a budget, statistics, a file."""
        place = Path(directory)
        keras.utils.set_random_seed(7)
        model = keras.Sequential([
            keras.layers.Input((8, 8, 2), batch_size=batch),
            keras.layers.Conv2D(8, 3, use_bias=False, name="conv"),
            keras.layers.BatchNormalization(name="norm"), keras.layers.ReLU(),
            keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", name="scores"),
        ])  # fmt: skip
        model.save(place / "m.keras")
        draw = np.random.default_rng(0)
        x = draw.normal(2, 1, (50, 8, 8, 2)).astype("f")
        np.savez(place / "d.npz", x_train=x, y_train=draw.integers(0, 3, 50), x_test=x[:9],
                 y_test=draw.integers(0, 3, 9))  # fmt: skip
        compressor = Compressor()
        compressor.open(str(place / "m.keras"))
        compressor.begin()
        compressor.load_training(str(place / "d.npz"), "none", 0, 1, None, str(place / "training"))
        seen = compressor.taylor_scores(40, None)
        limit = compressor.describe()["macs"] // 2
        made = compressor.apply_channels("taylor", "global", 1, max_macs=limit)
        measured = compressor.recalibrate()
        compressor.save(str(place / "out.keras"))
        compressor.check_saved(str(place / "out.keras"), trust=False)
        return {"seen": seen, "made": made, "limit": limit, "measured": measured,
                "now": compressor.describe()}  # fmt: skip

    def taylor_of_nan(self):
        model = _model("plain_same")
        taken = graph.read(model)
        batches = [([np.full((2, 12, 12, 3), np.nan, "f")], None)]
        taylor.importance(
            taken, channel_groups.of_graph(taken),
            lambda inputs, _: keras.ops.mean(model(inputs[0], training=False)), batches,
        )  # fmt: skip

    def guarded(self, ratio):
        """What remains where all channels of the first layer seem to be worth nothing."""
        taken = graph.read(_model("flattened"))
        found = channel_groups.of_graph(taken)
        scores = np.ones(found.total)
        bundle = max(channel_order.bundles(found, scores), key=lambda one: one.groups.size)
        scores[bundle.groups] = 0
        before = bundle.groups.size
        made = channels.prune_channels(taken, ratio, scope="global", taylor=scores)
        name = taken.calls[bundle.makers[0]].layer
        return before, {r.layer: r.remaining for r in made.removed}[name]

    def recalibrated(self, batches, fixed=False, value=None):
        """Statistics against those of what the layers read, computed without edgekit."""
        keras.utils.set_random_seed(7)
        image = keras.Input((6, 6, 3), batch_size=1 if fixed else None, name="image")
        x = keras.layers.Conv2D(5, 3, name="conv")(image)
        x = keras.layers.Dropout(0.5, name="drop")(x)
        x = keras.layers.BatchNormalization(name="norm")(x)
        x = keras.layers.ReLU(name="open")(x)
        x = keras.layers.Conv2D(4, 3, name="conv2")(x)
        x = keras.layers.BatchNormalization(name="norm2", trainable=False)(x)
        model = keras.Model(image, x)
        draw = np.random.default_rng(5)
        data = [draw.normal(1, 3, (count, 6, 6, 3)).astype("f") for count in batches]
        if value is not None:
            data[0][:] = value
        before = model.get_weights()
        reads = np.concatenate([
            np.array(keras.Model(image, model.get_layer("conv").output)(part)) if not fixed
            else np.concatenate([model.get_layer("conv")(part)]) for part in data
        ])  # fmt: skip
        try:
            answer = recalibration.recalibrate(model, [[part] for part in data])
        except DataError as error:
            return {"message": str(error), "same": all(
                map(np.array_equal, before, model.get_weights()))}  # fmt: skip
        norm, second = model.get_layer("norm"), model.get_layer("norm2")
        inputs = np.array(model.get_layer("conv2")(keras.ops.relu((reads - reads.mean((0, 1, 2)))
                          / np.sqrt(reads.var((0, 1, 2)) + norm.epsilon))))  # fmt: skip
        return {
            "mean": float(np.abs(np.array(norm.moving_mean) - reads.mean((0, 1, 2))).max()),
            "variance": float(
                np.abs(np.array(norm.moving_variance) / reads.var((0, 1, 2)) - 1).max()
            ),
            "second": float(np.abs(np.array(second.moving_mean) - inputs.mean((0, 1, 2))).max()),
            "frozen": not second.trainable,
            "kernels": all(np.array_equal(old, new) for old, new in
                           zip(before, model.get_weights(), strict=True) if old.ndim > 1),
            **answer,
        }  # fmt: skip

    def of_any_length(self, **amount):
        """Asks a budget of a model whose input has any length."""
        model = keras.Sequential([
            keras.layers.Input((None, 4)), keras.layers.Conv1D(8, 3, name="conv"),
            keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(2, name="out"),
        ])  # fmt: skip
        taken = graph.read(model)
        channels.prune_channels(taken, **amount)


def _slope(taken, found, group, loss, batch, step=2e-3):
    """Central difference of the loss by a factor on all that reads a group's channels."""
    values = []
    for factor in (1 + step, 1 - step):
        saved = []
        for number in found.readers:
            call = taken.calls[number]
            source = taken.layers[call.layer].source
            inside = found.group[found.of(graph.inputs_of(call)[0])] == group
            weights = source.get_weights()
            saved.append((source, weights))
            changed = [np.array(weight) for weight in weights]
            if "Transpose" in taken.layers[call.layer].kind:
                changed[0][..., inside] *= factor
            else:
                changed[0][..., inside, :] *= factor
            source.set_weights(changed)
        values.append(float(loss(*batch)))
        for source, weights in saved:
            source.set_weights(weights)
    return (values[0] - values[1]) / (2 * step)


def _macs(model):
    """What `edgekit inspect` says."""
    return sum(layer.macs or 0 for layer in keras_layers.of_model(model))


def _model(name):
    keras.utils.set_random_seed(7)
    if name in planted_models.ARCHITECTURES:
        model, _ = planted_models.ARCHITECTURES[name]()
    else:
        application = getattr(keras.applications, name)
        model = application(weights=None, input_shape=(64, 64, 3), classes=10)
    simplify_cases._randomize(model)
    return model
