"""`edgekit demo`: the whole chain on the model and the digits that edgekit carries."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from edgekit import benching, conversion, files, registry
from edgekit.errors import OutputError
from edgekit.manifest_types import Manifest
from edgekit.result_types import BenchReport
from edgekit.types import Precision

MODEL, DATA, RESULT = "digits.keras", "digits.npz", "digits.result.json"
BUDGET_S = 20.0


class Variant(NamedTuple):
    """One artifact of the demo: made from `source`, which may be an earlier one."""

    source: str
    target: str
    precision: Precision
    output: str


VARIANTS = (
    Variant(MODEL, "host", "fp32", "digits-fp32.tflite"),
    Variant("digits-fp32.tflite", "host", "fp16", "digits-fp16.tflite"),
    Variant("digits-fp32.tflite", "host", "int8", "digits-int8.tflite"),
    Variant("digits-fp32.tflite", "host", "int8-dynamic", "digits-int8-dynamic.tflite"),
    Variant(MODEL, "host-openvino", "fp32", "digits-fp32.xml"),
    Variant(MODEL, "host-openvino", "int8", "digits-int8.xml"),
)


def run(
    directory: Path,
    *,
    seed: int = 0,
    force: bool = False,
    command: tuple[str, ...] = (),
    on_progress: Callable[[str], None] | None = None,
) -> tuple[tuple[Manifest, ...], BenchReport]:
    """Converts the embedded model at several precisions and measures every artifact here.

    Args:
        directory: Where everything is written; made if it is not there.
        seed: Of calibration draws and of the order of measurements.
        force: Replace whatever stands there.
        command: The command line, for the manifests.
        on_progress: Told each step as it begins.

    Raises:
        MissingExtra: A framework that the chain needs is not installed.
        OutputError: The directory cannot be written.
    """
    _require_everything()
    unpack(directory, force=force)
    data = str(directory / DATA)
    manifests = tuple(
        conversion.convert(
            directory / variant.source,
            target=variant.target,
            precision=variant.precision,
            data=data,
            output=directory / variant.output,
            seed=seed,
            force=force,
            command=command,
            on_progress=on_progress,
        )
        for variant in VARIANTS
    )
    report = benching.bench(
        [directory / variant.output for variant in VARIANTS],
        data=data,
        budget_s=BUDGET_S,
        seed=seed,
        output=directory / RESULT,
        force=force,
        on_progress=on_progress,
    )
    return manifests, report


def _require_everything() -> None:
    """Says at once what is missing, and not after half the chain."""
    registry.source_reference("keras")
    for name in ("tflite", "openvino"):
        registry.converter_reference(name)


def unpack(directory: Path, *, force: bool = False) -> None:
    """Writes the embedded model and data into a directory.

    Raises:
        OutputError: Another file stands there under one of the names, and force is False.
    """
    package = resources.files("edgekit")
    for asset, name in (("demo_digits.keras", MODEL), ("demo_digits.npz", DATA)):
        place, content = directory / name, (package / asset).read_bytes()
        if place.is_file() and place.read_bytes() == content:
            continue
        if place.exists() and not force:
            raise OutputError(
                f"{place} exists and is not the demo's", "name another -o, or add --force"
            )
        files.write_atomic(place, content)
