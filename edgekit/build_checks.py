"""The budgets of edgekit.toml: `[check]`, and its tables by model, by target, or by both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from edgekit import build_keys, build_lines
from edgekit.build_keys import Source
from edgekit.build_types import Budgets, CheckTable, ScopedBudgets

_KEYS = tuple(field.name for field in msgspec.structs.fields(CheckTable))


def read(
    source: Source, given: Any, models: Sequence[str], targets: Sequence[str]
) -> tuple[ScopedBudgets, ...]:
    """Every table of budgets with what it holds for, the most general first.

    Raises:
        BuildFileError: A key is unknown, or a value is wrong.
    """
    found = list(_tables(source, given, models, targets))
    return tuple(sorted(found, key=_rank))


def merged(checks: Iterable[ScopedBudgets], model: str, target: str) -> Budgets:
    """The budgets of one artifact: key by key, the most particular table that has it."""
    fitting = [
        one.budgets for one in checks if one.model in (None, model) and one.target in (None, target)
    ]
    given = [(key, getattr(one, key)) for one in fitting for key in _KEYS]
    return Budgets(**{key: value for key, value in given if value is not None})


def rate(
    source: Source, keys: Sequence[build_lines.Key], given: float | str | None
) -> float | None:
    """A drop as a fraction: 0.01 or "1%".

    Raises:
        BuildFileError: It is neither, or outside 0 to 1.
    """
    if given is None:
        return None
    text = str(given).strip()
    try:
        fraction = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        fraction = math.nan
    if not 0 <= fraction < 1:
        build_keys.refuse(
            source,
            keys,
            f"is {build_keys.shown(given)}, and a drop is from 0 to below 1",
            'write 0.01 or "1%" for one point',
        )
    return fraction


def _tables(
    source: Source, given: Any, models: Sequence[str], targets: Sequence[str]
) -> Iterator[ScopedBudgets]:
    table = build_keys.mapping(source, given, ["check"])
    yield ScopedBudgets(None, None, _budgets(source, ["check"], table))
    for name, inner in _nested(table):
        keys = ["check", name]
        if name in models:
            yield ScopedBudgets(name, None, _budgets(source, keys, inner))
            for target, innermost in _nested(inner):
                at = [*keys, target]
                if target not in targets:
                    build_keys.unknown(source, at, [*_KEYS, *targets])
                yield ScopedBudgets(name, target, _budgets(source, at, innermost, deepest=True))
        elif name in targets:
            yield ScopedBudgets(None, name, _budgets(source, keys, inner, deepest=True))
        else:
            build_keys.unknown(source, keys, [*_KEYS, *models, *targets])


def _nested(table: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, inner) for name, inner in table.items() if isinstance(inner, dict)]


def _budgets(
    source: Source, keys: list[str], table: dict[str, Any], *, deepest: bool = False
) -> Budgets:
    own = {key: value for key, value in table.items() if deepest or not isinstance(value, dict)}
    written = build_keys.convert(source, own, CheckTable, keys)
    _check_baseline(source, keys, written.baseline)
    return Budgets(
        max_drop=rate(source, [*keys, "max_drop"], written.max_drop),
        max_size_bytes=written.max_size_bytes,
        max_latency_ms=written.max_latency_ms,
        max_memory_bytes=written.max_memory_bytes,
        baseline=written.baseline,
    )


def _check_baseline(source: Source, keys: list[str], baseline: str | None) -> None:
    """`edgekit baseline update` writes it: it stays where the file is."""
    home = source.path.parent.resolve()
    if baseline is not None and home not in (home / baseline).resolve().parents:
        build_keys.refuse(
            source,
            [*keys, "baseline"],
            f"is {baseline!r}, which is outside {home}",
            'name a file beside or below edgekit.toml, as in "baselines/m.json"',
        )


def _rank(one: ScopedBudgets) -> tuple[bool, bool]:
    return one.model is not None, one.target is not None
