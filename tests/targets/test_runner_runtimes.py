"""LiteRT, OpenVINO and ONNX Runtime behind one interface, against numpy."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import registry
from edgekit.targets.runner import inputs
from edgekit.targets.runner.protocol import RunnerError

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).with_name("tiny_models.py")
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

MAKERS = {
    "litert": (tiny.dense_tflite, "m.tflite"),
    "openvino": (tiny.dense_ir, "m.xml"),
    "onnxruntime": (tiny.dense_onnx, "m.onnx"),
}
X = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)


def load(runtime: str, directory: Path, batch: int | None = 1, **options):
    backend = registry.RUNTIMES[runtime]
    if registry.missing(backend):
        pytest.skip(f"{runtime} is not installed")
    make, name = MAKERS[runtime]
    artifact = make(directory / name, batch)
    return registry.runtime(runtime).load(str(artifact), 1, options)


@pytest.mark.parametrize("runtime", MAKERS)
@pytest.mark.parametrize("batch", [1, 2, None])
def test_outputs_equal_numpys_for_every_batch(runtime, batch, tmp_path):
    session = load(runtime, tmp_path, batch)
    found = session.predict({"in": X})
    assert list(found) == ["out"]
    assert found["out"].dtype == np.float32
    np.testing.assert_allclose(found["out"], tiny.dense(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("runtime", MAKERS)
def test_a_batch_that_may_vary_is_told_and_resized_when_asked(runtime, tmp_path):
    session = load(runtime, tmp_path, None)
    assert session.inputs[0]["shape"] == [None, 4]
    found = session.predict({"in": X}, 3)["out"]
    np.testing.assert_allclose(found, tiny.dense(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("runtime", MAKERS)
def test_tensors_are_described(runtime, tmp_path):
    session = load(runtime, tmp_path)
    expected = {"dtype": "float32", "scale": None, "zero_point": None}
    assert session.inputs == [{"name": "in", "shape": [1, 4], **expected}]
    assert session.outputs == [{"name": "out", "shape": [1, 3], **expected}]


@pytest.mark.parametrize("runtime", MAKERS)
def test_samples_of_another_shape_are_refused_in_one_line(runtime, tmp_path):
    session = load(runtime, tmp_path)
    with pytest.raises(RunnerError, match=r"'in' takes samples of shape \[4\], and these have \[6"):
        session.predict({"in": np.ones((2, 6), np.float32)})


@pytest.mark.parametrize("runtime", MAKERS)
def test_samples_for_another_input_are_refused_with_both_names(runtime, tmp_path):
    session = load(runtime, tmp_path)
    with pytest.raises(RunnerError, match="inputs are in, and the samples are for image"):
        session.predict({"image": X})


@pytest.mark.parametrize("runtime", MAKERS)
def test_inputs_for_timing_are_equal_for_equal_seeds(runtime, tmp_path):
    session = load(runtime, tmp_path)
    answers = []
    for seed in (3, 3, 4):
        said = inputs.Source({"seed": seed}).fill(session)
        session.invoke()
        answers.append(session.get_outputs()["out"].copy())
    assert said == "random, seed 4: uniform in [0, 1)"
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).max() > 0


@pytest.mark.parametrize("runtime", MAKERS)
def test_a_file_that_is_no_model_is_one_line(runtime, tmp_path):
    load(runtime, tmp_path)
    broken = tmp_path / ("broken" + MAKERS[runtime][1][1:])
    broken.write_bytes(b"\x00" * 64)
    with pytest.raises(RunnerError, match=r"cannot load .*broken") as caught:
        registry.runtime(runtime).load(str(broken), 1, {})
    assert "\n" not in caught.value.message


def test_litert_names_are_those_of_the_signature(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite", 1, "serving_default")
    session = registry.runtime("litert").load(str(artifact), 1, {})
    assert [tensor["name"] for tensor in session.inputs] == ["features"]
    np.testing.assert_allclose(
        session.predict({"features": X})["scores"], tiny.dense(X), rtol=1e-6, atol=1e-6
    )


def test_litert_tells_how_many_operators_the_delegate_took(tmp_path):
    facts = load("litert", tmp_path).facts()
    assert facts["delegate"] == {"name": "XNNPACK", "nodes": 1, "total_nodes": 1}
    assert facts["precision"] == "float32"


def test_litert_refuses_options_it_does_not_have(tmp_path):
    with pytest.raises(RunnerError, match="takes no runtime options, and got NUM_STREAMS"):
        load("litert", tmp_path, NUM_STREAMS="1")


def test_integer_inputs_are_rounded_half_to_even_and_clamped(tmp_path):
    artifact = tiny.identity_int8_tflite(tmp_path / "m.tflite", 6, 0.5, 3)
    session = registry.runtime("litert").load(str(artifact), 1, {})
    assert session.inputs[0] == {
        "name": "in", "shape": [1, 6], "dtype": "int8", "scale": 0.5, "zero_point": 3
    }  # fmt: skip
    # In steps of 0.5: 0.5 → 0, 1.5 → 2, 2.5 → 2, −0.5 → 0; 100 and −100 leave −128 … 127.
    x = np.array([[0.25, 0.75, 1.25, -0.25, 100.0, -100.0]], np.float32)
    expected = [[0.0, 1.0, 1.0, 0.0, (127 - 3) * 0.5, (-128 - 3) * 0.5]]
    np.testing.assert_array_equal(session.predict({"in": x})["out"], expected)
    assert session.facts()["precision"] == "int8"


def test_nan_for_an_integer_input_is_the_datas_fault(tmp_path):
    artifact = tiny.identity_int8_tflite(tmp_path / "m.tflite", 2, 0.5, 0)
    session = registry.runtime("litert").load(str(artifact), 1, {})
    with pytest.raises(RunnerError, match="NaN") as caught:
        session.predict({"in": np.array([[np.nan, 1.0]], np.float32)})
    assert caught.value.about == "data"


def test_openvino_runs_in_the_precision_that_was_asked_for(tmp_path):
    facts = load("openvino", tmp_path, INFERENCE_PRECISION_HINT="f32").facts()
    assert (facts["precision"], facts["precision_hint"], facts["streams"]) == ("float32", "f32", 1)
    assert facts["delegate"]["nodes"] == facts["delegate"]["total_nodes"] > 0


def test_openvino_names_an_option_it_does_not_have(tmp_path):
    with pytest.raises(RunnerError, match="NO_SUCH_OPTION"):
        load("openvino", tmp_path, NO_SUCH_OPTION="1")


def test_openvino_has_a_clock_of_its_own(tmp_path):
    session = load("openvino", tmp_path)
    inputs.Source({"seed": 0}).fill(session)
    session.invoke()
    assert 0 < session.elapsed_ns() < 10**9


def test_openvino_times_single_operators_when_profiled(tmp_path):
    session = load("openvino", tmp_path, PERF_COUNT="YES")
    inputs.Source({"seed": 0}).fill(session)
    found = session.operators(5)
    assert found
    assert set(found[0]) == {"name", "kind", "implementation", "median_s"}


def test_openvinos_telemetry_cannot_be_imported(tmp_path):
    load("openvino", tmp_path)
    assert sys.modules["openvino_telemetry"] is None


def test_onnxruntime_tells_which_provider_took_the_nodes(tmp_path):
    facts = load("onnxruntime", tmp_path).facts()
    assert facts["delegate"] == {"name": "CPUExecutionProvider", "nodes": 1, "total_nodes": 1}
    assert facts["assignment"] == {"CPUExecutionProvider": 1}


def test_a_provider_that_is_not_there_is_refused_and_never_replaced(tmp_path):
    with pytest.raises(RunnerError, match="execution provider CUDAExecutionProvider is not part"):
        load("onnxruntime", tmp_path, provider="CUDAExecutionProvider")
