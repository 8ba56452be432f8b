"""No telemetry, no network: the whole chain with sockets that record and refuse."""

import json
import os
import subprocess
import sys
from importlib import resources

import pytest

ASSETS = resources.files("edgekit")

# Read by every Python process below, workers and runners included.
SITECUSTOMIZE = """
import os, socket, sys

def refuse(what):
    def raising(*arguments, **settings):
        with open(os.environ["EDGEKIT_TEST_TRACE"], "a") as trace:
            trace.write(f"{what} {arguments[1:]} in {sys.argv}\\n")
        raise OSError("the test allows no network")
    return raising

socket.socket.connect = refuse("connect")
socket.socket.connect_ex = refuse("connect_ex")
socket.getaddrinfo = refuse("getaddrinfo")
socket.create_connection = refuse("create_connection")
"""
HIDING = """
import importlib.abc, os, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras"):
            with open(os.environ["EDGEKIT_TEST_TRACE"], "a") as trace:
                trace.write(f"import {name} in {sys.argv}\\n")
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Hidden())
"""


def run(tmp_path, customize, *arguments):
    """Runs edgekit in a process tree with a sitecustomize; returns its JSON and the trace."""
    place = tmp_path / "site"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(customize)
    trace = tmp_path / "trace"
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(place), "EDGEKIT_TEST_TRACE": str(trace)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), trace.read_text() if trace.exists() else ""


@pytest.fixture(scope="session")
def float_tflite(tmp_path_factory):
    output = tmp_path_factory.mktemp("offline") / "digits.tflite"
    model = ASSETS / "demo_digits.keras"
    command = ["convert", "-q", str(model), "--precision", "fp32", "-o", str(output)]
    subprocess.run([sys.executable, "-m", "edgekit", *command], check=True)
    return output


def test_the_trace_would_show_a_connection(tmp_path):
    place = tmp_path / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(SITECUSTOMIZE)
    trace = tmp_path / "trace"
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    environment = {**os.environ, "PYTHONPATH": str(place), "EDGEKIT_TEST_TRACE": str(trace)}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert trace.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["host", "host-openvino"])
def test_chain_from_keras_opens_no_connection(tmp_path, target):
    suffix = {"host": "tflite", "host-openvino": "xml"}[target]
    output = tmp_path / f"digits.{suffix}"
    data = ["--data", ASSETS / "demo_digits.npz"]
    _, converting = run(
        tmp_path, SITECUSTOMIZE, "convert", ASSETS / "demo_digits.keras", "--target", target,
        "--precision", "int8", *data, "-o", output,
    )  # fmt: skip
    _, measuring = run(tmp_path, SITECUSTOMIZE, "bench", output, "--budget", "1", *data)
    assert converting + measuring == ""


def test_tflite_source_is_quantized_and_measured_without_tensorflow(tmp_path, float_tflite):
    output = tmp_path / "digits.tflite"
    data = ["--data", ASSETS / "demo_digits.npz"]
    run(tmp_path, HIDING, "inspect", float_tflite)
    run(tmp_path, HIDING, "convert", float_tflite, "--precision", "int8", *data, "-o", output)
    report, trace = run(tmp_path, HIDING, "bench", output, "--budget", "1", *data)
    assert trace == ""
    assert report["results"][0]["accuracy"]["value"] > 0.97
