"""Standalone C against LiteRT's reference kernels, bit by bit, on random graphs."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekit import tflite_file
from edgekit.converters import c_model


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


c_compiling, int8_graphs = _beside("c_compiling"), _beside("int8_graphs")

pytestmark = c_compiling.needs_gcc
NUMBERS = itertools.count()
EXAMPLES = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SAMPLES = 6
SAME, VALID = 0, 1
ACTIVATIONS = st.sampled_from([0, 0, 1, 2, 3])
SCALES = st.floats(0.002, 0.2).map(np.float32).map(float)
ZERO_POINTS = st.integers(-128, 127)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def equals(tmp_path):
    """Checks that the C of a model gives LiteRT's bits for random and for extreme inputs."""

    def check(content, seed, samples=SAMPLES):
        name = f"g{next(NUMBERS)}"
        model = tmp_path / f"{name}.tflite"
        model.write_bytes(content)
        found = c_model.write(tflite_file.read(model), name, "a test", f"{name}.h")
        declaration = c_model.signature(name, found.inputs, found.outputs)
        (tmp_path / f"{name}.h").write_text(
            f"#include <stddef.h>\n#include <stdint.h>\n{declaration};\n"
        )
        source = tmp_path / f"{name}.c"
        source.write_text(found.text)
        library = c_compiling.compiled(source)
        run = int8_graphs.reference(content)
        random = np.random.default_rng(seed)
        shapes = [tuple(size or 1 for size in port.tensor.shape) for port in found.inputs]
        sizes = [port.tensor.elements for port in found.outputs]
        for number in range(samples):
            xs = [_sample(random, shape, number) for shape in shapes]
            expected = [array.ravel() for array in run(*xs)]
            for own, wanted in zip(
                c_compiling.invoke(library, name, xs, sizes), expected, strict=True
            ):
                np.testing.assert_array_equal(own, wanted)

    return check


def _sample(random, shape, number):
    if number < 2:
        return np.full(shape, (-128, 127)[number], np.int8)
    return random.integers(-128, 128, shape).astype(np.int8)


def _weights(random, shape):
    return random.integers(-127, 128, shape)


@EXAMPLES
@given(
    SEEDS, st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 4]), st.integers(1, 4),
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2),
    st.sampled_from([SAME, VALID]), ACTIVATIONS, st.booleans(), ZERO_POINTS, SCALES,
)  # fmt: skip
def test_convolution_is_bit_exact(
    equals, seed, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation,
    padding, activation, per_channel, zero_point, scale,
):  # fmt: skip
    random = np.random.default_rng(seed)
    reach = [(k - 1) * dilation + 1 for k in (kernel_h, kernel_w)]
    if padding == VALID:
        height, width = max(height, reach[0]), max(width, reach[1])
    out = [
        _size(n, r, s, padding)
        for n, r, s in zip((height, width), reach, (stride_h, stride_w), strict=True)
    ]
    filters = int(random.integers(1, 6)) * channels
    groups = channels if random.integers(0, 3) == 0 else 1
    scales = random.uniform(0.001, 0.02, filters if per_channel else 1).astype(np.float32)
    graph = int8_graphs.Graph()
    x = graph.int8((1, height, width, channels), scale, zero_point)
    shape = (filters, kernel_h, kernel_w, channels // groups)
    w = graph.int8(shape, scales, 0, _weights(random, shape))
    b = graph.int32(random.integers(-3000, 3000, filters), scale * scales)
    y = graph.int8((1, *out, filters), 0.1, int(random.integers(-128, 128)))
    graph.add(
        "CONV_2D", [x, w, b], [y], version=3, padding=padding,
        strideH=stride_h, strideW=stride_w, dilationHFactor=dilation, dilationWFactor=dilation,
        fusedActivationFunction=activation,
    )  # fmt: skip
    equals(graph.finish([x], [y]), seed)


@EXAMPLES
@given(
    SEEDS, st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 3),
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 2), st.integers(1, 2),
    st.sampled_from([SAME, VALID]), ACTIVATIONS, ZERO_POINTS, SCALES,
)  # fmt: skip
def test_depthwise_convolution_is_bit_exact(
    equals, seed, height, width, channels, multiplier, kernel_h, kernel_w, stride, dilation,
    padding, activation, zero_point, scale,
):  # fmt: skip
    random = np.random.default_rng(seed)
    reach = [(k - 1) * dilation + 1 for k in (kernel_h, kernel_w)]
    if padding == VALID:
        height, width = max(height, reach[0]), max(width, reach[1])
    out = [_size(n, r, stride, padding) for n, r in zip((height, width), reach, strict=True)]
    filters = channels * multiplier
    scales = random.uniform(0.001, 0.02, filters).astype(np.float32)
    graph = int8_graphs.Graph()
    x = graph.int8((1, height, width, channels), scale, zero_point)
    shape = (1, kernel_h, kernel_w, filters)
    w = graph.int8(shape, scales, 0, _weights(random, shape), axis=3)
    b = graph.int32(random.integers(-3000, 3000, filters), scale * scales)
    y = graph.int8((1, *out, filters), 0.05, int(random.integers(-128, 128)))
    graph.add(
        "DEPTHWISE_CONV_2D", [x, w, b], [y], version=3, padding=padding, strideH=stride,
        strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation,
        depthMultiplier=multiplier, fusedActivationFunction=activation,
    )  # fmt: skip
    equals(graph.finish([x], [y]), seed)


