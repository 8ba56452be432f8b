import json
import os
import subprocess
import sys

import pytest

from edgekit import demo
from edgekit.errors import OutputError


def test_demo_keeps_a_file_of_the_users_under_its_name(tmp_path):
    (tmp_path / demo.DATA).write_text("mine")
    with pytest.raises(OutputError, match="not the demo's"):
        demo.unpack(tmp_path)
    assert (tmp_path / demo.DATA).read_text() == "mine"
    demo.unpack(tmp_path, force=True)
    demo.unpack(tmp_path)  # its own bytes are no obstacle


@pytest.mark.slow
def test_demo_runs_the_chain_and_measures_every_artifact(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "demo", "-o", str(tmp_path / "d"), "--json"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    report = json.loads((tmp_path / "d" / demo.RESULT).read_text())
    assert len(report["results"]) == len(demo.VARIANTS)
    for result in report["results"]:
        assert result["accuracy"]["value"] > 0.97
        assert result["accuracy"]["n"] == 600
        assert result["latency"]["processes"] >= 5
        assert result["latency"]["median_s"] > 0
        assert result["memory"]["peak_delta_bytes"] > 0
    sizes = {
        r["artifact"]["path"].split("/")[-1]: r["artifact"]["size_bytes"] for r in report["results"]
    }
    assert sizes["digits-int8.tflite"] < 0.4 * sizes["digits-fp32.tflite"]
