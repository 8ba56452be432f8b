"""Arena plans: against a brute-force check, and against what TensorFlow Lite Micro recorded."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import arena, tflite_file
from edgekit.arena_types import ArenaBuffer
from edgekit.tflite_file import Graph, Operator, Tensor

RECORDED_HEADS = {
    "mlperf_tiny_ic_resnet8/pretrainedResnet.tflite": 196_608,
    "mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite": 49_152,
    "mlperf_tiny_ic_resnet8/pretrainedResnet_large_float.tflite": 491_520,
    "mlperf_tiny_ic_resnet8/pretrainedResnet_large_int8.tflite": 122_880,
    "mlperf_tiny_ad_autoencoder/ad01_fp32.tflite": 3_072,
    "mlperf_tiny_ad_autoencoder/ad01_int8.tflite": 768,
    "mlperf_tiny_sww_conv1d/str_ww_ref_model.tflite": 6_656,
    "tflm_arena/dense_int8.tflite": 1_040,
    "tflm_arena/mobilenetv2_035_96_int8.tflite": 138_240,
    "tflm_arena/mobilenetv2_035_224_int8.tflite": 1_505_280,
}
"""Recorded by TFLM's RecordingMicroInterpreter; see the data's README."""


@st.composite
def buffers(draw):
    found = []
    for index in range(draw(st.integers(0, 16))):
        first = draw(st.integers(0, 12))
        last = first + draw(st.integers(0, 6))
        found.append(ArenaBuffer(f"t{index}", draw(st.integers(1, 80)), first, last))
    return found


@settings(max_examples=150, deadline=None)
@given(buffers())
def test_nothing_shares_a_byte_while_both_are_needed(given_buffers):
    planned = arena.plan(given_buffers)
    held = {}
    for number, entry in enumerate(planned.placed):
        assert entry.offset_bytes % 16 == 0
        for step in range(entry.buffer.first_step, entry.buffer.last_step + 1):
            for byte in range(entry.offset_bytes, entry.offset_bytes + entry.buffer.size_bytes):
                assert held.setdefault((step, byte), number) == number
                assert byte < planned.size_bytes


@settings(max_examples=150, deadline=None)
@given(buffers())
def test_the_arena_is_never_smaller_than_what_lives_at_once(given_buffers):
    planned = arena.plan(given_buffers)
    steps = range(20)
    live = [
        sum(b.size_bytes for b in given_buffers if b.first_step <= step <= b.last_step)
        for step in steps
    ]
    assert max(live) <= planned.size_bytes <= sum(b.size_bytes + 15 for b in given_buffers)


@st.composite
def graphs(draw):
    """Graphs with constants, several readers, results that nothing reads and several outputs."""
    sizes = draw(st.lists(st.integers(1, 90), min_size=2, max_size=4))
    operators, computed = [], [0]
    constant = 1  # a weight, which any operator may read
    for _ in range(draw(st.integers(1, 10))):
        read = draw(st.lists(st.sampled_from([*computed, constant]), min_size=1, max_size=3))
        made = [len(sizes) + number for number in range(draw(st.integers(1, 2)))]
        sizes += [draw(st.integers(1, 90)) for _ in made]
        operators.append(Operator("ADD", False, 1, (*read, -1), tuple(made), None))
        computed += made
    outputs = draw(st.lists(st.sampled_from(computed[1:]), min_size=1, max_size=3, unique=True))
    tensors = tuple(_tensor(number, size, number == constant) for number, size in enumerate(sizes))
    return Graph(tensors, (0,), tuple(outputs), tuple(operators))


def _tensor(number, size, constant):
    data = np.zeros(size if constant else 0, np.uint8)
    return Tensor(f"t{number}", (size,), "int8", data, np.ones(1), np.zeros(1, int), False)


def needed(graph, step):
    """Which tensors have to be in memory while one operator runs, found without lifetimes."""
    made = {0, *(index for one in graph.operators[: step + 1] for index in one.outputs)}
    read_later = {index for one in graph.operators[step:] for index in one.inputs}
    written_now = set(graph.operators[step].outputs)
    return made & (read_later | written_now | set(graph.outputs))


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_no_tensor_of_a_graph_is_overwritten_while_an_operator_needs_it(graph):
    spans = arena.lifetimes(graph)
    planned = arena.plan([
        ArenaBuffer(f"t{index}", graph.tensors[index].shape[0], first, last)
        for index, (first, last) in spans.items()
    ])  # fmt: skip
    places = {int(entry.buffer.name[1:]): entry for entry in planned.placed}
    for step in range(len(graph.operators)):
        held = set()
        for index in needed(graph, step):
            start = places[index].offset_bytes
            own = set(range(start, start + graph.tensors[index].shape[0]))
            assert not held & own
            held |= own
        assert len(held) <= arena.tflm(graph).head_bytes == planned.size_bytes


def test_a_small_buffer_goes_into_the_gap_that_a_dead_one_left():
    planned = arena.plan([
        ArenaBuffer("input", 64, 0, 0),
        ArenaBuffer("wide", 128, 0, 1),
        ArenaBuffer("narrow", 16, 1, 2),
    ])  # fmt: skip
    assert [entry.offset_bytes for entry in planned.placed] == [128, 0, 128]
    assert planned.size_bytes == 192


@pytest.mark.parametrize(("name", "head_bytes"), RECORDED_HEADS.items())
def test_head_is_what_tflm_recorded(edgekit_data, name, head_bytes):
    found = arena.tflm(tflite_file.read(edgekit_data / name).main)
    assert found.head_bytes == head_bytes
    assert not found.incomplete


@pytest.mark.parametrize(
    ("name", "tail_bytes"),
    [
        ("mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite", 6_768),
        ("tflm_arena/mobilenetv2_035_96_int8.tflite", 71_952),
    ],
)
def test_tail_is_an_estimate_near_what_tflm_recorded(edgekit_data, name, tail_bytes):
    found = arena.tflm(tflite_file.read(edgekit_data / name).main)
    assert found.tail_estimate_bytes == pytest.approx(tail_bytes, rel=0.1)


def test_recurrent_scratch_memory_is_named_as_unknown(edgekit_data):
    path = Path("mnist_lstm_tflite/trained_lstm_int8.tflite")
    found = arena.tflm(tflite_file.read(edgekit_data / path).main)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in found.incomplete[0]
    assert found.largest[0].size_bytes >= found.largest[-1].size_bytes
