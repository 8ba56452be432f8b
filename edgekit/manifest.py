"""Manifests: written last and atomically, read back with the key named when one is wrong."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from edgekit import hashing, json_files
from edgekit.errors import OutputError, UserError
from edgekit.manifest_types import ArtifactInfo, Manifest
from edgekit.types import FileRef

SUFFIX = ".edgekit.json"
SCHEMA = "edgekit.manifest/1"

_LIBRARIES = (
    "edgekit", "ai-edge-litert", "ethos-u-vela", "keras", "litert-quantizer", "nncf", "numpy",
    "onnx", "onnxruntime", "openvino", "tensorflow", "tf2onnx", "tf_keras",
)  # fmt: skip


def path_for(output: Path) -> Path:
    """Where the manifest of an output stands: `m.tflite` → `m.tflite.edgekit.json`."""
    return output.parent / (output.name + SUFFIX)


def encode(manifest: Manifest) -> bytes:
    """The manifest as it is written: indented JSON with a final line break."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read(output: Path) -> Manifest | None:
    """The manifest beside an output, or None where there is none.

    Raises:
        UserError: It is there and cannot be read.
    """
    path = path_for(output)
    if not path.is_file():
        return None
    fix = "remove it, or make the artifact again with --force"
    return json_files.read(path, Manifest, SCHEMA, fix)


def matches(output: Path, manifest: Manifest) -> bool:
    """Whether every file of an output has the bytes that its manifest states."""
    return damage(output, manifest) is None


def damage(output: Path, manifest: Manifest) -> str | None:
    """The first file of an output that is not as its manifest states, and what is wrong with it."""
    for entry in manifest.artifact.files:
        path = output.parent / entry.path
        if not path.is_file():
            return f"{entry.path} is missing"
        if hashing.sha256_file(path) != entry.sha256:
            return f"{entry.path} was changed"
    return None


def outdated(output: Path) -> tuple[Manifest, str] | None:
    """The manifest of a file that is no longer what it states, and a clause that says so.

    Raises:
        UserError: The manifest is there and cannot be read.
    """
    found = read(output)
    wrong = damage(output, found) if found else None
    return (found, f"of what it wrote, {wrong} since") if found and wrong else None


def may_replace(output: Path, *, siblings: Sequence[str] = (), force: bool) -> None:
    """Refuses to replace anything but an untouched output of edgekit.

    Args:
        output: The main file.
        siblings: Endings, after its stem, of the files that its format has beside it.
        force: Replace any file.

    Raises:
        OutputError: A directory stands in the way, or something else, and force is False.
    """
    if output.is_dir():
        raise OutputError(f"{output} is a directory", f"name a file, as in -o {output / 'NAME'}")
    places = [output, *(output.with_name(output.stem + ending) for ending in siblings)]
    for place in (*places, path_for(output)):
        if place.is_dir():
            raise OutputError(f"{place} is a directory", "remove it, or choose another -o")
    if force:
        return
    found = _known(output)
    own = {entry.path: entry.sha256 for entry in found.artifact.files} if found else {}
    foreign = [place for place in places if _stands(place) and not _is(place, own)]
    if found is None and _stands(path_for(output)):
        foreign.append(path_for(output))
    if foreign:
        raise OutputError(
            f"{foreign[0]} exists and is not an unchanged output of edgekit",
            "add --force to replace it, or choose another -o",
        )


def up_to_date(output: Path, request_sha256: str) -> Manifest | None:
    """The manifest of an output that the same request already made, or None."""
    found = _known(output)
    if found is None or found.request_sha256 != request_sha256 or not matches(output, found):
        return None
    return found


def lineage(source: Path) -> tuple[str, tuple[FileRef, ...]]:
    """The model's name and what a source was itself made from, nearest first.

    A source without a manifest is where the chain begins: it gives the name and has no parents.
    """
    found = _known(source)
    if found is None:
        return source.stem, ()
    return found.model_name, (found.source, *found.parents)


def recipe(source: Path) -> tuple[str | None, str | None]:
    """The recipe that made a source, and its SHA-256; None where none did."""
    found = _known(source)
    return (found.recipe, found.recipe_sha256) if found else (None, None)


def versions() -> dict[str, str]:
    """The versions of edgekit, Python and every library that shapes an artifact."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def artifact_info(
    paths: tuple[Path, ...], *, format_name: str, precision: str | None, gzip_bytes: int
) -> ArtifactInfo:
    """Describes an artifact of one or several files; the first is the main one."""
    files = tuple(msgspec.structs.replace(hashing.file_ref(path), path=path.name) for path in paths)
    several = len(files) > 1
    listing = [(entry.path, entry.sha256) for entry in files]
    return ArtifactInfo(
        path=paths[0].name,
        sha256=hashing.sha256_listing(listing) if several else files[0].sha256,
        format=format_name,
        precision=precision,
        size_bytes=sum(entry.size_bytes for entry in files),
        gzip_bytes=gzip_bytes,
        files=files,
    )


def _known(output: Path) -> Manifest | None:
    """The manifest beside an output; None where there is none, or none that this version reads."""
    try:
        return read(output)
    except UserError:
        return None


def _stands(place: Path) -> bool:
    return place.exists() or place.is_symlink()


def _is(place: Path, own: Mapping[str, str]) -> bool:
    return place.is_file() and hashing.sha256_file(place) == own.get(place.name)
