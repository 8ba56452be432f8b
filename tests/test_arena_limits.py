"""Microcontrollers: what does not fit is refused before and after conversion, with the way out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import edgekit
from edgekit import hardware, registry, shrinking, target_rules
from edgekit.errors import ConversionError
from edgekit.types import LayerInfo, ModelInfo, TensorSpec

TESTS = Path(__file__).parent


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")
tiny = _module(TESTS / "targets" / "tiny_models.py")


@pytest.fixture
def out(tmp_path):
    """Where artifacts go; nothing else is there."""
    return tmp_path / "out" / "m.tflite"


def data(directory, *shape):
    path = directory / "data.npz"
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    np.savez(path, x_calib=x)
    return str(path)


def scales_of(path):
    """How many scales the weights of each kind of operator have, as LiteRT's schema tells."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = model.subgraphs
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    return {
        names[model.operatorCodes[one.opcodeIndex].builtinCode]: len(
            graph.tensors[one.inputs[1]].quantization.scale
        )
        for one in graph.operators
        if len(one.inputs) > 2
    }


def board(directory, **limits):
    path = directory / "board.toml"
    lines = [f"{key} = {value}" for key, value in limits.items()]
    path.write_text("\n".join(['extends = "cortex-m4"', 'name = "board"', "[hardware]", *lines]))
    return str(path)


def keras(*layers):
    return ModelInfo(
        path="m.keras",
        format="keras",
        sha256="0" * 64,
        size_bytes=1,
        inputs=(TensorSpec("in", (None, 8), "float32"),),
        outputs=(),
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        macs=None,
        generation="keras3",
    )


