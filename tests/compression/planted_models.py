"""Models with planted dead and constant channels, for a worker: this loads TensorFlow.

Each builder returns the model before planting and a function that plants; what must go then is
written down by hand in the test.
"""

from __future__ import annotations

import keras

L = keras.layers


def _set(model, name, channels, kernel=None, bias=None, rows=None):
    layer = model.get_layer(name)
    values = layer.get_weights()
    if kernel is not None:
        values[0][..., channels] = kernel
    if bias is not None:
        values[-1][channels] = bias
    if rows is not None:
        values[0][..., channels, :] = rows
    layer.set_weights(values)


def _norm(model, name, channels, gamma, beta=None, mean=None):
    layer = model.get_layer(name)
    values = layer.get_weights()
    values[0][channels] = gamma
    if beta is not None:
        values[1][channels] = beta
    if mean is not None:
        values[2][channels] = mean
    layer.set_weights(values)


def _plain(padding):
    def build():
        model = keras.Sequential([
            L.Input((12, 12, 3), name="image"),
            L.Conv2D(8, 3, padding=padding, activation="relu", name="first"),
            L.Conv2D(8, 3, padding=padding, use_bias=False, name="second"),
            L.ReLU(name="open"),
            L.GlobalAveragePooling2D(name="mean"),
            L.Dense(3, activation="softmax", name="scores"),
        ])  # fmt: skip

        def plant(model):
            _set(model, "first", [0, 3], kernel=0, bias=-1)  # shut
            _set(model, "first", [5], kernel=0, bias=0.5)  # constant, and not zero
            _set(model, "second", [1], kernel=0)  # zero, without a bias
            _set(model, "scores", [6], rows=0)  # read by nothing

        return model, plant

    return build


def _normalized():
    x = image = keras.Input((12, 12, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Activation("relu", name="open")(x)
    x = L.Conv2D(9, 1, padding="same", use_bias=False, name="point")(x)  # 1 × 1: nothing is padded
    x = L.BatchNormalization(name="norm2", scale=False)(x)
    x = L.LeakyReLU(name="leaky")(x)
    x = L.Conv2D(4, 3, padding="same", name="wide")(x)
    x = L.GlobalMaxPooling2D(name="peak")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="normalized")

    def plant(model):
        _norm(model, "norm", [1, 2], 0, -0.4)  # shut
        _norm(model, "norm", [4], 0, 0.4)  # constant: goes into the bias of 'point'
        _set(model, "point", [0], kernel=0)  # a constant that 'wide' pads: stays
        _set(model, "wide", [3], kernel=0)  # a constant that 'out' takes

    return model, plant


def _residual():
    x = image = keras.Input((10, 10, 3), name="image")
    x = L.Conv2D(6, 3, padding="same", name="stem")(x)
    stem = L.ReLU(name="stem_open")(x)
    x = L.Conv2D(7, 3, padding="same", use_bias=False, name="inner")(stem)
    x = L.BatchNormalization(name="inner_norm")(x)
    x = L.ReLU(name="inner_open")(x)
    x = L.Conv2D(6, 3, padding="same", name="back")(x)
    x = L.Add(name="sum")([stem, x])
    x = L.ReLU(name="sum_open")(x)
    x = L.Conv2D(5, 3, padding="same", name="last")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="residual")

    def plant(model):
        _set(model, "stem", [1], kernel=0, bias=-1)
        _set(model, "back", [1], kernel=0, bias=0)  # both sides of the sum are zero: goes
        _set(model, "stem", [2], kernel=0, bias=-1)  # one side only: stays
        _set(model, "back", [4], kernel=0, bias=0)  # the other side only: stays
        _norm(model, "inner_norm", [0, 5], 0, -2)

    return model, plant


def _depthwise(padding):
    def build():
        x = image = keras.Input((12, 12, 3), name="image")
        x = L.Conv2D(8, 3, use_bias=False, name="first")(x)
        x = L.BatchNormalization(name="norm")(x)
        x = L.ReLU(max_value=6.0, name="open")(x)
        x = L.DepthwiseConv2D(3, padding=padding, depth_multiplier=2, name="each")(x)
        x = L.BatchNormalization(name="norm2")(x)
        x = L.ReLU(name="open2")(x)
        x = L.Conv2D(5, 1, name="point")(x)
        x = L.AveragePooling2D(2, name="half")(x)
        x = L.Flatten(name="flat")(x)
        model = keras.Model(image, L.Dense(2, name="out")(x), name="depthwise")

        def plant(model):
            _norm(model, "norm", [1, 6], 0, -0.1)  # zero; what 'norm2' makes of it is constant
            _norm(model, "norm", [3], 0, 0.7)  # constant: shows at the border of 'each' if padded
            _norm(model, "norm2", [8], 0, -1)  # half of what channel 4 feeds: stays
            _norm(model, "norm2", [10, 11], 0, -1)  # all of what channel 5 feeds: goes
            _set(model, "point", [2], kernel=0, bias=3)  # constant into the bias of 'out'

        return model, plant

    return build


