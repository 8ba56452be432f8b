"""What an edgekit.toml asks for, as stages."""

from __future__ import annotations

import pytest

from edgekit import build_file, metric_names, metrics, pipeline_plan
from edgekit.errors import BuildFileError, UsageError

MODEL = '[model.m]\npath = "m.keras"\n'
DATA = 'data = "d.npz"\n'


@pytest.fixture
def stages(tmp_path):
    for name in ("m.keras", "d.npz"):
        (tmp_path / name).write_bytes(b"content is not looked at")

    def stages(text, **options):
        (tmp_path / "edgekit.toml").write_text(text)
        return pipeline_plan.stages(build_file.read(tmp_path / "edgekit.toml"), **options)

    return stages


def names(found):
    return [one.name for one in found]


def test_the_matrix_is_written_out_with_compressed_models_first(stages):
    text = MODEL + DATA + '[[build]]\nmodel = "m"\nrecipe = ["none", "channels50-int8"]\n'
    found = stages(text + 'target = ["host", "host-openvino"]\n')
    assert names(found) == [
        "convert build/m/none/host/m-fp32.tflite",
        "convert build/m/none/host-openvino/m-fp32.xml",
        "compress build/m/channels50-int8/host/m.keras",
        "convert build/m/channels50-int8/host/m-int8.tflite",
        "compress build/m/channels50-int8/host-openvino/m.keras",
        "convert build/m/channels50-int8/host-openvino/m-int8.xml",
    ]
    assert found[3].needs == (found[2].name,)
    assert found[3].options["model"] == "build/m/channels50-int8/host/m.keras"
    assert found[5].outputs == (
        "build/m/channels50-int8/host-openvino/m-int8.xml",
        "build/m/channels50-int8/host-openvino/m-int8.bin",
        "build/m/channels50-int8/host-openvino/m-int8.xml.edgekit.json",
    )


def test_a_given_precision_wins_over_what_recipe_and_profile_plan(stages):
    text = MODEL + DATA + '[[build]]\nmodel = "m"\nrecipe = "channels50-int8"\nprecision = "fp16"\n'
    assert names(stages(text))[-1] == "convert build/m/channels50-int8/host/m-fp16.tflite"


def test_integer_inputs_are_asked_of_static_precisions_alone(stages):
    text = MODEL + DATA + '[[build]]\nmodel = "m"\nprecision = ["fp32", "int8"]\n'
    fp32, int8 = stages(text + 'input_type = "int8"\n')
    assert fp32.options["input_type"] is None
    assert int8.options["input_type"] == "int8"


def test_a_measurement_needs_every_artifact_of_its_target_and_comes_last(stages):
    text = MODEL + DATA + '[[build]]\nmodel = "m"\nrecipe = ["none", "channels50-int8"]\n'
    *_, bench = stages(text + '[[bench]]\ntarget = "host"\ndevice = "local"\n')
    assert bench.kind == "bench"
    assert bench.needs == (
        "convert build/m/none/host/m-fp32.tflite",
        "convert build/m/channels50-int8/host/m-int8.tflite",
    )
    assert [path for path in bench.outputs if path.endswith("result.json")] == [
        "build/m/none/host/m-fp32.local.result.json",
        "build/m/channels50-int8/host/m-int8.local.result.json",
    ]


def test_equal_requests_of_two_tables_are_one(stages):
    text = MODEL + '[[build]]\nmodel = "m"\n[[build]]\nmodel = "m"\nprecision = ["fp32", "fp16"]\n'
    assert len(stages(text)) == 2


def test_two_tables_that_want_one_file_differently_are_refused(stages):
    text = MODEL + '[[build]]\nmodel = "m"\n[[build]]\nmodel = "m"\nbatch = 4\n'
    with pytest.raises(BuildFileError, match=r"build\[1\].*which build\[0\] writes"):
        stages(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[build]]\nmodel = "m"\nprecision = "int8"\n', "needs calibration data"),
        ('[[build]]\nmodel = "m"\ntarget = "cortex-m7"\n', "cortex-m7 needs calibration data"),
        ('[[build]]\nmodel = "m"\nmax_drop = "1%"\n', "max_drop of build[0] needs"),
        ('[[build]]\nmodel = "m"\nrecipe = "distill-channels50-int8"\n', "trains"),
        ('[[build]]\nmodel = "m"\nrecipe = "reconstruct50-int8"\n', "looks at samples"),
        (
            '[[build]]\nmodel = "m"\ntarget = "host-openvino"\nprecision = "int8-dynamic"\n',
            "host-openvino does not run int8-dynamic; it runs",
        ),
    ],
)
def test_what_would_end_a_stage_is_said_before_any_runs(stages, text, told):
    with pytest.raises(BuildFileError) as caught:
        stages(MODEL + text)
    assert told in caught.value.message
    assert caught.value.fix


def test_what_tensorrt_builds_its_engine_of_is_a_stage_like_others(stages):
    text = MODEL + DATA + '[[build]]\nmodel = "m"\ntarget = "jetson-orin-nano"\n'
    assert names(stages(text)) == ["convert build/m/none/jetson-orin-nano/m-fp16.onnx"]