def wide(parameters, *, between=1000):
    """Four dense layers; two of them hold most of the weights."""
    sizes = (between, parameters, parameters // 2, between)
    return keras(*(LayerInfo(f"dense{n}", "Dense", (None, 8), s) for n, s in enumerate(sizes)))


class TestBeforeConversion:
    def test_weights_too_large_name_the_two_largest_layers_and_the_recipe(self):
        cortex_m4 = hardware.load("cortex-m4")
        (finding,) = target_rules.check(wide(500_000), cortex_m4, "int8")
        assert "cortex-m4 has 524 kB of flash" in finding.problem
        assert "the largest: dense1 (500 kB) and dense2 (250 kB)" in finding.problem
        # 752,000 · 0.75² = 423,000 fit into 524,288, so a quarter of the channels is enough
        assert "--recipe channels25-int8, which fits by estimate" in finding.fix

    @pytest.mark.parametrize(
        ("parameters", "name"),
        [(600_000, "channels25-int8"), (1_000_000, "channels50-int8"), (4_000_000, "channels75")],
    )
    def test_the_mildest_recipe_that_suffices_is_named(self, parameters, name):
        (finding,) = target_rules.check(wide(parameters), hardware.load("cortex-m4"), "int8")
        assert f"--recipe {name}" in finding.fix

    def test_where_no_recipe_suffices_none_is_named(self):
        (finding,) = target_rules.check(wide(40_000_000), hardware.load("cortex-m4"), "int8")
        assert "--recipe" not in finding.fix
        assert "make the model smaller" in finding.fix

    def test_an_output_too_large_for_the_sram_names_the_two_largest(self):
        info = keras(
            LayerInfo("in", "InputLayer", (None, 8)),
            LayerInfo("a", "Conv2D", (None, 100, 100, 8), 100),
            LayerInfo("b", "Conv2D", (None, 100, 100, 16), 100),
            LayerInfo("c", "Dense", (None, 8), 100),
        )
        (finding,) = target_rules.check(info, hardware.load("cortex-m4"), "int8")
        assert finding.layer == "b"
        assert "b (160 kB) and a (80.0 kB)" in finding.problem
        assert "--recipe channels25-int8" in finding.fix  # 160,000 · 0.75 = 120,000 < 131,072

    def test_an_arena_too_large_is_refused_though_each_tensor_fits(self, tmp_path, out):
        graph = int8_graphs.Graph()
        tensors = [graph.float32((1, 160, 160, 4)) for _ in range(3)]
        graph.add("ADD", [tensors[0], tensors[0]], [tensors[1]])
        graph.add("ADD", [tensors[1], tensors[1]], [tensors[2]])
        path = tmp_path / "add.tflite"
        path.write_bytes(graph.finish([tensors[0]], [tensors[2]]))
        with pytest.raises(ConversionError) as caught:
            edgekit.convert(path, target="cortex-m4", data=data(tmp_path, 160, 160, 4), output=out)
        # two tensors of 160 · 160 · 4 bytes live at once
        assert "the arena needs 205 kB once it is quantized" in caught.value.message
        assert "131 kB of SRAM; the largest tensors: t0 (102 kB) and t1 (102 kB)" in str(
            caught.value
        )
        assert not out.parent.exists()


class TestAfterConversion:
    def test_the_planned_arena_stands_in_the_manifest(self, tmp_path, out):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        written = edgekit.convert(model, target="cortex-m4", data=data(tmp_path, 32), output=out)
        assert written.arena.head_bytes == 32 + 48  # 40 bytes are aligned to 16
        assert [entry.size_bytes for entry in written.arena.largest] == [40, 32]

    def test_a_file_that_exceeds_the_flash_is_refused_though_its_weights_fit(self, tmp_path, out):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        target = board(tmp_path, flash_bytes=1500)  # 1,320 weights, and what is around them
        with pytest.raises(ConversionError, match=r"board has 1\.50 kB of flash"):
            edgekit.convert(model, target=target, data=data(tmp_path, 32), output=out)
        assert not out.parent.exists()

    def test_what_the_interpreter_keeps_is_only_warned_about(self, tmp_path, out):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        target = board(tmp_path, sram_bytes=100)
        written = edgekit.convert(model, target=target, data=data(tmp_path, 32), output=out)
        (warning,) = [text for text in written.warnings if "interpreter keeps" in text]
        assert "an estimate" in warning

    @pytest.mark.parametrize(("target", "scales"), [("cortex-m7", 1), ("host", 40)])
    def test_a_dense_layer_has_one_scale_where_tflm_runs_it(self, tmp_path, out, target, scales):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        written = edgekit.convert(
            model, target=target, precision="int8", data=data(tmp_path, 32), output=out
        )
        assert scales_of(out) == {"FULLY_CONNECTED": scales}
        assert not [text for text in written.warnings if "scale per channel" in text]

    def test_c_that_needs_no_runtime_keeps_a_scale_per_channel(self, tmp_path):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        header = tmp_path / "m.h"
        edgekit.convert(model, target="cortex-m7", emit="c", data=data(tmp_path, 32), output=header)
        assert "per_channel" in header.with_suffix(".c").read_text()

    def test_an_int8_model_with_a_scale_per_channel_is_warned_about_with_the_way_out(
        self, tmp_path
    ):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        given = tmp_path / "int8.tflite"
        edgekit.convert(
            model, precision="int8", input_type="int8", output_type="int8",
            data=data(tmp_path, 32), output=given,
        )  # fmt: skip
        written = edgekit.convert(
            given, target="cortex-m7", emit="c-array", output=tmp_path / "m.h"
        )
        (warning,) = [text for text in written.warnings if "scale per channel" in text]
        assert warning.startswith("1 dense layers")
        assert "convert the float model for cortex-m7" in warning
        assert written.arena.head_bytes == 32 + 48

    def test_other_targets_have_no_arena(self, tmp_path, out):
        model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=40, inputs=32)
        written = edgekit.convert(model, precision="int8", data=data(tmp_path, 32), output=out)
        assert written.arena is None


@pytest.mark.parametrize("target", ["cortex-m7", "coral-edgetpu", "esp32-s3"])
def test_float_inputs_are_refused_where_everything_is_whole_numbers(tmp_path, out, target):
    model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=8, inputs=8)
    with pytest.raises(ConversionError, match="takes and gives whole numbers"):
        edgekit.convert(
            model, target=target, data=data(tmp_path, 8), input_type="float32", output=out
        )


def test_channels_that_go_take_the_square_between_layers_and_once_at_the_ends():
    info = keras(
        LayerInfo("first", "Conv2D", None, 1000),
        LayerInfo("norm", "BatchNormalization", None, 100),
        LayerInfo("depthwise", "DepthwiseConv2D", None, 200),
        LayerInfo("inner", "Conv2D", None, 4000),
        LayerInfo("last", "Dense", None, 600),
    )
    assert shrinking.parameters_after(info, 0.5) == 500 + 50 + 100 + 1000 + 300
    assert shrinking.parameters_after(info, 0.0) == info.parameters


@pytest.mark.skipif(
    bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
)
@pytest.mark.slow
def test_convolutions_keep_a_scale_per_channel_where_tflm_runs_them(tmp_path):
    out = tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_calib=x)
    demo = Path(edgekit.__file__).with_name("demo_digits.keras")
    edgekit.convert(demo, target="cortex-m7", data=str(tmp_path / "d.npz"), output=out)
    assert scales_of(out) == {"CONV_2D": 32, "FULLY_CONNECTED": 1}