def _concatenated():
    x = image = keras.Input((12, 12, 3), name="image")
    one = L.Conv2D(4, 3, padding="same", activation="relu", name="one")(x)
    two = L.Conv2D(5, 5, padding="same", activation="relu", name="two")(x)
    pooled = L.MaxPooling2D(3, 1, padding="same", name="pooled")(x)
    x = L.Concatenate(name="join")([one, pooled, two])
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="open")(x)
    x = L.Conv2D(4, 3, padding="valid", name="next")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="concatenated")

    def plant(model):
        _set(model, "one", [0], kernel=0, bias=-1)
        _set(model, "two", [2], kernel=0, bias=0.5)  # a constant that 'next' takes
        _norm(model, "norm", [4 + 3 + 4], 0, -1)  # the last channel of 'two'
        _norm(model, "norm", [4], 0, -1)  # a channel of the input: stays

    return model, plant


def _one_dimensional():
    x = frames = keras.Input((20, 4), name="frames")
    x = L.Conv1D(6, 3, padding="causal", activation="relu", name="first")(x)
    x = L.Conv1D(7, 3, padding="causal", name="second")(x)
    x = L.PReLU(shared_axes=[1], name="slope")(x)
    x = L.Conv1D(5, 2, strides=2, padding="valid", use_bias=False, name="third")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="open")(x)
    x = L.GlobalMaxPooling1D(name="peak")(x)
    model = keras.Model(frames, L.Dense(2, name="out")(x), name="frames")

    def plant(model):
        _set(model, "first", [0, 4], kernel=0, bias=-1)
        _set(model, "first", [2], kernel=0, bias=1)  # causal padding shows: stays
        _set(model, "second", [3], kernel=0, bias=0)  # zero through the slope
        _norm(model, "norm", [1], 0, 0.25)  # a constant that 'out' takes

    return model, plant


def _flattened():
    model = keras.Sequential([
        L.Input((10, 10, 2), name="image"),
        L.Conv2D(6, 3, activation="relu", name="first"),
        L.MaxPooling2D(2, name="half"),
        L.Reshape((-1, 6), name="rows"),
        L.Flatten(name="flat"),
        L.Dense(10, activation="tanh", name="hidden"),
        L.Dense(8, activation="relu", name="hidden2"),
        L.Dense(3, name="out"),
    ])  # fmt: skip

    def plant(model):
        _set(model, "first", [2], kernel=0, bias=-1)
        _set(model, "first", [4], kernel=0, bias=2)  # a constant in all the places it flattens to
        _set(model, "hidden", [0], kernel=0, bias=0.3)
        _set(model, "hidden2", [9], rows=0)  # nobody reads unit 9 of 'hidden'
        _set(model, "hidden2", [1], kernel=0.1, bias=-5)  # |tanh| ≤ 1 cannot open it
        _set(model, "out", [1], kernel=0, bias=1)  # an output: stays

    return model, plant


def _bounded():
    x = values = keras.Input((16,), name="values")
    x = L.Dense(8, activation="relu", name="positive")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="open")(x)
    x = L.Dense(8, activation="relu6", name="six")(x)
    x = L.BatchNormalization(name="norm2", center=False)(x)
    x = L.ReLU(name="open2")(x)
    x = L.Dense(6, activation="sigmoid", name="unit")(x)
    x = L.Dense(7, activation="relu", name="last")(x)
    model = keras.Model(values, L.Dense(2, name="out")(x), name="bounded")

    def plant(model):
        _norm(model, "norm", [2], -1.0, -0.1, 0.0)  # ReLU ≥ 0, times a negative scale
        _norm(model, "norm", [3], 1.0, -9.0, 0.0)  # could open for large inputs: stays
        layer = model.get_layer("norm2")
        gamma, mean, variance = layer.get_weights()
        gamma[[1, 5]], mean[[1, 5]] = 1.0, 7.0  # ReLU6 ≤ 6 < mean
        mean[4] = 5.5  # < 6: may open, stays
        layer.set_weights([gamma, mean, variance])
        _set(model, "last", [0], kernel=1.0, bias=-6.5)  # six sigmoids sum up to 6
        _set(model, "last", [3], kernel=1.0, bias=-5.5)  # may open: stays

    return model, plant


def _separable():
    x = image = keras.Input((12, 12, 3), name="image")
    x = L.SeparableConv2D(6, 3, depth_multiplier=2, activation="relu", name="first")(x)
    x = L.SeparableConv2D(6, 3, use_bias=False, name="second")(x)
    x = L.ReLU(name="open")(x)
    x = L.UpSampling2D(2, name="double")(x)
    x = L.Conv2DTranspose(5, 3, strides=2, padding="valid", activation="relu", name="grow")(x)
    x = L.ZeroPadding2D(1, name="frame")(x)
    x = L.Conv2D(4, 3, name="last")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="separable")

    def plant(model):
        layer = model.get_layer("first")
        depth, point, bias = layer.get_weights()
        point[..., [0, 2]], bias[[0]], bias[[2]] = 0, -1, 1
        layer.set_weights([depth, point, bias])
        layer = model.get_layer("second")
        depth, point = layer.get_weights()
        point[..., 5] = 0
        layer.set_weights([depth, point])
        kernel, bias = model.get_layer("grow").get_weights()
        kernel[:, :, [0, 1], :], bias[0], bias[1] = 0, -1, 1  # the second shows in the frame: stays
        model.get_layer("grow").set_weights([kernel, bias])

    return model, plant


