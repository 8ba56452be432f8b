"""Reads edgekit.toml: every key checked, every name found, before anything is run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    build_checks,
    build_devices,
    build_keys,
    build_lines,
    build_paths,
    hardware,
    recipe_files,
    toml_text,
)
from edgekit.build_keys import Source
from edgekit.build_types import (
    Bench,
    BenchTable,
    Budgets,
    Build,
    BuildFile,
    BuildTable,
    BuildTables,
    CacheTable,
    ModelTable,
    Named,
)
from edgekit.errors import BuildFileError, ProfileError, RecipeError
from edgekit.units import parse_size

DEFAULT = "edgekit.toml"
NO_RECIPE = "none"
NEW = "edgekit init MODEL writes a file to start from"
MAX_FILE_BYTES = 1 << 20
_INPUTS = ("path", "data", "teacher")


def read(path: str | Path = DEFAULT) -> BuildFile:
    """Reads and checks an edgekit.toml, with the recipes and profiles that it names.

    Args:
        path: The file.

    Raises:
        BuildFileError: It is missing, is no TOML, or a key in it is wrong: the key and its line
            are named.
    """
    path = Path(path)
    return parse(path, _load(path))


def parse(path: Path, text: str) -> BuildFile:
    """The text of an edgekit.toml, checked as `read` does; nothing needs to stand at `path`.

    Raises:
        BuildFileError: As `read`.
    """
    source = Source(path, text)
    table = _toml(source)
    allowed = [field.name for field in msgspec.structs.fields(BuildTables)]
    for key in table:
        if key not in allowed:
            build_keys.unknown(source, [key], allowed)
    for key, header in (("model", "[model.NAME]"), ("build", "[[build]]")):
        if not table.get(key):
            build_keys.refuse(source, [], f"lacks {header}", NEW)
    models = _models(source, table["model"])
    builds = tuple(
        _build(source, given, number, models)
        for number, given in enumerate(build_keys.tables(source, table["build"], "build"))
    )
    targets = list(dict.fromkeys(one.name for build in builds for one in build.targets))
    devices = build_devices.read(source, table.get("device", {}))
    benches = tuple(
        _bench(source, given, number, list(models), targets, devices)
        for number, given in enumerate(build_keys.tables(source, table.get("bench", []), "bench"))
    )
    return BuildFile(
        path=str(path),
        directory=str(path.parent),
        models=models,
        builds=builds,
        benches=benches,
        checks=build_checks.read(source, table.get("check", {}), list(models), targets),
        cache_max_bytes=_cache(source, table.get("cache", {})),
        text=text,
    )


def budgets(file: BuildFile, model: str, target: str) -> Budgets:
    """What an artifact may cost: what is said of its model and target, else of either, else of all.

    Each key is looked for by itself: in [check.MODEL.TARGET], [check.MODEL], [check.TARGET] and
    [check], in this order.

    Args:
        file: What `read` gave.
        model: A model's name in the file.
        target: A profile's name.
    """
    return build_checks.merged(file.checks, model, target)


def _load(path: Path) -> str:
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise BuildFileError(f"{path} {what}", NEW)
        with path.open("rb") as handle:
            content = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BuildFileError(f"cannot read {path}: {reason}", "check the path") from None
    if len(content) > MAX_FILE_BYTES:
        raise BuildFileError(f"{path} is larger than 1 MiB: no edgekit.toml", "check the path")
    try:
        return toml_text.decode(content)
    except UnicodeDecodeError as error:
        raise BuildFileError(
            f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8"
        ) from None


def _toml(source: Source) -> dict[str, Any]:
    try:
        return toml_text.loads(source.text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError names the line
        raise BuildFileError(
            f"{source.path} is not valid TOML: {error}", "correct that line"
        ) from None


def _models(source: Source, given: Any) -> dict[str, ModelTable]:
    found = {}
    for name, table in build_keys.mapping(source, given, ["model"]).items():
        build_keys.check_name(source, ["model", name])
        found[name] = build_keys.convert(source, table, ModelTable, ["model", name])
        for key in ("path", "data", "teacher", "metric", "loss", "augment"):
            own = build_paths.check_input if key in _INPUTS else build_paths.check
            if value := getattr(found[name], key):
                own(source, ["model", name, key], value)
    return found


def _build(source: Source, given: Any, number: int, models: dict[str, ModelTable]) -> Build:
    keys: list[build_lines.Key] = ["build", number]
    table = build_keys.convert(source, given, BuildTable, keys)
    chosen = _known(source, [*keys, "model"], table.model, models, "there is no model")
    targets = tuple(_target(source, [*keys, "target"], one) for one in _several(table.target))
    for target in targets:
        if target.name in models:
            build_keys.refuse(
                source, ["model", target.name], "is the name of a target too", "rename the model"
            )
    precisions = _several(table.precision) if table.precision else (None,)
    return Build(
        key=build_keys.dotted(keys),
        models=chosen,
        recipes=tuple(_recipe(source, [*keys, "recipe"], one) for one in _several(table.recipe)),
        targets=targets,
        precisions=precisions,  # type: ignore[arg-type] # msgspec has checked the words
        input_type=table.input_type,
        output_type=table.output_type,
        batch=str(table.batch),
        max_drop=build_checks.rate(source, [*keys, "max_drop"], table.max_drop),
        emit=table.emit,
        epochs=table.epochs,
    )


def _recipe(source: Source, keys: Sequence[build_lines.Key], spec: str) -> Named:
    if spec == NO_RECIPE:
        return Named(NO_RECIPE, NO_RECIPE)
    build_paths.check(source, keys, spec)
    try:
        name = recipe_files.load(located(source.path.parent, spec)).name
    except RecipeError as error:
        build_keys.refuse(source, keys, error.message, error.fix)
    if name == NO_RECIPE:
        build_keys.refuse(source, keys, f"{spec} says name = 'none'", "rename that recipe")
    return Named(name, spec)


def _target(source: Source, keys: Sequence[build_lines.Key], spec: str) -> Named:
    build_paths.check(source, keys, spec)
    try:
        return Named(hardware.load(located(source.path.parent, spec)).name, spec)
    except ProfileError as error:
        build_keys.refuse(source, keys, error.message, error.fix)


def located(directory: Path, spec: str) -> str:
    """A recipe or target as this process finds it: a path is relative to edgekit.toml."""
    is_path = spec.endswith(".toml") or "/" in spec
    return os.path.join(directory, spec) if is_path else spec


def _bench(
    source: Source,
    given: Any,
    number: int,
    models: Sequence[str],
    targets: Sequence[str],
    devices: dict[str, str],
) -> Bench:
    keys: list[build_lines.Key] = ["bench", number]
    table = build_keys.convert(source, given, BenchTable, keys)
    return Bench(
        key=build_keys.dotted(keys),
        models=_known(source, [*keys, "model"], table.model or tuple(models), models,
                      "there is no model"),
        targets=_known(source, [*keys, "target"], table.target, targets, "nothing builds for"),
        devices=build_devices.chosen(source, [*keys, "device"], _several(table.device), devices),
        budget_s=table.budget,
        threads=table.threads,
    )  # fmt: skip


def _cache(source: Source, given: Any) -> int | None:
    size = build_keys.convert(source, given, CacheTable, ["cache"]).max_size
    if size is None or isinstance(size, int):
        return size
    found = parse_size(size)
    if found is None:
        build_keys.refuse(
            source, ["cache", "max_size"], f"is {build_keys.shown(size)}, which is no size",
            'write a number of bytes, or as "10 GB"',
        )  # fmt: skip
    return found


def _known(
    source: Source,
    keys: Sequence[build_lines.Key],
    given: str | Iterable[str],
    known: Iterable[str],
    lacking: str,
) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_several(given)))
    for name in names:
        if name not in known:
            build_keys.unknown(source, keys, known, f"{lacking} '{name}'", name)
    return names


def _several(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
