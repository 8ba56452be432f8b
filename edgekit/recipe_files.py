"""Compression recipes by name or path, checked key by key before anything is run."""

from __future__ import annotations

import difflib
import re
import typing
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import msgspec

from edgekit import hashing, recipe_checks, struct_errors, toml_text
from edgekit.errors import RecipeError
from edgekit.recipe_types import Recipe, RecipeStep

MAX_FILE_BYTES = 1 << 20
LISTS_THEM = "edgekit recipes list names them all; a file of your own is given as PATH.toml"

_KINDS = {str(step.__struct_config__.tag): step for step in get_args(RecipeStep)}


def names() -> tuple[str, ...]:
    """The names of the built-in recipes, sorted."""
    files = (Path(entry.name) for entry in _built_in().iterdir())
    return tuple(sorted(file.stem for file in files if file.suffix == ".toml"))


def load(name_or_path: str | Path) -> Recipe:
    """Reads and checks a recipe.

    Args:
        name_or_path: A built-in recipe's name, or the path of a `.toml` file.

    Raises:
        RecipeError: It does not exist, is no TOML, or a key in it is wrong.
    """
    text = str(name_or_path)
    where, table = _read(text)
    for number, written in enumerate(_steps(table)):
        _check_kind(written, number, where)
    try:
        recipe = msgspec.convert(table, Recipe, strict=True)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{where}: {_explain(str(error), table)}", "correct that key") from None
    recipe_checks.check(recipe, _steps(table), where)
    return recipe


def sha256(recipe: Recipe) -> str:
    """The hash of what a recipe says, wherever it is written."""
    return hashing.sha256_json(recipe)


def place(name_or_path: str) -> Path:
    """The file of a recipe, whether it is there or not."""
    return Path(name_or_path) if _is_path(name_or_path) else _built_in() / f"{name_or_path}.toml"


def _is_path(text: str) -> bool:
    return text.endswith(".toml") or "/" in text


def _built_in() -> Path:
    return Path(str(resources.files("edgekit.compression")))


def _read(text: str) -> tuple[str, dict[str, Any]]:
    if not _is_path(text) and text not in names():
        close = difflib.get_close_matches(text.lower(), names(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise RecipeError(f"there is no recipe named '{text[:80]}'", f"{hint}{LISTS_THEM}")
    where = place(text)
    try:
        if not where.is_file():
            what = "is not a regular file" if Path(text).exists() else "does not exist"
            raise RecipeError(f"the recipe {text} {what}", LISTS_THEM)
        content = where.read_bytes()[: MAX_FILE_BYTES + 1]
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecipeError(f"cannot read the recipe {text}: {reason}", "check the path") from None
    if len(content) > MAX_FILE_BYTES:
        raise RecipeError(f"{text} is larger than 1 MiB: no recipe", "give a recipe's path")
    try:
        return text, toml_text.loads(toml_text.decode(content))
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{text} is not valid TOML: {error}", "correct that line") from None


def _steps(table: dict[str, Any]) -> list[dict[str, Any]]:
    steps = table.get("step")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _check_kind(step: dict[str, Any], number: int, where: str) -> None:
    given = step.get("kind")
    if isinstance(given, str) and given not in _KINDS:
        close = difflib.get_close_matches(given, _KINDS, n=1)
        raise RecipeError(
            f"{where}: step[{number}].kind: this edgekit version has no step '{given[:80]}' yet;"
            f" it has: {', '.join(_KINDS)}",
            f"did you mean {close[0]}?" if close else "leave that step out",
        )


def _explain(message: str, table: dict[str, Any]) -> str:
    """Msgspec's complaint with the key in front: the value that came, and what is allowed."""
    said, where = struct_errors.parted(message)
    what = said.replace("`", "")
    field = struct_errors.FIELD.fullmatch(said)
    if field is None:
        allowed = _allowed(table, where) if what.startswith("Invalid enum") else ""
        if where.endswith(".pattern") and "regex" in what:
            allowed = 'allowed: "unstructured", N:M as "2:4", blocks as "1x16"'
        return f"{where} is {_shown(_value_at(table, where))}: {allowed or what}"
    key = f"{where}.{field[2]}" if where else field[2]
    holder = _value_at(table, where)
    owner = _KINDS[holder["kind"]] if where and "kind" in holder else Recipe
    own = [one.name for one in msgspec.structs.fields(owner)]
    allowed = ", ".join(["kind", *own] if where else own)
    if field[1] == "missing required":
        return f"lacks the key {key}"
    return f"unknown key {key}; allowed: {allowed}"


def _allowed(table: dict[str, Any], where: str) -> str:
    """The words that a key of a step may have."""
    holder, _, key = where.rpartition(".")
    owner = _KINDS.get(_value_at(table, holder).get("kind")) if holder else None
    words = typing.get_args(typing.get_type_hints(owner).get(key)) if owner else ()
    literals = [get_args(one) for one in words if typing.get_origin(one) is typing.Literal]
    if literals:  # beside a number, or None
        words = (*(["a number"] if float in words else []), *literals[0])
    return f"allowed: {', '.join(map(str, words))}" if words else ""


def _value_at(table: Any, where: str) -> Any:
    value = table
    for key, index in re.findall(r"(\w+)|\[(\d+)\]", where):
        value = value[int(index)] if isinstance(value, list) else value[key or index]
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