def _gated():
    x = image = keras.Input((12, 12, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Activation("silu", name="open")(x)
    gate = L.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = L.Conv2D(4, 1, activation="silu", name="reduce")(gate)
    gate = L.Conv2D(8, 1, activation="sigmoid", name="expand")(gate)
    x = L.Multiply(name="gate")([x, gate])
    x = L.Conv2D(5, 3, padding="same", name="next")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="gated")

    def plant(model):
        _norm(model, "norm", [3, 7], 0, 0)  # silu(0) = 0
        _norm(model, "norm", [5], 0, -1)  # silu(-1) is not zero, and the gate moves it: stays
        _set(model, "reduce", [1], kernel=0, bias=0.5)

    return model, plant


def _nested():
    inner_in = keras.Input((8, 8, 4), name="inside")
    y = L.Conv2D(6, 3, activation="relu", name="conv")(inner_in)
    y = L.Conv2D(6, 3, activation="relu", name="conv2")(y)
    inner = keras.Model(inner_in, y, name="body")
    head = keras.Sequential([L.Flatten(), L.Dense(3, name="conv")], name="head")
    image = keras.Input((8, 8, 4), name="image")
    model = keras.Model(image, head(inner(image)), name="nested")

    def plant(model):
        _set(model.get_layer("body"), "conv", [0], kernel=0, bias=-1)
        _set(model.get_layer("body"), "conv2", [1, 4], kernel=0, bias=1)

    return model, plant


def _frozen():
    x = image = keras.Input((8, 8, 3), name="image")
    shared = L.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="before")(x)
    x = shared(shared(x))
    x = L.Conv2D(6, 3, padding="same", activation="relu", name="free")(x)
    side = L.Conv2D(6, 3, activation="relu", name="side")(x)
    x = L.LayerNormalization(name="layer_norm")(x)
    x = L.Conv2D(5, 3, activation="softmax", name="mixed")(x)
    x = keras.ops.relu(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, {"side": side, "main": L.Dense(2, name="main")(x)}, name="frozen")

    def plant(model):
        for name in ("before", "shared", "free", "side", "mixed"):
            _set(model, name, [1], kernel=0, bias=-1)

    return model, plant


def _identities():
    x = image = keras.Input((8, 8, 3), name="image")
    x = L.Rescaling(1.0, name="same_scale")(x)
    x = L.ZeroPadding2D(0, name="no_padding")(x)
    x = L.Conv2D(4, 3, name="first")(x)
    x = L.Activation("linear", name="linear")(x)
    x = L.Dropout(0.3, name="drop")(x)
    x = L.MaxPooling2D(1, name="pool_one")(x)
    x = L.Reshape((6, 6, 4), name="same_shape")(x)
    x = L.Concatenate(name="join_one")([x])
    x = L.Permute((1, 2, 3), name="in_order")(x)
    x = L.Identity(name="hand_on")(x)
    x = L.Flatten(name="flat")(x)
    x = L.Flatten(name="flat_again")(x)
    x = L.Dense(2, name="dense")(x)
    model = keras.Model(image, L.Activation("linear", name="out")(x), name="identities")
    return model, lambda _: None


def _batch_statistics():
    x = image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(6, 3, padding="same", name="first")(x)
    x = L.BatchNormalization(name="norm")(x, training=True)
    x = L.ReLU(name="open")(x)
    x = L.Conv2D(4, 1, name="next")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="batch_statistics")

    def plant(model):
        _norm(model, "norm", [0], 0.001, -5)  # shut, were it not for the batch's own variance

    return model, plant


def _faint():
    x = image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(6, 3, padding="same", name="first")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="open")(x)
    x = L.Conv2D(4, 3, padding="same", name="next")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="faint")

    def plant(model):
        _set(model, "first", [0, 4], kernel=1e-12, bias=0)  # weight decay ends like this
        _norm(model, "norm", [0, 4], 1.0, -0.1, 0.0)

    return model, plant


def _all_dead():
    x = image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = L.Conv2D(4, 3, padding="same", name="next")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, L.Dense(2, name="out")(x), name="all_dead")

    def plant(model):
        _set(model, "first", list(range(8)), kernel=0, bias=-1)

    return model, plant


ARCHITECTURES = {
    "plain_same": _plain("same"),
    "plain_valid": _plain("valid"),
    "normalized": _normalized,
    "residual": _residual,
    "depthwise_same": _depthwise("same"),
    "depthwise_valid": _depthwise("valid"),
    "concatenated": _concatenated,
    "one_dimensional": _one_dimensional,
    "flattened": _flattened,
    "bounded": _bounded,
    "separable": _separable,
    "gated": _gated,
    "nested": _nested,
    "frozen": _frozen,
    "identities": _identities,
    "faint": _faint,
    "batch_statistics": _batch_statistics,
    "all_dead": _all_dead,
}
