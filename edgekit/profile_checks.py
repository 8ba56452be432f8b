"""What a profile's TOML may say, and one line for each way in which it does not.

msgspec checks keys and types; its message is turned into the dotted key, the file that has it,
what is allowed there and what to type next.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union, get_args, get_origin

import msgspec

from edgekit import registry
from edgekit.errors import ProfileError
from edgekit.profile_types import Profile

Table = dict[str, Any]

RUNTIMES = {
    "tflite": ("litert", "tflm", "edgetpu"),
    "openvino": ("openvino",),
    "onnx": ("onnxruntime",),
    "tensorrt": ("tensorrt",),
    "ethos_u": ("ethos-u",),
}
"""Which runtimes execute the artifacts of which built-in format."""

OPTION_TABLES = {
    "litert": "tflite",
    "openvino": "openvino",
    "onnxruntime": "onnx",
    "tensorrt": "tensorrt",
    "ethos_u": "ethos_u",
}
"""Tables with a converter's own options, and the format that reads them."""

NEEDED_TABLES = ("tensorrt", "ethos_u")
"""Formats that nothing can be converted to without their table."""

AMPERE = 8.0
"""The first compute capability that hardware-compatible engines run on."""

_WORDS = {
    "object": "a table",
    "array": "a list",
    "str": "text",
    "int": "a whole number",
    "float": "a finite number",
    "bool": "true or false",
}
_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key` in `)?(?P<where>\$[^`]*)`)?$")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")


class Source(Protocol):
    """One file of a profile."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def table(self) -> Table:
        """What it says."""


class Problem(NamedTuple):
    """What is wrong with one key, in words, and what to type next."""

    key: str
    what: str
    fix: str


def convert(files: Sequence[Source], merged: Table) -> Profile:
    """Turns a merged table into a Profile.

    Args:
        files: Where it was read from, what is extended first; to name the file that is wrong.
        merged: The table.

    Raises:
        ProfileError: A key is unknown, missing, of the wrong type, or contradicts another.
    """
    try:
        profile = msgspec.convert(merged, Profile, strict=True)
    except msgspec.ValidationError as error:
        problem = _explain(str(error), merged)
    else:
        contradiction = next(_contradictions(profile, merged), None)
        if contradiction is None:
            return profile
        problem = contradiction
    where = _file_with(files, problem.key)
    raise ProfileError(f"{where}: {problem.what}", problem.fix)


def leaves(table: Table, prefix: str = "") -> Iterator[str]:
    """The dotted keys of everything in a table that is not itself a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _contradictions(profile: Profile, merged: Table) -> Iterator[Problem]:
    yield from _format_problems(profile)
    yield from _engine_problems(profile)
    rules = profile.precision
    if rules.default not in rules.supported:
        yield Problem(
            "precision.default",
            f"precision.default is {rules.default!r}, which precision.supported does not list"
            f" ({', '.join(rules.supported)})",
            f'write default = "{rules.supported[0]}", or list {rules.default}',
        )
    for key, given in (("per_tensor", rules.per_tensor), ("per_channel", not rules.per_channel)):
        if given and profile.format not in ("tflite", "ethos_u"):
            yield Problem(
                f"precision.{key}",
                f"precision.{key} is read for formats tflite and ethos_u, and this is"
                f" {profile.format}",
                "remove it",
            )
    known = set(leaves({key: value for key, value in merged.items() if key != "sources"}))
    for key in profile.sources:
        if key not in known:
            yield Problem(
                f"sources.{key}",
                f'sources."{key}" is the source of a key that this profile does not set',
                _closest(key, sorted(known)) or "remove it",
            )


def _format_problems(profile: Profile) -> Iterator[Problem]:
    name = profile.format
    if name not in RUNTIMES and not registry.exists("converter", name):
        yield Problem(
            "format",
            f"format is {name!r}; allowed: {', '.join(RUNTIMES)}, or a converter that is installed",
            _closest(name, RUNTIMES) or "choose one of them",
        )
    runtimes = RUNTIMES.get(name, (profile.runtime,))
    if profile.runtime not in runtimes:
        yield Problem(
            "runtime",
            f"runtime is {profile.runtime!r}, which does not execute {name};"
            f" allowed with it: {', '.join(runtimes)}",
            f'write runtime = "{runtimes[0]}", or change format',
        )
    for table, owner in OPTION_TABLES.items():
        given = getattr(profile, table) is not None
        if given and owner != name:
            yield Problem(
                table, f"[{table}] is read for format {owner}, and this is {name}", "remove it"
            )
        if not given and owner == name and table in NEEDED_TABLES:
            yield Problem(table, f"format {name} needs the table [{table}]", f"add [{table}]")


