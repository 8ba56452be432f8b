"""Writes a model as .keras, the same bytes for the same model, and opens it as a user would.

Imports Keras: for workers.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekit.compression.rebuilding import LEAVE
from edgekit.errors import ModelError, one_line
from edgekit.files import unwritable
from edgekit.keras_loading import LOADER_ERRORS

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
SAVED_ON = "1980-01-01@00:00:00"


def save(model: Any, path: Path) -> None:
    """Writes a model as .keras; the same model gives the same bytes.

    Raises:
        OutputError: The file cannot be written.
        ModelError: Keras cannot save this model.
    """
    try:
        model.save(path)
        _normalize(path)
    except OSError as error:
        raise unwritable(path, error) from None
    except LOADER_ERRORS as error:
        raise ModelError(
            f"Keras cannot save the compressed model: {one_line(str(error))[:300]}", LEAVE
        ) from None


def check(model: Any, path: Path, *, trust: bool) -> None:
    """Opens what was saved with Keras alone, and compares every weight.

    Raises:
        ModelError: It does not load, or other weights come back.
    """
    try:
        saved = keras.saving.load_model(path, compile=False, safe_mode=not trust)
    except LOADER_ERRORS as error:
        raise ModelError(
            f"Keras cannot load the compressed model: {one_line(str(error))[:300]}", LEAVE
        ) from None
    mine, theirs = model.get_weights(), saved.get_weights()
    same = len(mine) == len(theirs) and all(
        np.array_equal(left, right, equal_nan=True)
        for left, right in zip(mine, theirs, strict=True)
    )
    if not same:
        raise ModelError("the compressed model was saved, and loads other weights", LEAVE)


def _normalize(path: Path) -> None:
    """Takes dates out of a .keras, and keeps its members uncompressed as Keras writes them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"]) | {"date_saved": SAVED_ON}
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), content)
