"""MLPerf Tiny's nets by Vela for the three Ethos-U profiles; needs EDGEKIT_DATA."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import registry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EDGEKIT_DATA" not in os.environ, reason="EDGEKIT_DATA is not set"),
    pytest.mark.skipif(
        bool(registry.missing(registry.CONVERTERS["ethos_u"])),
        reason="ethos-u-vela is not installed",
    ),
    pytest.mark.skipif(
        bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
    ),
]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RUN = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import ethos_u
print(json.dumps(ethos_u.measure(pathlib.Path(sys.argv[2]))))
"""
LAYER_MACS = {"ResNet-8": 12_501_632, "wake word": 826_368, "autoencoder": 264_192}
"""Of the convolutions and dense layers, counted by hand from the architectures."""
MACS_PER_CYCLE = {
    "cortex-m55-ethos-u55-128": 128,
    "imx93-ethos-u65-256": 256,
    "corstone-320-ethos-u85-256": 256,
}


def test_every_operator_runs_on_the_npu_and_no_estimate_beats_its_arithmetic(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(BENCHMARKS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout)
    assert (measured["kind"], measured["npu_only"]) == ("estimate", True)
    assert len(measured["rows"]) == 9
    for row in measured["rows"]:
        assert row["on the CPU"] == "none"
        assert row["MACs"] == pytest.approx(LAYER_MACS[row["model"]], rel=0.001)
        assert row["cycles"] >= LAYER_MACS[row["model"]] / MACS_PER_CYCLE[row["target"]]
        assert row["flash, bytes"] + row["DRAM, bytes"] <= row["file, bytes"]
