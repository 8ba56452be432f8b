"""Small float `.onnx` files, written with onnx alone, and what each gives in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def weights(*shape, spread=0.3):
    return np.random.default_rng(sum(shape)).normal(0, spread, shape).astype(np.float32)


def save(path, nodes, inputs, outputs, constants, opset=18):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def cnn(path, batch="n"):
    """Conv, depthwise conv, residual addition, dense, softmax, and an identity: 12 × 12 × 4."""
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], name="first"),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8, name="depthwise"),
        node("Relu", ["c2"], ["r2"], name="relu2"),
        node("Identity", ["r2"], ["same"], name="nothing"),
        node("Conv", ["same", "w3", "b3"], ["c3"], name="pointwise"),
        node("Add", ["c3", "r1"], ["sum"], name="residual"),
        node("GlobalAveragePool", ["sum"], ["pool"], name="pooling"),
        node("Flatten", ["pool"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "w4", "b4"], ["logits"], name="dense"),
        node("Softmax", ["logits"], ["class"], name="softmax"),
    ]
    constants = {
        "w1": weights(8, 4, 3, 3), "b1": weights(8), "w2": weights(8, 1, 3, 3), "b2": weights(8),
        "w3": weights(8, 8, 1, 1), "b3": weights(8), "w4": weights(8, 5), "b4": weights(5),
    }  # fmt: skip
    given = [("image", FLOAT, [batch, 4, 12, 12])]
    return save(path, nodes, given, [("class", FLOAT, [batch, 5])], constants)


def gray(path):
    """A convolution of one input channel, whose neighbours are places of the kernel: 12 × 12 × 1.

    It adds more than it takes off, so that pairs of full range exceed 16 bits.
    """
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1], name="first"),
        node("Relu", ["c1"], ["y"], name="relu"),
    ]
    constants = {"w1": weights(8, 1, 3, 3, spread=0.03) + 0.3}
    sides = [("image", FLOAT, ["n", 1, 12, 12])], [("y", FLOAT, ["n", 8, 12, 12])]
    return save(path, nodes, *sides, constants)


def dense(path, batch="n", outlier=1):
    """Three dense layers whose products overflow 16 bits in pairs: [n, 64] → [n, 32].

    One activation between the first two is `outlier` times as large as the others, and counts as
    much as they do.
    """
    node = helper.make_node
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], name="one"),
        node("Relu", ["h"], ["r"], name="relu"),
        node("Gemm", ["r", "w2", "b2"], ["z"], name="two"),
        node("Gemm", ["z", "w3", "b3"], ["y"], name="three"),
    ]
    constants = {
        "w1": weights(64, 64), "b1": weights(64), "w2": weights(64, 32), "b2": weights(32),
        "w3": weights(32, 32), "b3": weights(32),
    }  # fmt: skip
    constants["w1"][:, 0] *= outlier
    constants["w2"][0] /= outlier
    outputs = [("y", FLOAT, [batch, 32])]
    return save(path, nodes, [("x", FLOAT, [batch, 64])], outputs, constants)


def samples(name, *shape):
    values = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    return {name: values}


def run(path, feed, *, simulated=False):
    """One sample after the other; `simulated` leaves Q/DQ as they stand in the file."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    if simulated:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_outputs()]
    count = len(next(iter(feed.values())))
    rows = [
        session.run(names, {name: array[at : at + 1] for name, array in feed.items()})
        for at in range(count)
    ]
    return {name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(names)}


def kernels(path, optimized):
    """The operators that ONNX Runtime makes of a file."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(optimized)
    onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(optimized).graph.node]


def sqnr_db(reference, found):
    noise = np.square(reference.astype(np.float64) - found).sum()
    return 10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30))
