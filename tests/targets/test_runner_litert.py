"""Which interpreter the runner takes, where there is LiteRT and where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # None there makes an import fail
try:
    from edgekit.targets.runner import litert
except ImportError as error:
    print(error)
else:
    print(litert._DISTRIBUTION)
"""


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        (["tflite_runtime"], "ai-edge-litert"),
        (
            ["ai_edge_litert", "tflite_runtime"],
            "neither ai_edge_litert nor tflite_runtime is installed",
        ),
    ],
)
def test_litert_is_taken_and_what_is_missing_is_named(hidden, said):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *hidden], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == said
