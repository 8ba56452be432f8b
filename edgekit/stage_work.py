"""What runs in the process of one stage: the stage itself, into a work directory of the cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit import manifest
from edgekit.errors import GateError
from edgekit.result_types import BenchReport

PROGRESS, TEMPORARY = "progress", "tmp"
"""Names in the work directory: what a stage says, and its temporary files."""


class Stages:
    """Calls one stage; served by `edgekit.worker`."""

    def run(
        self, kind: str, directory: str, work: str, options: dict[str, Any], outputs: list[str]
    ) -> str | None:
        """Runs a stage in the directory of edgekit.toml, and writes its outputs into `work`.

        Args:
            kind: compress, convert or bench.
            directory: What paths in the options are relative to.
            work: An empty directory; the outputs go there by their names.
            options: Those of the stage's function.
            outputs: Where the outputs will stand in the end.

        Returns:
            What the stage's own budget said, where that was not met.
        """
        place = Path(work).absolute()
        (place / TEMPORARY).mkdir()
        # Temporary files of this process, and of those that it starts, go with the work.
        os.environ["TMPDIR"] = tempfile.tempdir = str(place / TEMPORARY)
        os.chdir(directory)
        with (place / PROGRESS).open("w", buffering=1) as log:

            def say(text: str) -> None:
                log.write(f"{text}\n")

            try:
                _KINDS[kind](place, options, outputs, say)
            except GateError as error:
                return str(error).replace(f"{place}/", "")
        return None


Say = Callable[[str], None]


def command(kind: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The command line that does the same, for the manifest."""
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    model, output = given.pop("model"), given.pop("output")
    flags = [word for name, value in given.items() for word in _flag(name.replace("_", "-"), value)]
    return ("edgekit", kind, model, *flags, "-o", output)


def _flag(name: str, value: object) -> list[str]:
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


def _compress(place: Path, options: dict[str, Any], outputs: list[str], say: Say) -> None:
    from edgekit import compressing  # noqa: PLC0415 each process runs one stage

    given = _without_none(options)
    given["output"] = staged(place, "compress", outputs[0])
    compressing.compress(**given, command=command("compress", options), on_progress=say)


def _convert(place: Path, options: dict[str, Any], outputs: list[str], say: Say) -> None:
    from edgekit import conversion  # noqa: PLC0415

    given = _without_none(options)
    given["output"] = staged(place, "convert", outputs[0])
    conversion.convert(**given, command=command("convert", options), on_progress=say)


def _bench(place: Path, options: dict[str, Any], outputs: list[str], say: Say) -> None:
    """Measures all artifacts together, and writes what was found of each beside it."""
    from edgekit import bench_artifacts, bench_writing, benching  # noqa: PLC0415

    report = benching.bench(**options, on_progress=say)
    measurands = [bench_artifacts.read(Path(path), None) for path in options["artifacts"]]
    results = [path for path in outputs if not path.endswith(manifest.SUFFIX)]
    for measurand, result, path in zip(measurands, report.results, results, strict=True):
        about = tuple(one for one in report.comparison if one.candidate == result.artifact.sha256)
        own = BenchReport(report.schema, (result,), about)
        others = [one for one in measurands if one is not measurand]
        bench_writing.write(staged(place, "bench", path), own, [measurand, *others], options)


def staged(work: Path, kind: str, path: str) -> Path:
    """Where a stage leaves what will stand at `path`; results of two recipes have equal names."""
    return work / (path if kind == "bench" else Path(path).name)


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


_KINDS: dict[str, Callable[[Path, dict[str, Any], list[str], Say], None]] = {
    "compress": _compress,
    "convert": _convert,
    "bench": _bench,
}
