import json
import subprocess
import sys

import msgspec
import pytest

from edgekit import hardware, registry, target_rules
from edgekit.profile_types import Hardware, OpsRules, PrecisionRules, Profile
from edgekit.types import LayerInfo, ModelInfo, TensorSpec


def profile(**changed):
    whole = {
        "name": "board",
        "title": "A board",
        "source": "https://example.org",
        "format": "tflite",
        "runtime": "tflm",
        "kind": "mcu",
        "precision": PrecisionRules(("fp32", "int8"), "int8"),
    }
    return Profile(**{**whole, **changed})


def model(*layers, inputs=((1, 8),), parameters=None, model_format="tflite"):
    total = sum(layer.parameters for layer in layers) if parameters is None else parameters
    specs = tuple(
        TensorSpec(f"in{number}", shape, "float32") for number, shape in enumerate(inputs)
    )
    return ModelInfo(
        path="m",
        format=model_format,
        sha256="0" * 64,
        size_bytes=1,
        inputs=specs,
        outputs=(),
        layers=tuple(layers),
        parameters=total,
        macs=None,
        generation=None if model_format == "tflite" else "keras3",
    )


def keras(*layers, **options):
    return model(*layers, model_format="keras", **options)


def severities(findings):
    return [finding.severity for finding in findings]


def test_a_model_that_fits_has_no_findings():
    info = model(LayerInfo("a", "CONV_2D", (1, 8), 10))
    small = profile(
        ops=OpsRules(allowed=("CONV_2D",)),
        hardware=Hardware(flash_bytes=1000, sram_bytes=1000),
        static_batch_only=True,
    )
    assert target_rules.check(info, small, "int8") == ()


class TestPrecision:
    def test_an_unsupported_one_names_the_supported_ones_and_what_to_type(self):
        (finding,) = target_rules.check(model(), profile(), "fp16")
        assert finding.problem == "board does not run fp16; it runs fp32, int8"
        assert finding.fix == "use --precision int8, or another --target"
        assert (finding.layer, finding.severity) == (None, "error")

    @pytest.mark.parametrize("name", ["cortex-m7", "coral-edgetpu", "esp32-s3"])
    def test_real_targets_refuse_float(self, name):
        findings = target_rules.check(model(), hardware.load(name), "fp32")
        assert "it runs int8" in findings[0].problem

    def test_one_that_does_not_exist_is_an_error_and_no_crash(self):
        assert severities(target_rules.check(model(), profile(), "int3")) == ["error"]


class TestShapes:
    STATIC = profile(static_batch_only=True)

    def test_a_dynamic_batch_of_a_tflite_is_refused(self):
        (finding,) = target_rules.check(model(inputs=((None, 28, 28, 1),)), self.STATIC, "int8")
        assert "input 'in0' is (?, 28, 28, 1): axis 0 may vary" in finding.problem
        assert "batch of 1" in finding.fix

    def test_the_batch_of_a_keras_model_is_left_to_convert(self):
        assert target_rules.check(keras(inputs=((None, 28, 28, 1),)), self.STATIC, "int8") == ()

    def test_another_open_axis_is_refused_in_any_model(self):
        (finding,) = target_rules.check(keras(inputs=((None, None, 40),)), self.STATIC, "int8")
        assert "axis 1 may vary" in finding.problem

    def test_every_input_is_looked_at(self):
        info = keras(inputs=((None, 4), (None, None)))
        (finding,) = target_rules.check(info, self.STATIC, "int8")
        assert "'in1'" in finding.problem

    def test_targets_with_dynamic_shapes_do_not_mind(self):
        assert target_rules.check(model(inputs=((None, None),)), profile(), "int8") == ()


