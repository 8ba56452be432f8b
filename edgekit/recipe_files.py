"""Compression recipes by name or path, checked key by key before anything is run."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import msgspec

from edgekit import hashing, struct_errors, tfmot_recipes, toml_text
from edgekit.errors import RecipeError
from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    DistillStep,
    FinetuneStep,
    PruneStep,
    QuantizeStep,
    Recipe,
    RecipeStep,
    pattern_of,
)

MAX_FILE_BYTES = 1 << 20
LISTS_THEM = "edgekit recipes list names them all; a file of your own is given as PATH.toml"

TOLERANCE = 1e-3
"""Of a sparsity that says the same as its pattern: 0.333 and 2:3."""

_ONE_ENGINE = (
    'use one engine for cluster and quantize: write engine = "tfmot" in both, or leave it out'
)
_AMOUNTS = ("ratio", "max_macs", "max_parameters")
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
    for number, step in enumerate(recipe.step):
        if isinstance(step, ChannelsStep):
            _check_amount(step, number, where)
        if isinstance(step, ChannelsStep | PruneStep):
            _check_auto(step, number, where)
        if isinstance(step, PruneStep):
            _check_pattern(step, number, where)
        if isinstance(step, QuantizeStep):
            _check_quantize(step, number, where)
        tfmot_recipes.check(step, number, where)
    _check_order(recipe, where)
    planned = [at for at, step in enumerate(recipe.step) if isinstance(step, QuantizeStep)]
    if planned and planned != [len(recipe.step) - 1]:
        raise RecipeError(
            f"{where}: step[{planned[0]}] quantizes, and only the last step can",
            "leave one quantize step, at the end",
        )
    return recipe


def sha256(recipe: Recipe) -> str:
    """The hash of what a recipe says, wherever it is written."""
    return hashing.sha256_json(recipe)


def kind(step: RecipeStep) -> str:
    """The `kind` of a step, as the recipe writes it."""
    return str(step.__struct_config__.tag)


def trains(step: RecipeStep) -> bool:
    """Whether a step needs training data."""
    match step:
        case ChannelsStep():
            return step.iterations > 1 or step.criterion == "taylor"
        case QuantizeStep():
            return step.mode == "qat"
        case PruneStep() | ClusterStep():
            return step.epochs > 0
        case _:
            return isinstance(step, FinetuneStep | DistillStep)


def plans_int8(steps: Sequence[RecipeStep]) -> bool:
    """Whether a recipe's last step leaves weights in 8 bits, with a scale for each channel."""
    last = steps[-1] if steps else None
    return (
        isinstance(last, QuantizeStep)
        and last.precision.startswith("int")
        and ("8" in last.precision)
    )


def looks(step: RecipeStep) -> bool:
    """Whether a step needs samples, be it without labels."""
    return reads(step) or is_automatic(step)


def reads(step: RecipeStep) -> bool:
    """Whether a step needs what is there to train on, be it without labels."""
    match step:
        case ChannelsStep(criterion="reconstruction") | QuantizeStep(refine=True):
            return True
        case _:
            return trains(step)


def is_automatic(step: RecipeStep) -> bool:
    """Whether a step takes the shares of its layers from their sensitivity."""
    match step:
        case ChannelsStep(ratio="auto") | PruneStep(sparsity="auto"):
            return True
        case _:
            return False


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


def _check_amount(step: ChannelsStep, number: int, where: str) -> None:
    given = [key for key in _AMOUNTS if getattr(step, key) is not None]
    if len(given) == 1:
        return
    if step.ratio == "auto" and len(given) == 2:  # the budget says how far
        return
    came = f"has {' and '.join(given)}" if given else "says not how much goes"
    raise RecipeError(
        f"{where}: step[{number}] (channels) {came}; exactly one of"
        f" {', '.join(_AMOUNTS)} is wanted",
        "write ratio = 0.5, max_macs = 0.25 or max_parameters = 100000",
    )


def _check_pattern(step: PruneStep, number: int, where: str) -> None:
    """N:M says itself how many zeros there are, and where."""
    shape, key = pattern_of(step.pattern), f"{where}: step[{number}]"
    if shape.kind != "N:M":
        return
    if shape.rows >= shape.columns:
        raise RecipeError(
            f"{key}.pattern is '{step.pattern}': of {shape.columns} neighbours {shape.rows} cannot"
            " stay where some are to go",
            'write pattern = "2:4"',
        )
    sparsity = 1 - shape.rows / shape.columns
    if not isinstance(step.sparsity, float) or abs(step.sparsity - sparsity) > TOLERANCE:
        raise RecipeError(
            f"{key}.sparsity is {step.sparsity!r}, and the pattern {step.pattern} has {sparsity:g}",
            f"write sparsity = {sparsity:g}, or another pattern",
        )
    if step.scope != "layer":
        raise RecipeError(
            f"{key}.scope is '{step.scope}', and the pattern {step.pattern} holds in every layer"
            " alike",
            "leave scope out",
        )


def _check_order(recipe: Recipe, where: str) -> None:
    """What would undo an earlier step, instead of holding what that has made."""
    for number, step in enumerate(recipe.step):
        for earlier, before in enumerate(recipe.step[:number]):
            why = _undoes(step, before)
            if why:
                swapped = f"put the step {kind(step)} before it"
                raise RecipeError(
                    f"{where}: step[{number}] ({kind(step)}) {why} step[{earlier}]"
                    f" ({kind(before)})",
                    _ONE_ENGINE if isinstance(step, QuantizeStep) else swapped,
                )


def _undoes(step: RecipeStep, before: RecipeStep) -> str | None:
    match step, before:
        case ChannelsStep(criterion="reconstruction"), PruneStep() | ClusterStep():
            return "has the criterion reconstruction, which adjusts weights and would undo"
        case PruneStep(), ClusterStep():
            return "parts the values that weights share by"
        case QuantizeStep(engine="tfmot"), ClusterStep(engine="own"):
            return "has engine tfmot, which knows no values by channel as they are shared by"
    return None


def _check_quantize(step: QuantizeStep, number: int, where: str) -> None:
    if not looks(step):
        return
    what = 'mode "qat"' if step.mode == "qat" else "refine"
    if step.precision != "int8":
        raise RecipeError(
            f"{where}: step[{number}] (quantize) has precision {step.precision}, and {what}"
            " simulates int8 alone",
            'write precision = "int8", or leave that key out',
        )
    if step.mode == "qat" and step.refine:
        raise RecipeError(
            f'{where}: step[{number}] (quantize) has both mode "qat", which trains on labels, and'
            " refine, which does without",
            'write mode = "ptq" with refine, or leave refine out',
        )


def _check_auto(step: ChannelsStep | PruneStep, number: int, where: str) -> None:
    """That "auto" is not asked together with what decides the shares another way."""
    key = "ratio" if isinstance(step, ChannelsStep) else "sparsity"
    at, fix = f"{where}: step[{number}] ({kind(step)})", f'leave one out, or write {key} = "auto"'
    if not is_automatic(step):
        if step.overall is not None:
            raise RecipeError(f'{at} has overall, which goes with {key} = "auto" only', fix)
        return
    fix = f'leave it out, or write {key} = 0.5 in place of "auto"'
    if step.scope == "global":
        raise RecipeError(f'{at} has {key} = "auto", a share per layer, and scope = "global"', fix)
    if isinstance(step, ChannelsStep) and step.overall and (step.max_macs or step.max_parameters):
        raise RecipeError(f"{at} has overall and a budget; either says how far", "leave one out")


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
