"""The devices of edgekit.toml: `[device]`, and what `[[bench]]` takes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgekit import build_keys
from edgekit.build_keys import Source
from edgekit.build_lines import Key


def read(source: Source, given: Any) -> dict[str, str]:
    """The URLs by name.

    Raises:
        BuildFileError: A name cannot be part of a path, or a value is no URL.
    """
    devices = build_keys.mapping(source, given, ["device"])
    for name, url in devices.items():
        build_keys.check_name(source, ["device", name])
        if not isinstance(url, str) or not _is_url(url):
            build_keys.refuse(
                source,
                ["device", name],
                f"is {build_keys.shown(url)}, which is no device",
                f'write {name} = "ssh://user@host", or "local"',
            )
    return devices


def chosen(
    source: Source, keys: Sequence[Key], given: Iterable[str], devices: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Devices by name or URL, each as (its part of a file's name, URL).

    Raises:
        BuildFileError: One of them is neither.
    """
    names = tuple(dict.fromkeys(given))
    for name in names:
        if name not in devices and not _is_url(name):
            build_keys.unknown(
                source, keys, ["local", *devices], f"there is no device '{name}'", name
            )
    return tuple((_file_name(name), devices.get(name, name)) for name in names)


def _is_url(device: str) -> bool:
    return device == "local" or "://" in device


def _file_name(device: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", device).strip("-.")[:80] or "device"