class TestMemory:
    @pytest.mark.parametrize(
        ("precision", "largest"),
        [("fp32", 4000), ("fp16", 2000), ("int8", 1000), ("int4-weight", 500), ("int16x8", 1000)],
    )
    def test_weights_are_counted_at_the_width_of_the_precision(self, precision, largest):
        info = model(parameters=1000)
        rules = PrecisionRules((precision,), precision)
        fits = profile(precision=rules, hardware=Hardware(flash_bytes=largest))
        lacks = profile(precision=rules, hardware=Hardware(flash_bytes=largest - 1))
        assert target_rules.check(info, fits, precision) == ()
        assert severities(target_rules.check(info, lacks, precision)) == ["error"]

    def test_weights_that_exceed_the_flash_are_said_in_kilobytes_with_the_way_out(self):
        board = profile(hardware=Hardware(flash_bytes=524_288))
        (finding,) = target_rules.check(model(parameters=1_000_000), board, "fp32")
        assert "the weights need at least 4.00 MB at fp32, and board has 524 kB" in finding.problem
        assert finding.fix.startswith("use --precision int8, make the model smaller")

    def test_no_smaller_precision_is_offered_where_there_is_none(self):
        board = profile(hardware=Hardware(flash_bytes=10))
        (finding,) = target_rules.check(model(parameters=1000), board, "int8")
        assert "--precision" not in finding.fix

    def test_batch_normalization_folds_away_and_needs_no_flash(self):
        info = keras(
            LayerInfo("conv", "Conv2D", (None, 2, 2, 4), 100),
            LayerInfo("bn", "BatchNormalization", (None, 2, 2, 4), 16),
        )
        board = profile(hardware=Hardware(flash_bytes=100))
        assert target_rules.check(info, board, "int8") == ()

    def test_an_output_larger_than_the_sram_names_its_layer(self):
        info = keras(
            LayerInfo("small", "Conv2D", (None, 4, 4, 2)),
            LayerInfo("large", "Conv2D", (None, 32, 32, 64)),
        )
        board = profile(hardware=Hardware(flash_bytes=10_000, sram_bytes=65_535))
        (finding,) = target_rules.check(info, board, "int8")
        assert finding.layer == "large"
        assert "its output needs at least 65.5 kB at int8" in finding.problem
        fits = profile(hardware=Hardware(flash_bytes=10_000, sram_bytes=32 * 32 * 64))
        assert target_rules.check(info, fits, "int8") == ()

    def test_weights_stay_in_flash_and_do_not_count_against_the_sram(self):
        board = profile(hardware=Hardware(flash_bytes=10_000, sram_bytes=10))
        assert target_rules.check(model(parameters=1000), board, "int8") == ()

    def test_without_flash_weights_and_activation_share_the_memory(self):
        info = keras(LayerInfo("a", "Dense", (None, 10), 90))
        assert target_rules.check(info, profile(hardware=Hardware(memory_bytes=400)), "fp32") == ()
        lacks = profile(hardware=Hardware(memory_bytes=399))
        assert (
            "weights and the largest activation"
            in target_rules.check(info, lacks, "fp32")[0].problem
        )

    def test_flash_and_sram_of_equal_size_are_told_apart(self):
        info = keras(LayerInfo("a", "Dense", (None, 200), 200))
        board = profile(hardware=Hardware(flash_bytes=100, sram_bytes=100))
        rooms = [finding.problem.split()[-1] for finding in target_rules.check(info, board, "int8")]
        assert rooms == ["flash", "SRAM"]

    def test_the_cache_of_an_edge_tpu_is_no_limit(self):
        info = model(LayerInfo("a", "CONV_2D"), parameters=10**9)
        assert target_rules.check(info, hardware.load("coral-edgetpu"), "int8") == ()

    def test_unknown_shapes_count_nothing(self):
        info = keras(LayerInfo("a", "Dense"), LayerInfo("b", "Dense", (None, None)))
        board = profile(hardware=Hardware(flash_bytes=1, sram_bytes=1))
        assert target_rules.check(info, board, "int8") == ()


class TestOperators:
    def test_one_that_is_not_allowed_is_named_with_its_layer(self):
        info = model(LayerInfo("act", "GELU"), LayerInfo("conv", "CONV_2D"))
        (finding,) = target_rules.check(info, hardware.load("cortex-m7"), "int8")
        assert finding.layer == "act"
        assert finding.problem == "GELU is no operator of tflm on cortex-m7"
        assert finding.severity == "error"

    def test_one_that_is_refused_says_why(self):
        board = profile(ops=OpsRules(refused={"EXP": "its kernel is wrong"}))
        (finding,) = target_rules.check(model(LayerInfo("a", "EXP")), board, "int8")
        assert finding.problem == "EXP is refused on board: its kernel is wrong"

    def test_a_version_that_is_too_new_is_refused(self):
        board = profile(ops=OpsRules(max_version={"ADD": 2}))
        newer = model(LayerInfo("a", "ADD", version=3))
        (finding,) = target_rules.check(newer, board, "int8")
        assert "version 3, and board knows up to 2" in finding.problem
        assert target_rules.check(model(LayerInfo("a", "ADD", version=2)), board, "int8") == ()
        assert target_rules.check(model(LayerInfo("a", "ADD")), board, "int8") == ()

    def test_a_keras_layer_is_judged_by_what_it_becomes(self):
        info = keras(LayerInfo("up", "RepeatVector"), LayerInfo("dense", "Dense"))
        (finding,) = target_rules.check(info, hardware.load("cortex-m7"), "int8")
        assert finding.layer == "up"
        assert "RepeatVector becomes TILE, which is no operator of tflm" in finding.problem

    def test_a_keras_layer_whose_arguments_decide_is_said_to_be_unknown_once(self):
        info = keras(LayerInfo("a1", "Activation"), LayerInfo("a2", "Activation"))
        (finding,) = target_rules.check(info, hardware.load("cortex-m7"), "int8")
        assert (finding.layer, finding.severity) == ("a1", "unknown")
        assert "Activation (2 of them) cannot be judged before conversion" in finding.problem
        assert "inspect the .tflite with --target cortex-m7" in finding.fix

    def test_where_the_runtime_sets_no_list_nothing_is_unknown(self):
        info = keras(LayerInfo("a", "MyOwnLayer"))
        assert target_rules.check(info, hardware.load("host"), "int8") == ()

    def test_what_runs_beside_the_npu_is_said_and_is_no_error(self):
        info = model(LayerInfo("a", "DEQUANTIZE"), LayerInfo("b", "CONV_2D"))
        (finding,) = target_rules.check(info, hardware.load("cortex-m55-ethos-u55-128"), "int8")
        assert finding.severity == "cpu"
        assert "DEQUANTIZE runs on the CPU of cortex-m55-ethos-u55-128" in finding.problem

    def test_what_neither_the_npu_nor_its_cpu_has_is_an_error(self):
        info = model(LayerInfo("a", "CONV_3D"), LayerInfo("b", "GELU"))
        findings = target_rules.check(info, hardware.load("cortex-m55-ethos-u55-128"), "int8")
        assert [(finding.layer, finding.severity) for finding in findings] == [("a", "error")]

    def test_on_linux_everything_runs_beside_the_npu(self):
        info = model(LayerInfo("a", "CONV_3D"))
        findings = target_rules.check(info, hardware.load("imx93-ethos-u65-256"), "int8")
        assert severities(findings) == ["cpu"]

    def test_layers_of_another_format_cannot_be_judged(self):
        info = msgspec.structs.replace(model(LayerInfo("a", "Conv")), format="onnx")
        findings = target_rules.check(info, hardware.load("cortex-m7"), "int8")
        assert severities(findings) == ["unknown"]

    def test_the_map_speaks_of_operators_that_some_target_knows(self):
        known = {"CONV_3D"}  # which the microcontrollers refuse
        for name in ("cortex-m7", "corstone-320-ethos-u85-256"):
            rules = hardware.load(name).ops
            known |= {*(rules.allowed or ()), *(rules.accelerated or ())}
        for operators in target_rules.KERAS_OPERATORS.values():
            assert set(operators) <= known


