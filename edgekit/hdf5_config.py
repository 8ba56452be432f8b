"""Reads what a Keras .h5 says of itself, without Keras.

Served from a worker, because the HDF5 library can crash on a damaged file.
"""

from __future__ import annotations

from typing import Any

import h5py

from edgekit.errors import ModelError


class Reader:
    """Answers `read`."""

    def read(self, path: str) -> dict[str, str | None]:
        """The stored config and Keras version; None where the file has none.

        Raises:
            ModelError: It is not a readable HDF5 file, or takes data from another file.
        """
        try:
            with h5py.File(path, "r") as stored:
                _check_links(stored, path, set())
                return {
                    "model_config": _text(stored.attrs.get("model_config")),
                    "keras_version": _text(stored.attrs.get("keras_version")),
                }
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeError) as error:
            raise ModelError(
                f"{path}: the HDF5 file is damaged ({error})",
                "copy the file again, or save the model again",
            ) from None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode()
    return None if value is None else str(value)


def _check_links(group: Any, path: str, seen: set[int]) -> None:
    """Refuses links and data sets that read other files: no Keras model has them."""
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:  # groups can hold each other
        return
    seen.add(address)
    dict(group.attrs)  # what is damaged must show here: a loader that hung would hang for ever
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise _outside(path, f"{group.name}/{name}", link.filename)
        if isinstance(link, h5py.SoftLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_links(item, path, seen)
        elif item.external or item.is_virtual:
            raise _outside(path, item.name, item.external or "a virtual data set")


def _outside(path: str, name: str, other: object) -> ModelError:
    return ModelError(
        f"{path}: '{name}' takes its data from another file ({other})",
        "do not use this file; get the model from its maker again",
    )