@EXAMPLES
@given(
    SEEDS, st.integers(1, 3), st.integers(1, 70), st.integers(1, 40), ACTIVATIONS, st.booleans(),
    st.booleans(), ZERO_POINTS, SCALES, st.sampled_from([0.0004, 0.01, 0.1, 1.0]),
)  # fmt: skip
def test_dense_layer_is_bit_exact(
    equals, seed, rows, size, units, activation, per_channel, biased, zero_point, scale, out_scale
):
    random = np.random.default_rng(seed)
    scales = random.uniform(0.001, 0.02, units if per_channel else 1).astype(np.float32)
    graph = int8_graphs.Graph()
    x = graph.int8((rows, size), scale, zero_point)
    w = graph.int8((units, size), scales, 0, _weights(random, (units, size)))
    b = graph.int32(random.integers(-3000, 3000, units), scale * scales) if biased else -1
    y = graph.int8((rows, units), out_scale, int(random.integers(-128, 128)))
    graph.add("FULLY_CONNECTED", [x, w, b], [y], version=4, fusedActivationFunction=activation)
    equals(graph.finish([x], [y]), seed, samples=40)


def _size(size, reach, stride, padding):
    return -(-size // stride) if padding == SAME else (size - reach) // stride + 1


BROADCASTS = st.sampled_from([
    ((1, 4, 3, 5), (1, 4, 3, 5)), ((1, 4, 3, 5), (1, 1, 1, 5)), ((1, 4, 3, 5), (1, 4, 3, 1)),
    ((2, 3), (3,)), ((1, 1, 1, 6), (1, 5, 2, 6)), ((1, 7), (1, 1)), ((2, 1, 4), (1, 3, 1)),
])  # fmt: skip


@EXAMPLES
@given(
    st.sampled_from(["ADD", "MUL"]), SEEDS, BROADCASTS, ACTIVATIONS, SCALES, SCALES, SCALES,
    ZERO_POINTS, ZERO_POINTS, ZERO_POINTS, st.booleans(),
)  # fmt: skip
def test_sum_and_product_are_bit_exact(
    equals, kind, seed, shapes, activation, scale_a, scale_b, scale_y, zero_a, zero_b, zero_y,
    constant,
):  # fmt: skip
    graph = int8_graphs.Graph()
    values = np.random.default_rng(seed).integers(-128, 128, shapes[1]) if constant else None
    a = graph.int8(shapes[0], scale_a, zero_a)
    b = graph.int8(shapes[1], scale_b, zero_b, values)
    y = graph.int8(np.broadcast_shapes(*shapes), scale_y * 2, zero_y)
    graph.add(kind, [a, b], [y], version=2, fusedActivationFunction=activation)
    equals(graph.finish([a] if constant else [a, b], [y]), seed, samples=20)


@EXAMPLES
@given(
    st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]), SEEDS, st.integers(1, 9),
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3),
    st.sampled_from([SAME, VALID]), ACTIVATIONS, ZERO_POINTS,
)  # fmt: skip
def test_pooling_is_bit_exact(
    equals, kind, seed, height, width, channels, window_h, window_w, stride, padding, activation,
    zero_point,
):  # fmt: skip
    if padding == VALID:
        height, width = max(height, window_h), max(width, window_w)
    out = [_size(n, k, stride, padding) for n, k in ((height, window_h), (width, window_w))]
    graph = int8_graphs.Graph()
    x = graph.int8((1, height, width, channels), 0.05, zero_point)
    y = graph.int8((1, *out, channels), 0.05, zero_point)
    graph.add(
        kind, [x], [y], version=2, padding=padding, strideH=stride, strideW=stride,
        filterHeight=window_h, filterWidth=window_w, fusedActivationFunction=activation,
    )  # fmt: skip
    equals(graph.finish([x], [y]), seed)


@EXAMPLES
@given(
    SEEDS, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
    st.sampled_from([(1, 2), (2, 1), (1,), (2,), (3,), (1, 2, 3), (-1,)]), st.booleans(),
    st.one_of(st.none(), SCALES), ZERO_POINTS, ZERO_POINTS,
)  # fmt: skip
def test_mean_is_bit_exact(equals, seed, sizes, axes, keep, scale, zero_x, zero_y):
    shape = (1, *sizes)
    gone = {axis % 4 for axis in axes}
    out = [1 if axis in gone else size for axis, size in enumerate(shape)]
    if not keep:
        out = [size for axis, size in enumerate(shape) if axis not in gone]
    graph = int8_graphs.Graph()
    x = graph.int8(shape, 0.05, zero_x)
    axis = graph.int32(axes)
    y = graph.int8(out, scale or 0.05, zero_y if scale else zero_x)
    graph.add("MEAN", [x, axis], [y], version=2, keepDims=keep)
    equals(graph.finish([x], [y]), seed, samples=20)


