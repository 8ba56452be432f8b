"""Baselines: figures that later ones are held against, and the artifacts that they are of."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgekit import bench_artifacts, check_budgets, check_reading, files, json_files, manifest
from edgekit.check_types import Baseline, BaselineEntry, BaselineUpdate, Figures
from edgekit.errors import OutputError, UserError

SCHEMA: Literal["edgekit.baseline/1"] = "edgekit.baseline/1"
_MAKE_ONE = "edgekit baseline update RESULT… -o FILE writes one"


def read(path: str | Path) -> Baseline:
    """A baseline file.

    Raises:
        UserError: It is missing, damaged, or of a newer schema.
    """
    where = Path(path)
    if not where.exists():
        raise UserError(f"there is no baseline {where}", _MAKE_ONE)
    found = json_files.read(where, Baseline, SCHEMA, _MAKE_ONE)
    for entry in found.entries:
        check_reading.check_sane(where, entry.figures)
    return found


def match(checked: Sequence[Figures], baseline: Baseline) -> list[BaselineEntry | None]:
    """The entry that each artifact is held against: of its model, target and device.

    Where there are several artifacts of these, recipe and precision tell them apart; where there is
    one on either side it is that one, whatever was changed to make it.
    """
    places = [check_reading.place(figures) for figures in checked]
    found: list[BaselineEntry | None] = []
    for figures, place in zip(checked, places, strict=True):
        same = [one for one in baseline.entries if check_reading.place(one.figures) == place]
        exact = [
            one for one in same if check_reading.key(one.figures) == check_reading.key(figures)
        ]
        alone = len(same) == 1 and places.count(place) == 1
        found.append(exact[0] if exact else same[0] if alone else None)
    return found


def artifact(entry: BaselineEntry, baseline: Path) -> Path | None:
    """Where an entry's artifact lies: kept beside the baseline, or still where it was measured.

    Returns:
        None where neither is so; what was made anew at its old place is another artifact.

    Raises:
        UserError: It was kept and is not there, or is not what it was.
    """
    if entry.kept is None:
        old = Path(entry.figures.artifact)
        return old if holds(old, entry.figures.sha256) else None
    kept = baseline.parent / entry.kept
    if not _is_inside(Path(entry.kept)) or not holds(kept, entry.figures.sha256):
        raise UserError(
            f"{baseline} keeps {entry.kept}, which is not there as it was (SHA-256"
            f" {entry.figures.sha256[:12]}…)",
            "check it out again (git lfs pull), or edgekit baseline update --keep-artifacts",
        )
    return kept


def holds(path: Path, sha256: str) -> bool:
    """Whether an artifact of these bytes lies there."""
    try:
        return path.is_file() and bench_artifacts.read(path, None).info.sha256 == sha256
    except UserError:
        return False  # damaged, or being made anew: not these bytes in any case


def update(
    results: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    keep_artifacts: bool = False,
    force: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> BaselineUpdate:
    """Writes the figures of results into a baseline file, in place of earlier ones of the same.

    Args:
        results: Results of bench, artifacts with their manifests, or directories of both.
        output: The baseline; what else it holds stays. Default: the one that the edgekit.toml of
            the current directory names under `[check]`.
        keep_artifacts: Copy the artifacts beside it, so that `check` can measure them again.
        force: Replace a file that is no baseline.
        dry_run: Write nothing.
        on_progress: Told what is copied.

    Raises:
        UserError: A result cannot be read or is incomplete, two are of the same thing, or an
            artifact that is to be kept is not where it was measured.
        OutputError: Something that is no baseline stands there, or nothing can be written there.
    """
    new = check_reading.read(results)
    path = check_budgets.baseline_path(new) if output is None else Path(output)
    old = _standing(path, force)
    _refuse_doubles(new)
    _refuse_incomplete(new)
    kept = _keepers(new, path) if keep_artifacts else {}
    entries = [BaselineEntry(figures, kept[figures.sha256][1] if kept else None) for figures in new]
    fresh = {check_reading.key(entry.figures): entry for entry in entries}
    before = {check_reading.key(entry.figures): entry for entry in old}
    if not dry_run:
        for source, place in dict(kept.values()).items():
            (on_progress or _silent)(f"keeping {source}")
            _copy(source, path.parent / place)
        _write(path, {**before, **fresh})
        _sweep(path)
    return BaselineUpdate(
        "edgekit.baseline-update/1",
        path=str(path),
        added=_labels(entry for key, entry in fresh.items() if key not in before),
        replaced=_labels(entry for key, entry in fresh.items() if key in before),
        unchanged=_labels(entry for key, entry in before.items() if key not in fresh),
        kept=tuple(sorted({place for _, place in kept.values()})),
    )


def _standing(path: Path, force: bool) -> tuple[BaselineEntry, ...]:
    """The entries of the file that is to be updated."""
    if path.is_dir():
        raise OutputError(f"{path} is a directory", f"name a file, as in -o {path / 'NAME.json'}")
    if not path.exists():
        return ()
    try:
        return read(path).entries
    except UserError as error:
        if force:
            return ()
        raise OutputError(
            f"{error.message}: nothing of it can be kept",
            "add --force to replace it, or choose another -o",
        ) from None


def _refuse_doubles(found: Sequence[Figures]) -> None:
    seen: dict[tuple[str | None, ...], Figures] = {}
    for figures in found:
        first = seen.setdefault(check_reading.key(figures), figures)
        if first is not figures:
            raise UserError(
                f"{first.artifact} and {figures.artifact} are both {check_reading.label(figures)}",
                "name one of the two results",
            )


def _refuse_incomplete(found: Sequence[Figures]) -> None:
    for figures in found:
        if not figures.complete:
            raise UserError(
                f"{check_reading.label(figures)}: {check_reading.INTERRUPTED}, and no baseline is"
                " made of a part",
                f"measure it again: {check_reading.measure(figures)}",
            )


def _keepers(found: Sequence[Figures], baseline: Path) -> dict[str, tuple[Path, str]]:
    """By SHA-256: where an artifact is, and where it goes, relative to the baseline."""
    kept = {}
    for figures in found:
        source = Path(figures.artifact)
        if not holds(source, figures.sha256):
            raise UserError(
                f"{source} is not there as it was measured, and cannot be kept",
                "bench it again, run this where it was measured, or leave out --keep-artifacts",
            )
        place = Path(_kept_directory(baseline)) / figures.sha256[:16] / source.name
        kept[figures.sha256] = (source, place.as_posix())
    return kept


def _copy(source: Path, place: Path) -> None:
    """An artifact with all its files and its manifest, which says how to run it."""
    if place.is_file():
        return  # its directory is named by its SHA-256, and `artifact` checks that
    info = bench_artifacts.read(source, None).info
    names = [entry.path for entry in info.files]
    if manifest.path_for(source).is_file():
        names.append(manifest.path_for(source).name)
    with files.staging(place) as directory:
        staged = [(directory / name, place.parent / name) for name in reversed(names)]
        for to, final in staged:
            shutil.copyfile(source.parent / final.name, to)
        files.publish(staged)


def _write(path: Path, entries: dict[tuple[str | None, ...], BaselineEntry]) -> None:
    ordered = sorted(entries, key=lambda key: [part or "" for part in key])
    made = Baseline(SCHEMA, tuple(entries[key] for key in ordered))
    files.write_atomic(path, msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")


def _sweep(path: Path) -> None:
    """Removes kept artifacts that the baseline has no use for any more."""
    named = {one.kept for one in read(path).entries}
    directory = _kept_directory(path)
    for place in sorted((path.parent / directory).glob("*/")):
        kept = (entry.split("/")[:2] for entry in named if entry is not None)
        if re.fullmatch("[0-9a-f]{16}", place.name) and [directory, place.name] not in kept:
            shutil.rmtree(place)


def _kept_directory(path: Path) -> str:
    return f"{path.stem}.artifacts"


def _labels(entries: Iterator[BaselineEntry]) -> tuple[str, ...]:
    return tuple(check_reading.label(entry.figures) for entry in entries)


def _is_inside(path: Path) -> bool:
    """Whether a relative path stays below where it begins."""
    return not path.is_absolute() and ".." not in path.parts


def _silent(_message: str) -> None:
    """Tells nobody."""
