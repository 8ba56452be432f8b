"""`edgekit init`: what is seen in a model becomes a file that `edgekit run` takes as it stands."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgekit import build_file, init_file, pipeline_plan
from edgekit.cli import main
from edgekit.errors import ModelError, OutputError

_SPEC = importlib.util.spec_from_file_location(
    "run_cases", Path(__file__).with_name("run_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)


@pytest.fixture
def model(tmp_path):
    return cases.tiny_models().dense_tflite(tmp_path / "m.tflite")


def samples(place, width=4):
    x = np.random.default_rng(0).normal(size=(40, width)).astype(np.float32)
    np.savez(place, x_train=x, y_train=np.arange(40) % 3, x_test=x, y_test=np.arange(40) % 3)


def test_what_is_written_is_read_back_and_planned(model, tmp_path):
    report = init_file.init(model, output=tmp_path / "edgekit.toml")
    assert (tmp_path / "edgekit.toml").read_text() == report.text
    file = build_file.read(tmp_path / "edgekit.toml")
    assert [one.name for one in pipeline_plan.stages(file)][:2] == [
        "convert build/m/none/host/m-fp32.tflite",
        "convert build/m/none/host/m-int8-dynamic.tflite",
    ]
    assert "in float32 [1, 4]" in report.text
    assert "out float32 [1, 3]" in report.text
    assert {"host", "host-openvino"} <= set(report.targets)


def test_data_beside_the_model_is_taken_if_its_samples_fit(model, tmp_path):
    samples(tmp_path / "wrong.npz", width=5)
    samples(tmp_path / "right.npz")
    init_file.init(model, output=tmp_path / "edgekit.toml")
    table = tomllib.loads((tmp_path / "edgekit.toml").read_text())
    assert table["model"]["m"]["data"] == "right.npz"
    assert table["build"][0]["precision"] == ["fp32", "int8"]


def test_of_two_files_that_fit_none_is_guessed(model, tmp_path):
    samples(tmp_path / "a.npz")
    samples(tmp_path / "b.npz")
    assert init_file.init(model, output=tmp_path / "edgekit.toml").data is None


def test_paths_are_relative_to_the_file_and_any_name_becomes_one(tmp_path):
    place = tmp_path / "nets" / 'a "b" \\ é ü.tflite'
    place.parent.mkdir()
    cases.tiny_models().dense_tflite(place)
    init_file.init(place, output=tmp_path / "project" / "edgekit.toml")
    file = build_file.read(tmp_path / "project" / "edgekit.toml")
    ((name, table),) = file.models.items()
    assert name == "a-b"
    assert (tmp_path / "project" / table.path).samefile(place)


def test_a_model_with_the_name_of_a_target_gets_another(tmp_path):
    model = cases.tiny_models().dense_tflite(tmp_path / "host.tflite")
    init_file.init(model, output=tmp_path / "edgekit.toml")
    assert list(build_file.read(tmp_path / "edgekit.toml").models) == ["host-model"]


def test_a_file_that_stands_there_is_replaced_with_force_alone(model, tmp_path):
    output = tmp_path / "edgekit.toml"
    output.write_text("mine")
    with pytest.raises(OutputError) as caught:
        init_file.init(model, output=output)
    assert "--force" in caught.value.fix
    assert output.read_text() == "mine"
    init_file.init(model, output=output, force=True)
    assert build_file.read(output).models


def test_a_model_that_cannot_be_read_writes_nothing(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 64)
    with pytest.raises(ModelError):
        init_file.init(tmp_path / "bad.tflite", output=tmp_path / "edgekit.toml")
    assert not (tmp_path / "edgekit.toml").exists()


def test_a_dry_run_prints_the_file_and_writes_nothing(model, tmp_path, capsys):
    output = tmp_path / "edgekit.toml"
    assert main(["init", str(model), "-o", str(output), "--dry-run", "-q"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["model"]["m"]["path"] == "m.tflite"
    assert not output.exists()


def test_the_json_says_what_was_found(model, tmp_path, capsys):
    samples(tmp_path / "data.npz")
    output = tmp_path / "edgekit.toml"
    assert main(["init", str(model), "-o", str(output), "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "edgekit.init/1"
    assert told["data"].endswith("data.npz")
    assert told["text"] == output.read_text()
