"""One small network as float ONNX and as int8 in three formats, whole or with a ruined layer.

8 × 8 × 3 to five scores: three convolutions with ReLU, a mean, a dense layer. Nothing of edgekit is
used: weights are quantized here, ranges are numpy's. What is ruined is called `second`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

DRAW = np.random.default_rng(7)
LAYERS = ("first", "second", "third")
KERNELS = {
    name: DRAW.normal(0, (2 / (9 * inputs)) ** 0.5, (8, inputs, 3, 3)).astype(np.float32)
    for name, inputs in zip(LAYERS, (3, 8, 8), strict=True)
}
DENSE = DRAW.normal(0, 0.5, (5, 8)).astype(np.float32)
SCALED_CHANNEL = 3
SCALED_BY = 6.0
CLIPPED_TO = 0.12
"""The share of its range that the ruined layer keeps."""
IMAGES = DRAW.normal(0, 0.5, (160, 8, 8, 3)).astype(np.float32)
IMAGES += DRAW.normal(0, 1, (160, 1, 1, 3)).astype(np.float32)
"""Each of a colour of its own, so that scores vary."""


def activations(images):
    """Each layer's output [n, channels, height, width], and the scores, in numpy."""
    found = {}
    x = images.transpose(0, 3, 1, 2).astype(np.float64)
    for name in LAYERS:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        x = np.maximum(np.einsum("nchwij,ocij->nohw", windows, KERNELS[name]), 0)
        found[name] = x
    return found, x.mean(axis=(2, 3)) @ DENSE.T


RANGES = {name: float(value.max()) for name, value in activations(IMAGES)[0].items()}
BIAS = -activations(IMAGES)[1].mean(axis=0).astype(np.float32)
"""Centres the scores, so that every class comes up."""
SCORES = activations(IMAGES)[1] + BIAS
LABELS = SCORES.argmax(1)


def write_data(path: Path, **arrays) -> Path:
    """Half of the images to calibrate, half to test, labelled as the float network answers."""
    found = {
        "x_calib": IMAGES[:80], "x_test": IMAGES[80:], "y_calib": LABELS[:80], "y_test": LABELS[80:]
    }  # fmt: skip
    np.savez(path, **{key: value for key, value in (found | arrays).items() if value is not None})
    return path


def kernel(name, ruin):
    """A layer's float weights, one channel too large where that is the ruin."""
    values = KERNELS[name].copy()
    if (name, ruin) == ("second", "scaled"):
        values[SCALED_CHANNEL] *= SCALED_BY
    return values


def highest(name, ruin):
    """The end of a layer's range."""
    return RANGES[name] * (CLIPPED_TO if (name, ruin) == ("second", "clipped") else 1.0)


def per_channel(values):
    """int8 weights with one scale per output channel, the first axis."""
    scales = np.abs(values).reshape(len(values), -1).max(axis=1) / 127
    shape = [-1] + [1] * (values.ndim - 1)
    return np.rint(values / scales.reshape(shape)).astype(np.int8), scales.astype(np.float32)


# ------------------------------------------------------------------------------------- ONNX


def float_onnx(path: Path, outputs: int = 5, inputs: int = 1) -> Path:
    """The network in float; with other outputs or inputs, another one."""
    return _onnx(path, None, quantized=False, outputs=outputs, inputs=inputs)


def int8_onnx(path: Path, ruin: str | None = None) -> Path:
    """The network in QDQ form, uint8 activations and int8 weights per channel."""
    return _onnx(path, ruin, quantized=True)


def _onnx(path, ruin, *, quantized, outputs=5, inputs=1):
    import onnx  # noqa: PLC0415 an extra
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(kind, given, made, **options):
        nodes.append(helper.make_node(kind, given, [made], name=made, **options))
        return made

    def quantize(x, scale, zero_point):
        if not quantized:
            return x
        grid = [constant(f"{x}_scale", np.float32(scale)), constant(f"{x}_zero", zero_point)]
        stored = node("QuantizeLinear", [x, *grid], f"{x}_q")
        return node("DequantizeLinear", [stored, *grid], f"{x}_dq")

    def weights(name, values):
        if not quantized:
            return constant(f"{name}_w", values)
        integers, scales = per_channel(values)
        stored = [constant(f"{name}_w", integers), constant(f"{name}_s", scales)]
        return node("DequantizeLinear", stored, f"{name}_wdq", axis=0)

    x = quantize("image", 8 / 255, np.uint8(128))
    x = node("Transpose", [x], "turned", perm=[0, 3, 1, 2])
    for name in LAYERS:
        x = node("Conv", [x, weights(name, kernel(name, ruin))], name, pads=[1, 1, 1, 1])
        x = node("Relu", [x], f"{name}_relu")
        x = quantize(x, highest(name, ruin) / 255, np.uint8(0))
    x = node("GlobalAveragePool", [x], "pool")
    x = node("Flatten", [x], "flat")
    dense = np.resize(DENSE, (outputs, 8)).astype(np.float32)
    bias = constant("bias", np.resize(BIAS, outputs))
    node("Gemm", [x, weights("dense", dense), bias], "scores", transB=1)
    value = helper.make_tensor_value_info
    sides = [value("image", TensorProto.FLOAT, [1, 8, 8, 3])]
    sides += [value(f"more{at}", TensorProto.FLOAT, [1, 2]) for at in range(1, inputs)]
    scores = value("scores", TensorProto.FLOAT, [1, outputs])
    graph = helper.make_graph(nodes, "g", sides, [scores], constants)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


