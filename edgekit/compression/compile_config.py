"""How a model was compiled: its loss and learning rate, read from the file as data.

Nothing of it is ever deserialised; `losses` builds Keras' own losses by name and nothing else.
Imports h5py: for workers.
"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import h5py

Json = Any

ADAPTIVE = frozenset({"adam", "adamw", "adamax", "nadam", "lion", "rmsprop", "adafactor", "lamb"})
"""Optimizers with steps of about the learning rate's size, whatever the gradient's."""

_RATE_KEYS = ("initial_learning_rate", "learning_rate", "lr")


@dataclass(frozen=True, slots=True)
class CompileConfig:
    """What the file says of its training.

    Attributes:
        loss: As stored: a name, a serialised object, or a list or dict of them by output.
        optimizer: Its name in lower case ("adam"), if there is one.
        learning_rate: As stored, of a schedule the first; None where it is not a positive number.
    """

    loss: Json
    optimizer: str | None = None
    learning_rate: float | None = None

    @property
    def adaptive_rate(self) -> float | None:
        """The learning rate, where it means the same to Adam."""
        return self.learning_rate if self.optimizer in ADAPTIVE else None

    def loss_of(self, name: str, number: int, outputs: int) -> Json:
        """The stored loss of one output, None where it has none.

        Args:
            name: The output's name.
            number: Its place among the outputs.
            outputs: How many there are.
        """
        if isinstance(self.loss, dict) and "class_name" not in self.loss:
            return self.loss.get(name)
        if isinstance(self.loss, list):
            return self.loss[number] if len(self.loss) == outputs else None
        return self.loss


def read(path: Path) -> CompileConfig | None:
    """What a .keras or .h5 file stores; None where it stores nothing readable.

    A file that is no model at all was refused before: what cannot be understood here only means
    that loss and learning rate are found in another way.
    """
    if path.is_dir():
        return None
    archive = zipfile.is_zipfile(path)
    text = _from_archive(path) if archive else _from_hdf5(path)
    try:
        stored = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if archive and isinstance(stored, dict):
        stored = stored.get("compile_config")
    return _parse(stored) if stored and isinstance(stored, dict) else None


def _from_archive(path: Path) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json") if "config.json" in archive.namelist() else None


def _from_hdf5(path: Path) -> str | None:
    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path, "r") as stored:
        value = stored.attrs.get("training_config")
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _parse(stored: dict[str, Json]) -> CompileConfig:
    # Keras 3 nests what the old one laid flat.
    optimizer = stored.get("optimizer") or stored.get("optimizer_config")
    loss = stored.get("loss")
    if isinstance(loss, dict) and "class_name" not in loss and set(loss) == {"loss"}:
        loss = loss["loss"]
    if isinstance(optimizer, str):
        return CompileConfig(loss, optimizer.lower())
    name, config = _unwrapped(optimizer)
    return CompileConfig(loss, name, _rate(config))


def _unwrapped(optimizer: Json) -> tuple[str | None, dict[str, Json]]:
    """Class and config of an optimizer, out of a LossScaleOptimizer where there is one."""
    while isinstance(optimizer, dict):
        config = optimizer.get("config")
        config = config if isinstance(config, dict) else {}
        inner = config.get("inner_optimizer")
        if not isinstance(inner, dict):
            name = str(optimizer.get("class_name") or "").rpartition(">")[2].lower()
            return name or None, config
        optimizer = inner
    return None, {}


def _rate(config: dict[str, Json], depth: int = 0) -> float | None:
    """The (first) learning rate in the config of an optimizer or schedule."""
    for key in _RATE_KEYS:
        value = config.get(key)
        if isinstance(value, dict) and depth < 4:
            inner = value.get("config")
            return _rate(inner, depth + 1) if isinstance(inner, dict) else None
        if _is_rate(value):
            # A schedule that warms up names where it arrives, not only where it starts.
            warm = config.get("warmup_target")
            return float(warm) if _is_rate(warm) else float(value)
    warm, values = config.get("warmup_target"), config.get("values")
    if _is_rate(warm):
        return float(warm)
    return float(values[0]) if isinstance(values, list) and values and _is_rate(values[0]) else None


def _is_rate(value: Json) -> TypeGuard[float]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0
