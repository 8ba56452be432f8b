"""Hardware profiles by name or path: built in, third-party, or a user's own TOML.

A profile may extend others; tables merge deeply, and what the file itself says wins. Only the
files that a profile is made of are read.
"""

from __future__ import annotations

import difflib
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from edgekit import hashing, profile_checks, profiles, toml_text
from edgekit.errors import ProfileError
from edgekit.profile_types import Profile, ProfileRef
from edgekit.recipe_types import Scheme

ENTRY_POINTS = "edgekit.profiles"
MAX_FILE_BYTES = 1 << 20
_SCHEMES: dict[str, Scheme] = {"openvino": "openvino", "tensorrt": "tensorrt"}
_NAME = re.compile(r"_?[a-z0-9][a-z0-9._-]{0,79}")

Table = dict[str, Any]


class Layer(NamedTuple):
    """One file of a profile, without its `extends`."""

    path: Path
    table: Table


def names() -> tuple[str, ...]:
    """The names of all profiles: built in and third-party, sorted.

    Raises:
        ProfileError: A third party's entry point is broken.
    """
    built_in = {path.stem for path in _tables(_built_in())}
    return tuple(sorted(built_in | set(_third_party())))


def load(name_or_path: str | Path) -> Profile:
    """Reads, merges and checks a profile.

    Args:
        name_or_path: A profile's name, or the path of a `.toml` file.

    Raises:
        ProfileError: It does not exist, is no TOML, or a key in it is wrong.
    """
    path = _find(str(name_or_path))
    try:
        layers = _layers(path, ())
        merged = _merged(layers)
    except RecursionError:
        raise ProfileError(f"{path} nests tables too deeply", "remove the nesting") from None
    given = layers[-1].table.get("name")
    if given is None:
        raise ProfileError(f"{path} lacks the key name", f'add name = "{path.stem}"')
    profile = profile_checks.convert(layers, merged)
    _check_name(profile.name, path, by_name=not _is_path(str(name_or_path)))
    return profile


def reference(name_or_path: str | Path) -> ProfileRef:
    """A profile's name and the SHA-256 of what it says, however it is spread over files.

    Raises:
        ProfileError: As `load`.
    """
    profile = load(name_or_path)
    return ProfileRef(profile.name, hashing.sha256_json(profile))


def one_scale(profile: Profile) -> tuple[str, ...]:
    """The TFLite operators whose weights get one scale there; "*" for all."""
    return profile.precision.per_tensor if profile.precision.per_channel else ("*",)


def scheme(profile: Profile) -> Scheme:
    """Whose int8 the target computes, by its format: LiteRT's unless another is known."""
    return _SCHEMES.get(profile.format, "litert")


def paths(name_or_path: str | Path) -> list[Path]:
    """The files that a profile is made of, what is extended first.

    Raises:
        ProfileError: One of them does not exist or cannot be read.
    """
    return [layer.path for layer in _layers(_find(str(name_or_path)), ())]