# --------------------------------------------------------------------------------- OpenVINO


def int8_ir(path: Path, ruin: str | None = None) -> Path:
    """The network as IR: FakeQuantize on activations, int8 weights per channel."""
    import openvino  # noqa: PLC0415 an extra
    from openvino import opset13 as ops  # noqa: PLC0415

    def quantize(x, low, high):
        ends = [np.float32(low), np.float32(high)]
        return ops.fake_quantize(x, *ends, *ends, 256)

    def weights(values):
        integers, scales = per_channel(values)
        shape = [-1] + [1] * (values.ndim - 1)
        return ops.multiply(ops.convert(ops.constant(integers), "f32"), scales.reshape(shape))

    image = ops.parameter([1, 8, 8, 3], np.float32, "image")
    image.output(0).set_names({"image"})
    x = quantize(image, -4.016, 3.984)
    x = ops.transpose(x, np.array([0, 3, 1, 2]))
    for name in LAYERS:
        kernels = weights(kernel(name, ruin))
        x = ops.convolution(x, kernels, [1, 1], [1, 1], [1, 1], [1, 1])
        x = quantize(ops.relu(x), 0, highest(name, ruin))
    x = ops.reduce_mean(x, np.array([2, 3]), False)
    scores = ops.add(ops.matmul(x, weights(DENSE), False, True), BIAS)
    scores.output(0).set_names({"scores"})
    openvino.save_model(openvino.Model([scores], [image], "g"), path, compress_to_fp16=False)
    return path


# ----------------------------------------------------------------------------------- TFLite


def int8_tflite(path: Path, ruin: str | None = None) -> Path:
    """The network as int8 .tflite; its tensors have no telling names."""
    graph = _int8_graphs().Graph()
    image, scores = graph.float32((1, 8, 8, 3)), graph.float32((1, 5))
    graph.tensors[image].name, graph.tensors[scores].name = "image", "scores"
    scale = 8 / 255
    x = graph.int8((1, 8, 8, 3), scale, 0)
    graph.add("QUANTIZE", [image], [x])
    for name in LAYERS:
        integers, scales = per_channel(kernel(name, ruin))
        stored = integers.transpose(0, 2, 3, 1)
        made_scale = highest(name, ruin) / 255
        w = graph.int8(stored.shape, scales, 0, stored)
        bias = graph.int32(np.zeros(8), scale * scales)
        made = graph.int8((1, 8, 8, 8), made_scale, -128)
        graph.tensors[made].name = name
        graph.add(
            "CONV_2D", [x, w, bias], [made], version=3, padding=0, strideH=1, strideW=1,
            dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=1,
        )  # fmt: skip
        x, scale = made, made_scale
    pooled = graph.int8((1, 8), scale, -128)
    graph.add("MEAN", [x, graph.int32([1, 2])], [pooled], version=2, keepDims=False)
    step = float(np.abs(DENSE).max() / 127)
    w = graph.int8((5, 8), step, 0, np.rint(DENSE / step))
    made = graph.int8((1, 5), float(np.abs(SCORES).max()) / 127, 0)
    bias = graph.int32(np.rint(BIAS / (scale * step)), scale * step)
    graph.add("FULLY_CONNECTED", [pooled, w, bias], [made], 4)
    graph.add("DEQUANTIZE", [made], [scores], version=2)
    path.write_bytes(graph.finish([image], [scores]))
    return path


def _int8_graphs():
    spec = importlib.util.spec_from_file_location(
        "int8_graphs", Path(__file__).parent / "converters" / "int8_graphs.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ARTIFACTS = {"onnx": int8_onnx, "xml": int8_ir, "tflite": int8_tflite}
