"""Families of Keras layers that treat every channel alone and need no kernel for it."""

from __future__ import annotations

POOLING = frozenset(
    f"{scope}{what}Pooling{axes}D"
    for scope in ("", "Global") for what in ("Max", "Average") for axes in (1, 2, 3)
)  # fmt: skip
NOISE = frozenset({
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
})  # fmt: skip
"""Layers that do something in training only."""
CROPPING = frozenset({"Cropping1D", "Cropping2D", "Cropping3D"})
PADDING = frozenset({"ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"})
UPSAMPLING = frozenset({"UpSampling1D", "UpSampling2D", "UpSampling3D"})
MERGING = frozenset({"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"})
ACTIVATIONS = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU"})
CHANNELWISE = POOLING | NOISE | CROPPING | PADDING | UPSAMPLING | {"Identity"}
"""Layers whose output channels are their input channels, one for one, without weights."""
