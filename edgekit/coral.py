"""The convert stage for a Coral Edge TPU: the int8 .tflite as always, then Google's own compiler.

`edgetpu_compiler` is no Python package and not everywhere. Where it is installed it is run;
elsewhere the result says with which command the artifact has to be compiled before it is deployed.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import conversion_work, files, manifest
from edgekit.conversion_work import Made, Progress
from edgekit.coral_plan import COMPILER, SIBLING, installed
from edgekit.coral_plan import command as compiling
from edgekit.errors import ConversionError
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan, Manifest, Step
from edgekit.profile_types import Profile

LIMIT_S = 1800.0

_MAPPED = re.compile(r"Number of operations that will run on (Edge TPU|CPU): (\d+)")


@dataclass(frozen=True, slots=True)
class Compiled:
    """An int8 .tflite in the staging directory, and what the compiler made of it, if it is here."""

    tflite: Made
    files: tuple[Path, ...]
    step: Step
    warnings: tuple[str, ...]


def make(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Compiled:
    """Makes the .tflite, and compiles it where the compiler is installed.

    Raises:
        UserError: See edgekit.errors.
    """
    tflite = conversion_work.make(resolved, source, profile, directory, trust, progress)
    output = Path(resolved.output)
    words = compiling(output, output.parent)
    detail: dict[str, Any] = {"command": words, "ran": installed()}
    if not installed():
        warning = (
            f"{COMPILER} is not installed here, so that nothing was compiled for the Edge TPU:"
            f" before deploying, run {shlex.join(words)}"
        )
        return Compiled(tflite, tflite.files, Step("compile", detail), (warning,))
    progress(f"compiling with {COMPILER}")
    compiled, mapped = _compile(tflite.files[0], directory / "compiled")
    warnings = (f"{compiled.name} was not executed here: only an Edge TPU runs it",)
    step = Step("compile", {**detail, "operators": mapped})
    return Compiled(tflite, (*tflite.files, compiled), step, warnings)


def describe(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    made: Compiled,
    command: Sequence[str],
    elapsed_s: float,
) -> Manifest:
    """The manifest of the .tflite, with what was, or has to be, compiled of it."""
    inner = conversion_work.describe(resolved, source, target, made.tflite, command, elapsed_s)
    return msgspec.structs.replace(
        inner,
        artifact=manifest.artifact_info(
            made.files,
            format_name=resolved.format,
            precision=inner.artifact.precision,
            gzip_bytes=files.gzip_size_bytes(made.files),
        ),
        steps=(*inner.steps, made.step),
        warnings=(*inner.warnings, *made.warnings),
    )


def _compile(model: Path, directory: Path) -> tuple[Path, dict[str, int]]:
    """The compiled file, and how many operators the compiler says run where."""
    directory.mkdir()
    try:
        done = subprocess.run(
            compiling(model, directory),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConversionError(
            f"{COMPILER} did not end within {LIMIT_S:g} s", "compile it by hand"
        ) from None
    compiled = directory / f"{model.stem}{SIBLING}"
    said = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode or not compiled.is_file():
        last = said.splitlines()[-1] if said else "nothing"
        raise ConversionError(
            f"{COMPILER} ended with code {done.returncode} and wrote no {compiled.name}; it said:"
            f" {last}",
            "look for the operator it names, or take it off the PATH to have the .tflite alone",
        )
    return compiled, {name: int(count) for name, count in _MAPPED.findall(said)}
