"""The compressor, telling whether the old Keras has come into its process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tensorflow as tf

from edgekit.compression.compressor import Compressor


class Watched(Compressor):
    """Writes what it sees beside the saved model, when that is checked."""

    def check_saved(self, path: str, trust: bool) -> None:
        """As ever; then one line."""
        super().check_saved(path, trust)
        seen = [
            "tensorflow_model_optimization" in sys.modules,
            "TF_USE_LEGACY_KERAS" in os.environ,
            tf.keras.__version__.startswith("2."),
        ]
        Path(os.environ["EDGEKIT_TEST_SEEN"]).write_text(" ".join(map(str, seen)))
