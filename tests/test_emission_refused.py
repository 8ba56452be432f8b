"""`convert --emit`: what is refused, in one line, before anything is written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.cli import main
from edgekit.errors import ConversionError, EdgekitError, OutputError, UsageError

TESTS = Path(__file__).parent


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")
tiny = _module(TESTS / "targets" / "tiny_models.py")


@pytest.fixture
def small(tmp_path):
    """A small int8 model."""
    path = tmp_path / "small.tflite"
    path.write_bytes(int8_graphs.small_cnn())
    return path


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_foreign_file_among_the_siblings_is_kept(small, tmp_path):
    (tmp_path / "m_main.c").write_text("mine")
    with pytest.raises(OutputError, match=r"m_main\.c exists"):
        edgekit.convert(small, emit="c", output=tmp_path / "m.h")
    assert (tmp_path / "m_main.c").read_text() == "mine"
    assert names(tmp_path) == ["m_main.c", "small.tflite"]


def test_an_operator_without_c_is_named_with_its_layer(tmp_path):
    graph = int8_graphs.Graph()
    a, b, y = (graph.int8((1, 4)) for _ in range(3))
    graph.add("SUB", [a, b], [y], version=2)
    source = tmp_path / "sub.tflite"
    source.write_bytes(graph.finish([a, b], [y]))
    with pytest.raises(ConversionError, match=r"'t2' is a SUB.*it has ADD.*c-array"):
        edgekit.convert(source, emit="c", output=tmp_path / "m.h")
    assert names(tmp_path) == ["sub.tflite"]


def test_a_float_model_without_data_says_what_to_add(tmp_path):
    source = tiny.dense_tflite(tmp_path / "dense.tflite")
    with pytest.raises(ConversionError, match=r"add --data SPEC, or give an int8 \.tflite"):
        edgekit.convert(source, emit="c", output=tmp_path / "m.h")
    assert names(tmp_path) == ["dense.tflite"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp16"}, "--precision fp16 does not go with --emit c"),
        ({"input_type": "float32"}, "--input-type float32 does not go with --emit c"),
        ({"batch": "4"}, "--batch 4 does not go with --emit c"),
        ({"output": "m.tflite"}, r"does not end in \.h, as c artifacts do"),
        ({"output": 'a"b.h'}, "#include lines name the file"),
        ({"output": "modèle.h"}, "#include lines name the file"),
        ({"emit": "rust"}, "--emit rust is not one of c, c-array"),
    ],
)
def test_options_that_contradict_it_are_wrong_usage(small, tmp_path, options, words):
    given = {"emit": "c", "output": "m.h", **options}
    given["output"] = tmp_path / given["output"]
    with pytest.raises(UsageError, match=words):
        edgekit.convert(small, **given)


def test_a_target_that_takes_no_tflite_is_refused(small, tmp_path):
    with pytest.raises(ConversionError, match="host-openvino takes openvino"):
        edgekit.convert(small, emit="c", target="host-openvino", output=tmp_path / "m.h")


def test_an_int8_model_has_no_drop_to_hold(small, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((9, 6, 6, 2), np.float32), y=np.arange(9) % 3)
    with pytest.raises(ConversionError, match="int8 already"):
        edgekit.convert(
            small, emit="c", data=str(tmp_path / "d.npz"), max_drop=0.1, output=tmp_path / "m.h"
        )


def test_bench_says_that_c_is_run_by_its_own_program(small, tmp_path, capsys):
    edgekit.convert(small, emit="c", output=tmp_path / "m.h")
    assert main(["bench", str(tmp_path / "m.h")]) == 1
    assert "build m_main.c" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda graph: setattr(graph.tensors[0].quantization, "zeroPoint", [300]), "300"),
        (lambda graph: setattr(graph.tensors[1].quantization, "scale", [0.0]), "scale of 0"),
        (lambda graph: setattr(graph.tensors[1], "shape", [1, 9]), r"\(1, 9\) in the file"),
        (lambda graph: setattr(graph.tensors[1].quantization, "scale", [1e-30]), "factor of"),
    ],
)
def test_a_damaged_model_ends_in_one_line(tmp_path, spoil, words):
    graph = int8_graphs.Graph()
    x, y = graph.int8((1, 4)), graph.int8((1, 4), 0.1)
    graph.add("RELU", [x], [y], version=2)
    spoil(graph)
    source = tmp_path / "spoilt.tflite"
    source.write_bytes(graph.finish([x], [y]))
    with pytest.raises(EdgekitError, match=words):
        edgekit.convert(source, emit="c", output=tmp_path / "m.h")
    assert names(tmp_path) == ["spoilt.tflite"]


def test_an_output_that_no_layer_computes_is_refused(tmp_path):
    graph = int8_graphs.Graph()
    x, y = graph.int8((1, 4)), graph.int8((1, 4))
    graph.add("RELU", [x], [y], version=2)
    source = tmp_path / "through.tflite"
    source.write_bytes(graph.finish([x], [y, x]))
    with pytest.raises(ConversionError, match="output 't0' is an input"):
        edgekit.convert(source, emit="c", output=tmp_path / "m.h")


def test_a_layer_that_works_on_a_constant_is_refused(tmp_path):
    graph = int8_graphs.Graph()
    constant, x = graph.int8((1, 4), 0.05, 0, [1, 2, 3, 4]), graph.int8((1, 4))
    half, y = graph.int8((1, 4)), graph.int8((1, 4), 0.1)
    graph.add("RELU", [constant], [half], version=2)
    graph.add("ADD", [x, half], [y], version=2)
    source = tmp_path / "constant.tflite"
    source.write_bytes(graph.finish([x], [y]))
    with pytest.raises(ConversionError, match="works on a constant"):
        edgekit.convert(source, emit="c", output=tmp_path / "m.h")
