"""What a worker does to check changes of one layer; answers are plain data, judged by the test."""

from __future__ import annotations

import channel_cases
import keras
import model_zoo
import numpy as np
import simplify_cases

from edgekit.compression import channel_changes, channels, graph, kernel_changes, rebuilding

L = keras.layers


class Cases:
    def kernels(self, name):
        """Shape and output axes of each kernel, by layer."""
        layers = graph.read(model_zoo.ZOO[name]()).layers.values()
        return {
            layer.name: [[list(one.variable.shape), list(one.output_axes)] for one in found]
            for layer in layers
            if (found := kernel_changes.of_layer(layer.source))
        }

    def odd_kernels(self):
        """Of layers whose output channels are not their kernels' last axis, or that have none."""
        image = keras.Input((8, 8, 4))
        x = L.DepthwiseConv2D(3, depth_multiplier=2, name="each")(image)
        x = L.PReLU(name="slopes")(x)
        x = L.LayerNormalization(axis=(1, 2, 3), name="norm")(x)
        x = L.SeparableConv2D(5, 3, name="separable")(x)
        x = L.Conv2DTranspose(6, 3, name="grow")(x)
        layers = graph.read(keras.Model(image, x)).layers.values()
        return {
            layer.name: [[str(one.variable.name), list(one.output_axes)] for one in found]
            for layer in layers
            if (found := kernel_changes.of_layer(layer.source))
        }

    def trained_kernels(self, frozen):
        """Layers with kernels where some are frozen: all, and those that are trained."""
        model = model_zoo.ZOO["lstm"]()
        for name in frozen:
            model.get_layer(name).trainable = False
        return [
            [one["name"] for one in kernel_changes.Kernels(model, trained=trained).subjects()]
            for trained in (False, True)
        ]

    def changed_weights(self, name, layer, change):
        """Which weights of the model differ while one layer is changed, and whether any does after.

        Returns:
            By the variable's path the shares of zeros before and during, and `after`.
        """
        model = model_zoo.ZOO[name]()
        before = [np.array(one) for one in model.weights]
        with kernel_changes.Kernels(model).changed(layer, **change):
            during = [np.array(one) for one in model.weights]
        same = all(map(np.array_equal, before, [np.array(one) for one in model.weights]))
        differ = {
            one.path: [float((old == 0).mean()), float((new == 0).mean())]
            for one, old, new in zip(model.weights, before, during, strict=True)
            if not np.array_equal(old, new)
        }
        return {"differ": differ, "restored": same}

    def silenced(self, name):
        """Each bundle at a half: outputs with its readers silenced against those of a rebuild."""
        model = channel_cases._model(name)
        inputs = [simplify_cases._input(tensor) for tensor in model.inputs]
        before = simplify_cases._run(model, inputs)
        bundles = channel_changes.ChannelBundles(model, "l1")
        sizes = {one["name"]: one["size"] for one in bundles.subjects()}
        worst, moved = 0.0, []
        for bundle, size in sizes.items():
            with bundles.changed(bundle, 0.5):
                silent = simplify_cases._run(model, inputs)
            curves = {other: [(0.5, 100.0 if other == bundle else -100.0)] for other in sizes}
            taken = graph.read(model)
            made = channels.prune_channels(
                taken, (size // 2 + 0.5) / sum(sizes.values()), curves=curves
            )
            cut = simplify_cases._run(rebuilding.rebuild(taken), inputs)
            pairs = list(zip(cut, silent, strict=True))
            worst = max(worst, *(simplify_cases._difference(*pair) for pair in pairs))
            moved.append(bool(made.removed) == (size > 1))
        again = simplify_cases._run(model, inputs)
        return {
            "worst": worst,
            "moved": all(moved),
            "bundles": len(sizes),
            "restored": all(map(np.array_equal, before, again)),
        }