def _engine_problems(profile: Profile) -> Iterator[Problem]:
    """What TensorRT's own limits say of its options (support matrix, "hardware compatibility")."""
    options = profile.tensorrt
    if options is None:
        return
    if not re.fullmatch(r"\d{1,2}\.\d", options.compute_capability):
        yield Problem(
            "tensorrt.compute_capability",
            f"tensorrt.compute_capability is {options.compute_capability!r}; allowed: two numbers",
            'write it as in "8.7"',
        )
    elif options.hardware_compatible and float(options.compute_capability) < AMPERE:
        yield Problem(
            "tensorrt.hardware_compatible",
            "tensorrt.hardware_compatible makes engines for GPUs from Ampere on (8.0), and"
            f" tensorrt.compute_capability is {options.compute_capability}",
            "remove it",
        )


def _explain(message: str, merged: Table) -> Problem:
    found = _MESSAGE.match(message)
    assert found, f"msgspec changed its messages: {message}"
    steps = _located(found["where"] or "$", merged, of_key=found["key"] is not None)
    what = found["what"]
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        return _unknown(steps, unknown[1])
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        key = ".".join([*steps, missing[1]])
        return Problem(
            ".".join(steps), f"lacks the key {key}", f'add {key}, or extends = "NAME" of a profile'
        )
    return _wrong(steps, what, merged, of_key=found["key"] is not None)


def _unknown(steps: list[str], name: str) -> Problem:
    key = ".".join([*steps, name])
    kind = _struct(_kind_at(steps))
    allowed = [field.name for field in msgspec.structs.fields(kind)]
    if not steps:
        allowed.append("extends")
    table = f"[{'.'.join(steps)}]" if steps else "a profile"
    return Problem(
        key,
        f"unknown key {key}; keys of {table}: {', '.join(allowed)}",
        _closest(name, allowed, ".".join(steps)) or f"remove {key}",
    )


def _wrong(steps: list[str], what: str, merged: Table, *, of_key: bool) -> Problem:
    key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(steps))
    kind = _kind_at(steps[:-1], keys=True) if of_key else _kind_at(steps)
    choices = [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []
    value = steps[-1] if of_key else _value_at(steps, merged)
    came = f"unknown key {key}" if of_key else f"{key} is {_shown(value)}"
    allowed = ", ".join(choices) or _in_words(what)
    return Problem(
        key, f"{came}; allowed: {allowed}", _closest(str(value), choices) or f"correct {key}"
    )


def _located(where: str, merged: Table, *, of_key: bool) -> list[str]:
    """The keys on the way to what msgspec complains about; it writes [...] for a dict's entry."""
    steps: list[str] = []
    for name, index in _STEP.findall(where):
        if index == "...":
            kind = get_args(_kind_at(steps))[1]
            steps.append(_failing_entry(_value_at(steps, merged), kind))
        else:
            steps.append(name or index)
    if of_key:
        allowed = get_args(_kind_at(steps, keys=True))
        steps.append(next(key for key in _value_at(steps, merged) if key not in allowed))
    return steps


def _failing_entry(entries: Table, kind: Any) -> str:
    for key, value in entries.items():
        try:
            msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError:
            return key
    raise AssertionError("msgspec refused an entry that it now accepts")


def _value_at(steps: list[str], value: Any) -> Any:
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _kind_at(steps: list[str], *, keys: bool = False) -> Any:
    """The type that belongs at a path; with `keys`, the type of the keys of the dict there."""
    kind: Any = Profile
    for step in steps:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        else:
            fields = msgspec.structs.fields(kind)
            kind = next(field.type for field in fields if field.name == step)
        kind = _plain(kind)
    return get_args(kind)[0] if keys else kind


def _plain(kind: Any) -> Any:
    """Without Annotated and without None."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = get_args(kind)[0]
    return kind


def _struct(kind: Any) -> type[msgspec.Struct]:
    assert isinstance(kind, type)
    assert issubclass(kind, msgspec.Struct)
    return kind


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _in_words(what: str) -> str:
    """What msgspec expected ("Expected `int | null` >= 1, got `str`"), without what is no TOML."""
    expected = re.sub(r", got .*$", "", what.removeprefix("Expected "))
    if "matching regex" in expected:
        return "lower-case letters, digits, and . _ - after the first of them"
    plain = expected.replace(" | null", "").replace("`", "")
    return re.sub(r"^\w+", lambda match: _WORDS.get(match[0], match[0]), plain)


def _closest(name: str, allowed: Sequence[str] | dict[str, Any], table: str = "") -> str:
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f"did you mean {f'{table}.' if table else ''}{close[0]}?" if close else ""


def _file_with(files: Sequence[Source], key: str) -> Path:
    """The file that sets a key, the extending one first; the profile's own where none does."""
    for entry in reversed(files):
        if key.partition("[")[0] in _paths(entry.table):
            return entry.path
    return files[-1].path


def _paths(table: Table, prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")