CONVERT = """
import json, os, sys
import keras, tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
L, image, sequence, vector = keras.layers, (8, 8, 4), (6, 4), (8,)
layers = {
    "Dense": (vector, L.Dense(3)), "Conv1D": (sequence, L.Conv1D(3, 3)),
    "SeparableConv2D": (image, L.SeparableConv2D(3, 3)),
    "Conv2DTranspose": (image, L.Conv2DTranspose(3, 3)),
    "DepthwiseConv1D": (sequence, L.DepthwiseConv1D(3)),
    "LayerNormalization": (sequence, L.LayerNormalization()),
    "RepeatVector": (vector, L.RepeatVector(3)), "Cropping2D": (image, L.Cropping2D()),
    "GlobalMaxPooling1D": (sequence, L.GlobalMaxPooling1D()),
    "AveragePooling1D": (sequence, L.AveragePooling1D(2)), "PReLU": (vector, L.PReLU()),
    "Rescaling": (image, L.Rescaling(0.5, offset=-1.0)), "Permute": (image, L.Permute((2, 1, 3))),
}
names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
answer = os.dup(1)
os.dup2(2, 1)
found = {}
for kind, (shape, layer) in layers.items():
    x = keras.Input(shape, batch_size=1)
    content = tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, layer(x))).convert()
    codes = schema.ModelT.InitFromPackedBuf(content).operatorCodes
    found[kind] = sorted(names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in codes)
os.write(answer, json.dumps(found).encode())
"""


@pytest.mark.slow
def test_the_tflite_converter_makes_of_keras_layers_what_the_map_says():
    if not all(map(registry.has_module, ("tensorflow", "keras"))):
        pytest.skip("the extra tensorflow is not installed")
    done = subprocess.run(
        [sys.executable, "-c", CONVERT], capture_output=True, check=True, text=True
    )
    for kind, operators in json.loads(done.stdout).items():
        assert set(operators) == set(target_rules.KERAS_OPERATORS[kind]), kind


@pytest.mark.parametrize("name", hardware.names())
def test_every_target_can_be_asked_about_any_model(name):
    info = keras(LayerInfo("a", "Conv2D", (None, 4, 4, 2), 10), LayerInfo("b", "LSTM"))
    target = hardware.load(name)
    for finding in target_rules.check(info, target, target.precision.default):
        assert finding.severity in {"unknown", "cpu"} or finding.layer == "b"
        assert "\n" not in finding.problem + finding.fix


@pytest.mark.parametrize(
    ("target", "fix"), [("host", "--precision int8-dynamic"), ("cortex-m4", "replace")]
)
def test_a_recurrent_layer_at_static_int8_is_refused_as_convert_does(target, fix):
    info = keras(LayerInfo("memory", "LSTM"))
    found = [f for f in target_rules.check(info, hardware.load(target), "int8") if f.layer]
    errors = [finding for finding in found if finding.severity == "error"]
    assert [finding.layer for finding in errors] == ["memory"]
    assert fix in errors[0].fix


def test_a_format_without_a_converter_is_said_truthfully():
    elsewhere = msgspec.structs.replace(hardware.load("jetson-orin-nano"), format="engines")
    line = target_rules.converter_missing(elsewhere)
    assert "no converter is installed for format engines" in line
    assert "jetson-orin-nano" in line
    assert target_rules.converter_missing(hardware.load("jetson-orin-nano")) is None
    assert target_rules.converter_missing(hardware.load("host")) is None
    assert target_rules.converter_missing(hardware.load("cortex-m7")) is None
