"""The two models of a comparison, each open in a worker of its own and run as it ships."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import bench_artifacts, loading, manifest, registry
from edgekit.bench_artifacts import Measurand
from edgekit.compare_types import Compared
from edgekit.errors import ConversionError, ModelError
from edgekit.manifest_types import Manifest
from edgekit.types import ModelFile, TensorSpec
from edgekit.workers import Worker

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True, slots=True)
class Named:
    """A model that was found, and not yet opened: a model file, an artifact, or both."""

    path: Path
    file: ModelFile | None
    measurand: Measurand | None


@dataclass(frozen=True, slots=True)
class Side:
    """An open model. `worker` has `predict`, whichever source or runtime is behind it.

    `layers` is what reads its inner tensors (`registry.layers_reference`), `options` what it ran
    with, `made` its manifest.
    """

    worker: Worker
    about: Compared
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: str
    options: dict[str, str]
    preprocess: str | None = None
    metric: str | None = None
    made: Manifest | None = None


def find(path: Path, *, trust: bool) -> Named:
    """Says what a file is, before anything is loaded.

    Raises:
        ModelError: It is missing, damaged, unsafe, or nothing that can be compared.
        UserError: Its manifest is not the file's own.
    """
    if path.suffix == ".xml" and not path.is_dir():
        return Named(path, None, bench_artifacts.read(path, None))
    if path.suffix == ".h" and path.is_file():
        raise ModelError(
            f"{path} is C for a microcontroller, which compare does not run",
            f"edgekit bench {path} --device {bench_artifacts.EMULATED} --data SPEC judges it; or"
            " compare the .tflite of the same model (also .keras, .h5, SavedModel, .onnx, .xml)",
        )
    file = loading.identify(path, trust=trust)
    if file.family == "keras":
        return Named(path, file, None)
    _require_suffix(path, file)
    return Named(path, file, bench_artifacts.read(path, None, stand_in=True))


def require(named: Named) -> None:
    """Raises MissingExtra where what runs a model is not installed."""
    if named.measurand is None:
        assert named.file is not None, "a model is a file, an artifact, or both"
        registry.source_reference(named.file.family)
    else:
        registry.require(registry.RUNTIMES[named.measurand.runtime], str(named.path))


@contextlib.contextmanager
def opened(named: Named, *, trust: bool) -> Iterator[Side]:
    """Opens a model.

    Raises:
        ModelError: It cannot be loaded, or its loader crashed on it.
    """
    if named.measurand is None:
        assert named.file is not None, "a model is a file, an artifact, or both"
        with loading.opened(named.file, trust=trust) as (worker, info):
            about = Compared(
                str(named.path), info.sha256, info.format, info.precision, info.size_bytes,
                "tensorflow", "float32",
            )  # fmt: skip
            recorded = manifest.read(named.path)
            data = recorded.data if recorded else None
            yield Side(
                worker, about, info.inputs, info.outputs, "keras", {},
                data.preprocess if data else None, data.metric if data else None, recorded,
            )  # fmt: skip
        return
    with Worker("edgekit.execution:Execution", f"running {named.path}") as worker:
        yield _running(worker, named, named.measurand)


@contextlib.contextmanager
def reopened(named: Named, options: dict[str, str]) -> Iterator[Side]:
    """An artifact once more, with other runtime options."""
    assert named.measurand is not None, "only artifacts have runtime options"
    with Worker("edgekit.execution:Execution", f"running {named.path}") as worker:
        yield _running(worker, named, named.measurand, options)


def _running(
    worker: Worker, named: Named, measurand: Measurand, options: dict[str, str] | None = None
) -> Side:
    wanted = measurand.options if options is None else options
    try:
        found = worker.call(
            "open",
            runtime=measurand.runtime,
            path=str(named.path.absolute()),
            options=wanted,
            inputs=[msgspec.to_builtins(spec) for spec in measurand.inputs],
            outputs=[msgspec.to_builtins(spec) for spec in measurand.outputs],
        )
    except ConversionError as error:
        raise ModelError(error.message, loading.COPY_AGAIN) from None
    facts, info = found["facts"], measurand.info
    about = Compared(
        str(named.path), info.sha256, info.format, _precision(named, measurand), info.size_bytes,
        measurand.runtime, facts.get("precision"), _dtype(facts.get("precision_hint")),
    )  # fmt: skip
    return Side(
        worker, about, _specs(found["inputs"]), _specs(found["outputs"]), measurand.runtime,
        dict(wanted), measurand.preprocess, measurand.metric, manifest.read(named.path),
    )  # fmt: skip


def _precision(named: Named, measurand: Measurand) -> str | None:
    if measurand.info.precision is None and measurand.info.format == "tflite":
        from edgekit import tflite_file, tflite_source  # noqa: PLC0415 for .tflite only

        return tflite_source.precision(tflite_file.read(named.path).main)
    return measurand.info.precision


def _dtype(hint: str | None) -> str | None:
    return None if hint is None else _DTYPES.get(hint, hint)


def _specs(entries: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return msgspec.convert(entries, tuple[TensorSpec, ...])


def _require_suffix(path: Path, file: ModelFile) -> None:
    if path.suffix != f".{file.format}":
        raise ModelError(
            f"{path} is a .{file.format} file by its content, and is not named so",
            f"rename it to {path.with_suffix(f'.{file.format}').name}",
        )
