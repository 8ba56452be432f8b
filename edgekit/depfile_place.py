"""Where a depfile may stand: nowhere where something else does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit import build_paths, depfile, manifest, user_code
from edgekit.build_paths import OUTPUTS
from edgekit.build_types import BuildFile, Stage
from edgekit.errors import OutputError

_OWN = re.compile(rf".*{re.escape(manifest.SUFFIX)}\s*:")
_FUNCTIONS = ("metric", "loss", "augment")
_HEAD_CHARACTERS = 1 << 20


def check(path: Path, file: BuildFile, stages: Sequence[Stage], *, force: bool) -> None:
    """Finds out before anything is run whether a depfile may be written.

    Args:
        path: The depfile.
        file: The edgekit.toml.
        stages: What it plans: neither what they read nor what they write is replaced.
        force: Replace any other file.

    Raises:
        OutputError: It may not, or cannot.
    """
    place = path.resolve()
    for what, taken in _taken(file, stages):
        if place == taken or (taken.is_dir() and taken in place.parents):
            raise OutputError(f"--depfile {path} would overwrite {what} {taken}", _fix(file))
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OutputError(f"--depfile {path} is no regular file", _fix(file))
    if path.is_file() and not (force or _is_own(path)):
        raise OutputError(
            f"{path} exists and is no depfile of edgekit run",
            f"add --force to replace it, or {_fix(file)}",
        )
    depfile.check(path)


def _taken(file: BuildFile, stages: Sequence[Stage]) -> Iterator[tuple[str, Path]]:
    directory = Path(file.directory)
    yield "the build file", Path(file.path).resolve()
    for stage in stages:
        for output in stage.outputs:
            yield "the output", (directory / output).resolve()
        for key, spec in _specs(stage):
            yield f"what {key} names,", (directory / spec).resolve()


def _specs(stage: Stage) -> Iterator[tuple[str, str | Path]]:
    options = stage.options
    for key in ("model", "data", "teacher", *_FUNCTIONS):
        given = options.get(key)
        is_name = key in _FUNCTIONS and given and user_code.split(given) is None
        if given and not is_name:
            yield key, build_paths.named(given)
    for key in ("recipe", "target"):
        given = options.get(key)
        if given and ("/" in given or given.endswith(".toml")):
            yield key, given


def _fix(file: BuildFile) -> str:
    return f"--depfile {Path(file.directory) / OUTPUTS / 'edgekit.d'}"


def _is_own(path: Path) -> bool:
    """Whether a file is empty, or its first line is a rule whose last target is a manifest."""
    with path.open(encoding="utf-8", errors="replace") as handle:
        head = handle.readline(_HEAD_CHARACTERS)
    return not head or bool(_OWN.match(head))
