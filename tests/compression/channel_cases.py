"""What a worker does to check channel pruning; answers are plain data, judged by the test."""

from __future__ import annotations

import keras
import numpy as np
import planted_models
import simplify_cases

from edgekit.compression import channels, graph, rebuilding


class Cases:
    def prune(self, name, ratio, options=None):
        model = _model(name)
        taken = graph.read(model)
        removed, kept = channels.prune_channels(taken, ratio, **(options or {}))
        pruned = rebuilding.rebuild(taken)
        inputs = [simplify_cases._input(tensor) for tensor in model.inputs]
        before, after = simplify_cases._run(model, inputs), simplify_cases._run(pruned, inputs)
        return {
            "identical": all(map(np.array_equal, before, after))
            and simplify_cases._same_weights(model, pruned),
            "finite": all(bool(np.isfinite(value).all()) for value in after),
            "shapes": [value.shape for value in before] == [value.shape for value in after],
            "names": simplify_cases._outputs(model) == simplify_cases._outputs(pruned),
            "removed": {r.layer: [r.channels, r.remaining] for r in removed},
            "kept": {r.layer: r.why for r in kept},
            "parameters": [model.count_params(), pruned.count_params()],
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


def _model(name):
    keras.utils.set_random_seed(7)
    if name in planted_models.ARCHITECTURES:
        model, _ = planted_models.ARCHITECTURES[name]()
    else:
        application = getattr(keras.applications, name)
        model = application(weights=None, input_shape=(64, 64, 3), classes=10)
    simplify_cases._randomize(model)
    return model
