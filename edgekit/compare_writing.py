"""The files of a comparison, report and plot, each with the manifest that marks it as edgekit's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgekit import files, hashing, layer_plot, manifest
from edgekit.compare_sides import Named
from edgekit.compare_types import Compared, CompareReport
from edgekit.errors import UsageError
from edgekit.manifest_types import Manifest
from edgekit.types import FileRef

FORMAT = "compare"
"""What manifests call both files."""


def check(
    plot: Path | None, output: Path | None, *, models: Sequence[Named], data: Path, force: bool
) -> None:
    """Finds out before anything is run whether the files can be written.

    Args:
        plot: Where the plot goes.
        output: Where the report goes.
        models: The two models, of which no file must be lost.
        data: The samples, likewise.
        force: Replace any other file.

    Raises:
        UsageError: Two of the files are the same, or one belongs to what is compared.
        OutputError: Something that is not an unchanged output of edgekit stands there and `force`
            is False, or nothing can be written there.
    """
    read = {place.resolve() for model in models for place in _files(model)}
    taken = {data.resolve()}
    for option, path in (("--plot", plot), ("-o", output)):
        if path is None:
            continue
        place = path.resolve()
        if read & {place, *place.parents}:
            raise UsageError(f"{option} {path} belongs to what is compared", "name another file")
        if place in taken:
            raise UsageError(f"{option} {path} is named twice", "name another file")
        taken |= {place, manifest.path_for(place)}
        manifest.may_replace(path, force=force)
        with files.staging(path):
            pass


def write(report: CompareReport, *, plot: Path | None, output: Path | None, seed: int) -> None:
    """Writes what was asked for, each file whole or not at all, and its manifest after it.

    Args:
        report: What was found.
        plot: Where the plot goes.
        output: Where the report goes.
        seed: Of the samples that were drawn.

    Raises:
        OutputError: A place cannot be written.
    """
    if plot is not None and report.layers is not None:
        drawn = layer_plot.svg(report.layers, report.artifact.path)
        _write(plot, drawn.encode(), report, seed)
    if output is not None:
        text = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
        _write(output, text, report, seed)


def _files(model: Named) -> Iterator[Path]:
    """Every file of a model, those beside the main one included, and its manifest."""
    yield model.path
    yield manifest.path_for(model.path)
    if model.measurand is not None:
        yield from (model.path.parent / entry.path for entry in model.measurand.info.files)


def _write(path: Path, data: bytes, report: CompareReport, seed: int) -> None:
    seal = manifest.path_for(path)
    with files.staging(path) as directory:
        staged, staged_seal = directory / path.name, directory / seal.name
        staged.write_bytes(data)
        staged_seal.write_bytes(manifest.encode(_manifest(staged, report, seed)))
        files.publish([(staged, path), (staged_seal, seal)])


def _manifest(staged: Path, report: CompareReport, seed: int) -> Manifest:
    models = [report.reference.sha256, report.artifact.sha256]
    asked = [models, msgspec.to_builtins(report.data), report.layers is not None, seed]
    return Manifest(
        versions=manifest.versions(),
        command=(),
        request_sha256=hashing.sha256_json(asked),
        seed=seed,
        artifact=manifest.artifact_info(
            (staged,),
            format_name=FORMAT,
            precision=None,
            gzip_bytes=files.gzip_size_bytes((staged,)),
        ),
        source=_reference(report.reference),
        model_name=manifest.lineage(Path(report.reference.path))[0],
        data=report.data,
        parents=(_reference(report.artifact),),
    )


def _reference(about: Compared) -> FileRef:
    return FileRef(about.path, about.sha256, about.size_bytes)
