"""Writes the report of a measurement, and the manifest beside it that marks it as edgekit's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import files, hashing, manifest
from edgekit.bench_artifacts import Measurand
from edgekit.errors import OutputError
from edgekit.manifest_types import Manifest
from edgekit.result_types import BenchReport
from edgekit.types import FileRef


def encode(report: BenchReport) -> bytes:
    """The report as it is written: what `--json` prints."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def check(output: Path, measurands: Sequence[Measurand], *, force: bool) -> None:
    """Finds out before half a minute of measuring whether the report can be written.

    Raises:
        OutputError: Something that is not an unchanged output of edgekit stands there and `force`
            is False, it is a file of what is measured, or nothing can be written there.
    """
    measured = {
        (one.path.parent / entry.path).resolve() for one in measurands for entry in one.info.files
    }
    if output.resolve() in measured:
        raise OutputError(f"{output} is what is to be measured", "choose another -o")
    manifest.may_replace(output, force=force)
    with files.staging(output):
        pass


def write(
    output: Path, report: BenchReport, measurands: Sequence[Measurand], options: Mapping[str, Any]
) -> None:
    """Writes report and manifest, the manifest last.

    A measurement is not a function of its inputs: the same request gives other figures each time,
    so none is ever taken as up to date, and an unchanged earlier one is replaced. `request_sha256`
    says which reports answer the same request.

    Args:
        output: Where the report goes.
        report: What was measured.
        measurands: The artifacts, in the order that was asked for.
        options: Everything else that was asked for.

    Raises:
        OutputError: The place cannot be written.
    """
    seal = manifest.path_for(output)
    with files.staging(output) as directory:
        staged, staged_seal = directory / output.name, directory / seal.name
        staged.write_bytes(encode(report))
        staged_seal.write_bytes(manifest.encode(_manifest(staged, measurands, options)))
        files.publish([(staged, output), (staged_seal, seal)])


def _manifest(
    staged: Path, measurands: Sequence[Measurand], options: Mapping[str, Any]
) -> Manifest:
    first, *others = [
        FileRef(one.info.path, one.info.sha256, one.info.size_bytes) for one in measurands
    ]
    return Manifest(
        versions=manifest.versions(),
        command=(),
        request_sha256=hashing.sha256_json([[one.info.sha256 for one in measurands], options]),
        seed=options["seed"],
        artifact=manifest.artifact_info(
            (staged,),
            format_name="bench",
            precision=None,
            gzip_bytes=files.gzip_size_bytes((staged,)),
        ),
        source=first,
        model_name=manifest.lineage(measurands[0].path)[0],
        parents=tuple(others),
    )