def _find(text: str) -> Path:
    if _is_path(text):
        return Path(text)
    if _NAME.fullmatch(text) and not text.startswith("_"):
        found = _named(text)
        if found:
            return found
    close = difflib.get_close_matches(text.lower(), names(), n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ProfileError(
        f"there is no profile named '{text[:80]}'",
        f"{hint}edgekit profiles list names them all; a file of your own is given as PATH.toml",
    )


def _is_path(text: str) -> bool:
    return text.endswith(".toml") or "/" in text


def _named(name: str) -> Path | None:
    """The file of a name. A built-in one is found without looking at what else is installed."""
    path = _built_in() / f"{name}.toml"
    return path if path.is_file() else _third_party().get(name)


def _built_in() -> Path:
    return Path(str(profiles.__file__)).parent


def _tables(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.toml") if not path.name.startswith("_"))


def _third_party() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for point in metadata.entry_points(group=ENTRY_POINTS):
        place = _place(point)
        for path in _tables(place) if place.is_dir() else [place]:
            if path.stem in found:
                raise _broken(point, f"offers {path.stem}, which {found[path.stem]} offers too")
            found[path.stem] = path
    return found


def _place(point: metadata.EntryPoint) -> Path:
    try:
        value = point.load()
    except (ImportError, AttributeError) as error:
        raise _broken(point, f"cannot be loaded: {error}") from None
    if not isinstance(value, str | Path):
        raise _broken(point, f"is a {type(value).__name__}, not the path of a TOML or directory")
    place = Path(value)
    if not place.exists():
        raise _broken(point, f"names {place}, which does not exist")
    return place


def _broken(point: metadata.EntryPoint, what: str) -> ProfileError:
    owner = point.dist.name if point.dist else point.value
    return ProfileError(
        f"the entry point {point.name} of {ENTRY_POINTS} (from {owner}) {what}",
        f"repair or uninstall {owner}",
    )


def _layers(path: Path, above: tuple[Path, ...]) -> list[Layer]:
    """The files of a profile, what is extended first; each file once."""
    if path in above:
        chain = " → ".join(step.name for step in (*above[above.index(path) :], path))
        raise ProfileError(
            f"profiles extend each other in a circle: {chain}", f"take extends out of {path}"
        )
    table = _read(path)
    layers: list[Layer] = []
    for base in _bases(path, table.pop("extends", [])):
        known = [layer.path for layer in layers]
        layers += [layer for layer in _layers(base, (*above, path)) if layer.path not in known]
    return [*layers, Layer(path, table)]


def _bases(path: Path, extends: Any) -> list[Path]:
    given = [extends] if isinstance(extends, str) else extends
    if not isinstance(given, list) or not all(isinstance(base, str) for base in given):
        raise ProfileError(
            f"{path}: extends is {extends!r}; a profile's name, or a list of names, is allowed",
            'write extends = "NAME" (edgekit profiles list)',
        )
    return [_base(path, base) for base in given]


def _base(path: Path, base: str) -> Path:
    if _is_path(base):
        return (path.parent / base).resolve()
    part = _built_in() / f"{base}.toml"
    if _NAME.fullmatch(base) and part.is_file():
        return part
    try:
        return _find(base)
    except ProfileError as error:
        raise ProfileError(f"{path}: extends: {error.message}", error.fix) from None


def _read(path: Path) -> Table:
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise ProfileError(
                f"the profile {path} {what}",
                "give the path of a .toml, or a name from edgekit profiles list",
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ProfileError(f"{path} is larger than 1 MiB: no profile", "give a profile's path")
        return toml_text.loads(toml_text.decode(path.read_bytes()))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProfileError(f"cannot read the profile {path}: {reason}", "check the path") from None
    except UnicodeDecodeError as error:
        raise ProfileError(
            f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8"
        ) from None
    except ValueError as error:  # TOMLDecodeError names the line; a number may be too long to read
        raise ProfileError(f"{path} is not valid TOML: {error}", "correct that line") from None


def _merged(layers: list[Layer]) -> Table:
    merged: Table = {}
    for layer in layers:
        _forget_sources(merged, layer.table)
        merged = _merge(merged, layer.table)
    return merged


def _merge(base: Table, over: Table) -> Table:
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merge(out[key], value) if both else value
    return out


def _forget_sources(base: Table, over: Table) -> None:
    """A figure that an extending file sets does not keep the source of the figure it replaces."""
    sources = base.get("sources")
    if isinstance(sources, dict):
        replaced = set(profile_checks.leaves(over))
        base["sources"] = {key: text for key, text in sources.items() if key not in replaced}


def _check_name(name: str, path: Path, *, by_name: bool) -> None:
    if by_name and name != path.stem:
        raise ProfileError(
            f"{path} says name = {name!r}, and its file is named {path.stem}",
            "make them equal",
        )
    if not by_name and path.resolve().parent != _built_in().resolve() and _named(name):
        raise ProfileError(
            f"{path}: name = {name!r} is another profile's, and results would be mixed up",
            f"choose another name, e.g. my-{name}",
        )
