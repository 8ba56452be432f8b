"""What the last run left below `build/`: read, written whole, and compared with the files."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import msgspec

from edgekit import hashing, manifest
from edgekit.build_paths import OUTPUTS
from edgekit.build_types import RunState, Stage, StageState
from edgekit.errors import OutputError

_NAME = ".edgekit-run.json"
PLACING = ".edgekit-placing"
LOCK = ".edgekit-run.lock"


class States:
    """The states of the stages of one edgekit.toml, kept in a file."""

    def __init__(self, directory: Path) -> None:
        """Reads what is there; a file that cannot be read counts as none."""
        self._directory = directory
        self._path = directory / OUTPUTS / _NAME
        self.stages = _read(self._path)

    def keep(self, name: str, state: StageState) -> None:
        """Remembers the state of a stage, on disk too.

        Raises:
            OutputError: It cannot be written.
        """
        self.stages[name] = state
        encoded = msgspec.json.encode(RunState("edgekit.run-state/1", self.stages))
        staged = self._path.with_suffix(".part")
        try:
            staged.write_bytes(msgspec.json.format(encoded, indent=1))
            staged.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)
            raise unwritable(staged, error) from None

    def differs(self, stage: Stage) -> str | None:
        """What has happened to a stage's outputs since it was run; None: nothing."""
        state = self.stages[stage.name]
        for path in stage.outputs:
            place = self._directory / path
            if path not in state.outputs or not place.is_file():
                return f"{path} is missing"
            if hashing.sha256_file(place) != state.outputs[path]:
                return f"{path} was changed"
        return None

    def may_place(self, stage: Stage, *, force: bool) -> None:
        """Refuses to replace what no run has put there.

        Raises:
            OutputError: A file stands in the way that is no unchanged output of edgekit, and
                `force` is False; or the place is outside the directory of edgekit.toml.
        """
        _inside(self._directory, self._directory / stage.outputs[0])
        state = self.stages.get(stage.name)
        for path in stage.outputs:
            place = self._directory / path
            own = (state.outputs.get(path), state.pending.get(path)) if state else ()
            if place.is_file() and hashing.sha256_file(place) in own:
                continue
            if place.is_dir():
                raise _in_the_way(place, "a directory, where an output is to be")
            if place.exists() or place.is_symlink():
                _may_replace(self._directory, stage, force=force)


def _may_replace(directory: Path, stage: Stage, *, force: bool) -> None:
    """Looks at the outputs as the stages themselves do: each with its manifest."""
    sealed = [path for path in stage.outputs if path.endswith(manifest.SUFFIX)]
    for seal in sealed:
        main = directory / seal.removesuffix(manifest.SUFFIX)
        names = [Path(path).name for path in stage.outputs if path not in sealed]
        others = [name for name in names if name != main.name and name.startswith(main.stem)]
        siblings = [name.removeprefix(main.stem) for name in others]
        try:
            manifest.may_replace(main, siblings=siblings, force=force)
        except OutputError as error:
            raise OutputError(error.message, "move it away, or edgekit run --force") from None


def _inside(directory: Path, place: Path) -> None:
    home = directory.resolve()
    if home not in place.resolve().parents:
        raise OutputError(
            f"{place} leads out of {home}, through a link",
            f"make {directory / OUTPUTS} a directory of its own",
        )
    for parent in place.parents:
        if parent == directory:
            return
        if parent.exists() and not parent.is_dir():
            raise _in_the_way(parent, "a file, where a directory is to be")


def _read(path: Path) -> dict[str, StageState]:
    if path.exists() and not path.is_file():
        raise _in_the_way(path, "no file, and what the last run did is kept there")
    try:
        return dict(msgspec.json.decode(path.read_bytes(), type=RunState).stages)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return {}


def unwritable(place: Path, error: OSError) -> OutputError:
    """The one line for what `edgekit run` cannot write below `build/`."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space there" if full else f"make {place.parent} a directory you may write"
    return OutputError(f"cannot write {place}: {error.strerror or error}", fix)


def _in_the_way(place: Path, what: str) -> OutputError:
    return OutputError(f"{place} is {what}", f"mv {place} {place}.old")