@pytest.mark.parametrize(("name", "key"), [("m.keras", "path"), ("d.npz", "data")])
def test_a_file_that_is_not_there_is_named_with_its_key(stages, tmp_path, name, key):
    (tmp_path / name).unlink()
    with pytest.raises(BuildFileError, match=rf"model\.m\.{key}: there is no .*{name}"):
        stages(MODEL + DATA + '[[build]]\nmodel = "m"\n')


@pytest.mark.parametrize(
    ("written", "key", "said"),
    [
        ('metric = "top9"', "metric", "'top9' is not known. Fix: allowed: top1, top5"),
        ('preprocess = "x"', "preprocess", "'x' is not known. Fix: allowed: none, unit"),
        ('preprocess = "std=0"', "preprocess", "std must be above 0"),
        ('metric = "gone.py:f"', "metric", "there is no"),
        ('loss = "gone.py:f"', "loss", "there is no"),
        ('augment = "flip"', "augment", 'augment = "FILE.py:FUNCTION"'),
        ('teacher = "gone.keras"', "teacher", "there is no"),
        ('data = "gone.py:f"', "data", "there is no"),
    ],
)
def test_what_a_model_names_is_looked_at_first_with_its_key_and_its_line(
    stages, written, key, said
):
    data = "" if key == "data" else DATA
    text = f'{MODEL}{data}{written}\n[[build]]\nmodel = "m"\n'
    with pytest.raises(BuildFileError) as caught:
        stages(text)
    line = 3 + (key != "data")
    assert f"edgekit.toml, line {line}: model.m.{key}: " in str(caught.value)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize("written", ['metric = "top1"', 'preprocess = "unit"'])
def test_words_about_data_say_nothing_without_data(stages, written):
    with pytest.raises(BuildFileError, match=r"line 3: .* says nothing without data"):
        stages(f'{MODEL}{written}\n[[build]]\nmodel = "m"\n')


@pytest.mark.parametrize("suffix", ["tflite", "onnx", "TFLITE"])
def test_a_recipe_for_a_model_without_keras_layers_is_refused(stages, tmp_path, suffix):
    (tmp_path / f"m.{suffix}").write_bytes(b"content is not looked at")
    text = f'[model.m]\npath = "m.{suffix}"\n{DATA}[[build]]\nmodel = "m"\n'
    with pytest.raises(BuildFileError, match=r"line 6: build\[0\]\.recipe: .* Keras layers"):
        stages(f'{text}recipe = ["none", "channels50-int8"]\n')
    assert len(stages(f'{text}recipe = "none"\n')) == 1


def test_the_words_that_a_plan_knows_are_those_that_there_are():
    assert set(metric_names.NAMES) == set(metrics._BUILT_IN)


C_BUILD = MODEL + DATA + '[[build]]\nmodel = "m"\ntarget = "cortex-m7"\nprecision = "int8"\n'


def test_an_emulated_microcontroller_measures_c_and_this_machine_the_rest(stages):
    text = C_BUILD + 'emit = "c"\n' + C_BUILD.removeprefix(MODEL + DATA)
    bench = '[[bench]]\ntarget = "cortex-m7"\ndevice = ["qemu://cortex-m7", "local"]\n'
    *_, board, here = stages(text + bench)
    assert board.options["artifacts"] == ["build/m/none/cortex-m7/m.h"]
    assert board.outputs[0] == "build/m/none/cortex-m7/m.qemu-cortex-m7.result.json"
    assert here.options["artifacts"] == ["build/m/none/cortex-m7/m-int8.tflite"]


@pytest.mark.parametrize(
    ("emit", "device", "way_out"),
    [("c", "local", "without emit"), ("c-array", "qemu://cortex-m7", 'with emit = "c"')],
)
def test_a_measurement_of_what_cannot_run_there_says_what_to_build(stages, emit, device, way_out):
    text = C_BUILD + f'emit = "{emit}"\n[[bench]]\ntarget = "cortex-m7"\ndevice = "{device}"\n'
    with pytest.raises(BuildFileError, match=r"nothing that is built of it runs") as caught:
        stages(text)
    assert way_out in caught.value.fix


@pytest.mark.parametrize("url", ["qemu://foo", "qemu://cortex-m9", "qemu://aarch64/x"])
def test_an_emulated_device_that_there_is_not_is_said_to_be_none(stages, url):
    text = C_BUILD + f'emit = "c"\n[[bench]]\ntarget = "cortex-m7"\ndevice = "{url}"\n'
    with pytest.raises(UsageError, match=r"bench\[0\]\.device.* is nothing that edgekit emulates"):
        stages(text)


def test_c_is_not_proposed_for_a_target_that_takes_another_format(stages):
    text = MODEL + '[[build]]\nmodel = "m"\ntarget = "host-onnxruntime"\nprecision = "fp32"\n'
    bench = '[[bench]]\ntarget = "host-onnxruntime"\ndevice = "qemu://cortex-m7"\n'
    with pytest.raises(BuildFileError, match=r"nothing that is built of it runs") as caught:
        stages(text + bench)
    assert caught.value.fix == (
        "take it out of bench[0]: no C is made for host-onnxruntime, which takes onnx"
    )


def test_a_range_of_batch_sizes_reaches_convert(stages):
    text = (
        MODEL + '[[build]]\nmodel = "m"\ntarget = "nvidia-t4"\nprecision = "fp16"\nbatch = "1..8"\n'
    )
    (convert,) = stages(text)
    assert convert.options["batch"] == "1..8"
