"""How `edgekit profiles` shows hardware profiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from edgekit import printing, registry, units
from edgekit.profile_types import Profile, ProfileList, ProfileReport

_SHOWN_APART = {"name", "title", "source", "sources", "format", "runtime", "kind", "notes"}


def listing(found: ProfileList) -> RenderableType:
    """One line per profile."""
    columns = [("name", False), ("what it is", False), ("default", False), ("convert", False)]
    return printing.table(columns, [_line(profile) for profile in found.profiles])


def _line(profile: Profile) -> list[printing.Cell]:
    convertible = registry.exists("converter", profile.format)
    return [
        profile.name,
        profile.title,
        profile.precision.default,
        profile.format if convertible else "not installed",
    ]


def profile(report: ProfileReport) -> RenderableType:
    """Everything that is known of one; each figure points to its source below."""
    shown = report.profile
    origins = list(dict.fromkeys(shown.sources.values()))
    rows = [
        (key, _value(key, value), _footnote(shown.sources.get(key), origins))
        for key, value in _figures(shown)
    ]
    return printing.stack(
        printing.facts(_facts(report)),
        printing.table([("key", False), ("value", False), ("source", False)], rows),
        printing.facts((f"[{number}]", origin) for number, origin in enumerate(origins, 1)),
        *map(Text, shown.notes),
    )


def _facts(report: ProfileReport) -> Iterator[tuple[str, printing.Cell]]:
    shown = report.profile
    ready = "" if report.convertible else " (no converter is installed for it)"
    yield "name", shown.name
    yield "title", shown.title
    yield "source", shown.source
    yield "format", f"{shown.format}{ready}"
    yield "runtime", f"{shown.runtime}, {shown.kind}"


def _figures(shown: Profile) -> Iterator[tuple[str, Any]]:
    for key, value in msgspec.to_builtins(shown).items():
        if key not in _SHOWN_APART:
            yield from _leaves(key, value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if key == "ops.allowed" and value is not None:
        yield key, list(value)
    elif isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(f"{key}.{name}", below)
    elif value not in (None, [], ()):
        yield key, value


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("_bytes"):
        return f"{units.size(value)} ({value:,} bytes)"
    if key.endswith("_hz"):
        return f"{units.count(value)}Hz"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _footnote(origin: str | None, origins: list[str]) -> str:
    return "" if origin is None else f"[{origins.index(origin) + 1}]"