@EXAMPLES
@given(
    SEEDS,
    st.integers(1, 3),
    st.integers(1, 40),
    st.floats(0.005, 2.0).map(np.float32).map(float),
    ZERO_POINTS,
)
def test_softmax_is_bit_exact(equals, seed, rows, classes, scale, zero_point):
    graph = int8_graphs.Graph()
    x = graph.int8((rows, classes), scale, zero_point)
    y = graph.int8((rows, classes), 1 / 256, -128)
    graph.add("SOFTMAX", [x], [y], version=2, beta=1.0)
    equals(graph.finish([x], [y]), seed, samples=40)


@EXAMPLES
@given(st.floats(0.002, 0.5).map(np.float32).map(float), ZERO_POINTS)
def test_logistic_is_bit_exact_for_every_value(equals, scale, zero_point):
    graph = int8_graphs.Graph()
    x = graph.int8((1, 256), scale, zero_point)
    y = graph.int8((1, 256), 1 / 256, -128)
    graph.add("LOGISTIC", [x], [y], version=2)
    equals(graph.finish([x], [y]), 0, samples=20)


@EXAMPLES
@given(
    st.sampled_from(["RELU", "RELU6", "QUANTIZE"]), SEEDS, SCALES, SCALES,
    ZERO_POINTS, ZERO_POINTS,
)  # fmt: skip
def test_rectifiers_and_requantization_are_bit_exact(
    equals, kind, seed, scale_x, scale_y, zero_x, zero_y
):
    graph = int8_graphs.Graph()
    x = graph.int8((2, 300), scale_x, zero_x)
    y = graph.int8((2, 300), scale_y, zero_y)
    graph.add(kind, [x], [y], version=2)
    equals(graph.finish([x], [y]), seed)


@EXAMPLES
@given(
    SEEDS, st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3), ZERO_POINTS,
)  # fmt: skip
def test_padding_is_bit_exact(equals, seed, borders, zero_point):
    shape, paddings = (1, 3, 4, 2), [(0, 0), *borders]
    out = [size + sum(border) for size, border in zip(shape, paddings, strict=True)]
    graph = int8_graphs.Graph()
    x = graph.int8(shape, 0.05, zero_point)
    p = graph.int32(paddings)
    y = graph.int8(out, 0.05, zero_point)
    graph.add("PAD", [x, p], [y], version=2)
    equals(graph.finish([x], [y]), seed)


@EXAMPLES
@given(SEEDS, st.integers(0, 2), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_concatenation_is_bit_exact(equals, seed, axis, parts):
    shapes = [[*[2, 3, 4][:axis], part, *[2, 3, 4][axis + 1 :]] for part in parts]
    out = [2, 3, 4]
    out[axis] = sum(parts)
    graph = int8_graphs.Graph()
    xs = [graph.int8(shape, 0.05, 7) for shape in shapes]
    y = graph.int8(out, 0.05, 7)
    graph.add("CONCATENATION", xs, [y], version=2, axis=axis)
    equals(graph.finish(xs, [y]), seed)


@st.composite
def dags(draw):
    """Steps of a graph in which every tensor holds 24 values: (operator, first, second input)."""
    steps = []
    for number in range(draw(st.integers(1, 10))):
        tensors = st.integers(0, number)
        kind = draw(st.sampled_from(["ADD", "RELU", "RESHAPE", "RESHAPE", "QUANTIZE"]))
        steps.append((kind, draw(tensors), draw(tensors)))
    outputs = draw(st.lists(st.integers(1, len(steps)), min_size=1, max_size=3, unique=True))
    return steps, outputs


@settings(EXAMPLES, max_examples=30)
@given(dags(), SEEDS)
@example(([("ADD", *pair) for pair in [(0, 0)] * 3 + [(1, 0), (0, 1)] + [(0, 0)] * 3], [2, 5]), 0)
def test_tensors_that_share_memory_do_not_disturb_each_other(equals, dag, seed):
    steps, outputs = dag
    graph = int8_graphs.Graph()
    shapes = [(1, 24)]
    found = [graph.int8(shapes[0], 0.05, 3)]
    for number, (kind, first, second) in enumerate(steps):
        shape = [(1, 24), (1, 2, 12), (1, 2, 3, 4)][number % 3] if kind == "RESHAPE" else (1, 24)
        found.append(graph.int8(shape, 0.05, 3))
        operands = [found[first]]
        if kind == "RESHAPE":
            operands.append(graph.int32(shape))
        else:
            operands = [_flat(graph, found[index]) for index in (first, second)]
            operands = operands if kind == "ADD" else operands[:1]
        graph.add(kind, operands, [found[-1]], version=1 if kind == "RESHAPE" else 2)
    equals(graph.finish(found[:1], [found[index] for index in outputs]), seed, samples=3)


def _flat(graph, tensor):
    flat = graph.int8((1, 24), 0.05, 3)
    graph.add("RESHAPE", [tensor, graph.int32((1, 24))], [flat])
    return flat
