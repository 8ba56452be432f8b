"""The inspect stage: what a model file holds, without converting or training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit import hardware, loading
from edgekit.types import ModelInfo


def inspect(path: str | Path, *, targets: Sequence[str] = (), trust: bool = False) -> ModelInfo:
    """Opens a model in a child process and says what it is.

    Args:
        path: .keras, .h5 (either Keras generation), SavedModel directory, .tflite or .onnx.
        targets: Profiles that the model will be held against; an unknown one is refused before
            the model is opened.
        trust: Load models that carry code or classes of their own.

    Returns:
        Inputs, outputs, layers, parameters and MACs; what a target would not support is
        `edgekit.target_rules`' to say.

    Raises:
        ModelError: It is missing, damaged, unsafe, or cannot be loaded.
        ProfileError: A target is unknown or invalid.
        MissingExtra: The framework that reads this format is not installed.
    """
    for target in targets:
        hardware.load(target)
    file = loading.identify(path, trust=trust)
    with loading.opened(file, trust=trust) as (_, info):
        return info
