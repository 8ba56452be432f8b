"""Puts a stage's outputs where they belong, with manifests that speak of this project's files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgekit import files, gains, hardware, hashing, manifest, stage_work
from edgekit.build_file import located
from edgekit.build_paths import OUTPUTS
from edgekit.build_types import Stage, StageInput, StageState
from edgekit.errors import OutputError
from edgekit.manifest_types import Manifest
from edgekit.run_state import PLACING, States, unwritable


def place(
    directory: Path,
    states: States,
    stage: Stage,
    work: Path,
    state: StageState,
) -> None:
    """Moves outputs into place, manifests last, and remembers them.

    What is about to be moved is remembered first: a run that is killed in between leaves files
    that the next one knows to be its own.

    Args:
        directory: Of edgekit.toml.
        states: Of all stages.
        stage: Whose outputs they are.
        work: Where they are now.
        state: The stage's key, inputs and gate.

    Raises:
        OutputError: They cannot be put there.
    """
    waiting = directory / OUTPUTS / PLACING
    final = (directory / stage.outputs[0]).absolute().parent
    made = files.missing(final)
    shutil.rmtree(waiting, ignore_errors=True)  # of a run that was killed
    try:
        copies = _beside(directory, stage, work, waiting)
        pending = {path: hashing.sha256_file(copy) for path, copy in copies.items()}
        standing = [path for path in stage.outputs if (directory / path).is_file()]
        before = {path: hashing.sha256_file(directory / path) for path in standing}
        states.keep(stage.name, StageState(key="", outputs=before, pending=pending))
        _publish([(copy, directory / path) for path, copy in copies.items()])
        states.keep(stage.name, msgspec.structs.replace(state, outputs=pending))
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
        files.remove_empty(made)


def _beside(directory: Path, stage: Stage, work: Path, waiting: Path) -> dict[str, Path]:
    """The copies; what is wrong with the place is said of it, and not of where they came from."""
    try:
        return _copied(directory, stage, work, waiting)
    except OSError as error:
        raise unwritable(directory / stage.outputs[0], error) from None


def _publish(copies: Sequence[tuple[Path, Path]]) -> None:
    try:
        files.publish(copies)
    except OutputError as error:
        place = copies[0][1].parent
        raise OutputError(error.message, f"make {place} a directory you may write") from None


def _copied(directory: Path, stage: Stage, work: Path, waiting: Path) -> dict[str, Path]:
    """The outputs beside where they will stand, so that each takes its place by a rename."""
    waiting.mkdir(parents=True)
    copies = {path: waiting / str(number) for number, path in enumerate(stage.outputs)}
    for path, copy in copies.items():
        shutil.copyfile(stage_work.staged(work, stage.kind, path), copy)
        if path.endswith(manifest.SUFFIX) and stage.kind != "bench":
            copy.write_bytes(_own(directory, stage, copy.read_bytes()))
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
    return copies


def values(given: tuple[StageInput, ...]) -> Mapping[str, str]:
    """Inputs as they are remembered."""
    return {one.role: one.value for one in given}


def _own(directory: Path, stage: Stage, encoded: bytes) -> bytes:
    """A manifest as this project's own run would have written it.

    The same outputs may have been made for another project: names of files are this one's.
    """
    written = msgspec.json.decode(encoded, type=Manifest)
    source = stage.options["model"]
    data = written.data
    if data:
        data = msgspec.structs.replace(data, spec=stage.options["data"])
    own = msgspec.structs.replace(
        written,
        command=stage_work.command(stage.kind, stage.options),
        model_name=stage.model,
        source=msgspec.structs.replace(written.source, path=source),
        parents=manifest.lineage(directory / source)[1],
        data=data,
    )
    return manifest.encode(_for_target(directory, stage, own))


def _for_target(directory: Path, stage: Stage, written: Manifest) -> Manifest:
    """What a compressed model's manifest says of a target, said of this stage's own."""
    if stage.kind != "compress":
        return written
    target = located(directory, stage.options["target"])
    profile = hardware.load(target)
    claims = tuple(gains.anew(claim, profile) for claim in written.claims)
    others = set(gains.warnings(written.claims))
    kept = (text for text in written.warnings if text not in others)
    return msgspec.structs.replace(
        written,
        profile=hardware.reference(target),
        claims=claims,
        warnings=(*gains.warnings(claims), *kept),
    )
