"""What is to be checked: results of bench, artifacts with their manifests, directories of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from edgekit import hardware, json_files, manifest
from edgekit.check_types import Conditions, Figures
from edgekit.errors import UserError
from edgekit.manifest_types import ArtifactInfo, Manifest
from edgekit.result_types import BenchReport, DeviceInfo, Footprint, Result
from edgekit.types import Accuracy

BENCH_SCHEMA = "edgekit.bench/1"
_NOT_A_RESULT = "name what edgekit bench -o wrote, or an artifact with its manifest beside it"
LEAST_S, MOST_S = 1e-12, 1e9
"""No inference takes less than a picosecond or more than thirty years."""
MOST = 1 << 60
"""More bytes, samples, or of any metric, than there are."""
INTERRUPTED = "the measurement was interrupted before its end"
_EMULATED = "qemu://"
_NOT_THE_RUNTIME = ("edgekit", "numpy", "python")


def read(results: Sequence[str | Path]) -> tuple[Figures, ...]:
    """The figures of everything that was named, in order.

    An artifact's manifest stands back where a measurement of the same bytes is there too.

    Args:
        results: Results of bench, artifacts, or directories that hold any of them.

    Raises:
        UserError: One of them is missing, damaged, of a newer schema, or nothing of the kind.
    """
    found = [figures for path in results for figures in _read(Path(path))]
    measured = {figures.sha256 for figures in found if figures.device is not None}
    distinct = [
        figures for figures in found if figures.device is not None or figures.sha256 not in measured
    ]
    return tuple(_with_source(figures, distinct) for figures in distinct)


def key(figures: Figures) -> tuple[str | None, ...]:
    """What makes two figures those of the same thing, built at different times."""
    return (*place(figures), figures.recipe, figures.precision)


def place(figures: Figures) -> tuple[str | None, ...]:
    """Model, target and device: what baselines match by."""
    return figures.model, figures.target, figures.device


def label(figures: Figures) -> str:
    """The same for people: `kws int8 (channels50-int8) for cortex-m7 on local`."""
    recipe = f" ({figures.recipe})" if figures.recipe else ""
    precision = f" {figures.precision}" if figures.precision else ""
    target = f" for {figures.target}" if figures.target else ""
    device = f" on {figures.device}" if figures.device else ""
    return f"{figures.model}{precision}{recipe}{target}{device}"


def check_sane(path: Path, figures: Figures) -> None:
    """What a type does not say: times are above zero, or no ratio can be told, and sizes counts.

    Raises:
        UserError: One is not.
    """
    times_s = (figures.median_s, *figures.process_medians_s, *(figures.ci95_s or ()))
    counts = (
        figures.size_bytes, figures.gzip_bytes, figures.peak_delta_bytes, figures.flash_bytes,
        figures.ram_bytes,
    )  # fmt: skip
    judged = (figures.accuracy, figures.source_accuracy)
    wrong = [
        what
        for what, is_wrong in (
            ("a latency that is not above 0 s", any(not _is_time(one) for one in times_s)),
            ("a size that is none", any(one is not None and not 0 <= one < MOST for one in counts)),
            ("an accuracy that is none", any(one is not None and _is_odd(one) for one in judged)),
        )
        if is_wrong
    ]
    if wrong:
        raise UserError(
            f"{path}: {figures.artifact} has {wrong[0]}",
            "measure again: edgekit bench … -o R.result.json --force",
        )


def _is_odd(accuracy: Accuracy) -> bool:
    figures = (accuracy.value, *(accuracy.ci95 or ()))
    return not 1 <= accuracy.n < MOST or any(abs(one) >= MOST for one in figures)


def _is_time(value_s: float | None) -> bool:
    return value_s is None or LEAST_S <= value_s <= MOST_S


def measure(figures: Figures, options: str = "") -> str:
    """What to type to measure an artifact again, where it was measured."""
    here = figures.device in (None, "local")
    device = "" if here else f"--device {figures.device}"
    words = ("edgekit bench", figures.artifact, device, options, "-o R.result.json, and check that")
    return " ".join(word for word in words if word)


def is_emulated(figures: Figures) -> bool:
    """Whether they are of an emulator: it has no times and no peak memory, however often asked."""
    return (figures.device or "").startswith(_EMULATED)


def _read(path: Path) -> Iterable[Figures]:
    if path.is_dir():
        return _directory(path)
    if not path.exists():
        raise UserError(f"there is no {path}", "check the path, or run edgekit bench -o first")
    if path.name.endswith(manifest.SUFFIX):
        return _read(path.with_name(path.name.removesuffix(manifest.SUFFIX)))
    sealed = manifest.read(path)
    if path.suffix == ".json" or (sealed and sealed.artifact.format == "bench"):
        return list(_report(path, sealed))
    if sealed is None:
        raise UserError(
            f"{path} has no manifest ({manifest.path_for(path).name})",
            f"edgekit bench {path} -o R.result.json, and check that",
        )
    return [_from_manifest(path, sealed)]


def _directory(path: Path) -> list[Figures]:
    """Every result and every deployable artifact below.

    Models that compress wrote are neither, nor are reports and plots of compare.
    """
    sealed = [
        seal.with_name(seal.name.removesuffix(manifest.SUFFIX))
        for seal in path.rglob(f"*{manifest.SUFFIX}")
    ]
    visible = {
        one
        for one in (*sealed, *path.rglob("*.result.json"))
        if not any(part.startswith(".edgekit-") for part in one.parts)
    }
    found = [figures for one in sorted(visible) for figures in _deployable(one)]
    if not found:
        raise UserError(f"{path} holds no result and no artifact with a manifest", _NOT_A_RESULT)
    return found


def _deployable(path: Path) -> Iterable[Figures]:
    sealed = manifest.read(path)
    if sealed and sealed.artifact.format in ("keras", "compare"):
        return ()
    return _read(path)


def _report(path: Path, sealed: Manifest | None) -> Iterator[Figures]:
    report = json_files.read(path, BenchReport, BENCH_SCHEMA, _NOT_A_RESULT)
    if sealed is not None and not manifest.matches(path, sealed):
        raise UserError(
            f"{path} was changed after it was measured: its manifest has another SHA-256",
            f"measure again: edgekit bench … -o {path} --force",
        )
    if not report.results:
        raise UserError(f"{path} holds no result", f"measure again: edgekit bench … -o {path}")
    for result in report.results:
        figures = _from_result(path, result)
        check_sane(path, figures)
        yield figures


def _from_result(path: Path, result: Result) -> Figures:
    artifact, device, latency = result.artifact, result.device, result.latency
    made = _manifest_of(path, artifact)
    accuracy = result.accuracy
    if accuracy is None and made is not None and device.measured_here:
        accuracy = made.accuracy  # what convert measured, of these bytes and on this machine
    return Figures(
        model=result.model or (made.model_name if made else Path(artifact.path).stem),
        recipe=result.recipe or (made.recipe if made else None),
        precision=artifact.precision,
        target=device.target,
        device=device.url,
        artifact=str(
            next((one for one in _places(path, artifact) if one.is_file()), artifact.path)
        ),
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        gzip_bytes=artifact.gzip_bytes,
        median_s=latency.median_s if result.complete else None,
        ci95_s=latency.ci95_s if result.complete else None,
        process_medians_s=latency.process_medians_s if result.complete else (),
        contended=latency.contended,
        why_no_latency=latency.why if result.complete else INTERRUPTED,
        complete=result.complete,
        peak_delta_bytes=result.memory.peak_delta_bytes,
        flash_bytes=result.footprint.flash_bytes if result.footprint else None,
        ram_bytes=_ram_bytes(result.footprint) if result.footprint else None,
        accuracy=accuracy,
        source_accuracy=made.source_accuracy if made else None,
        conditions=_conditions(result),
        elsewhere=_is_elsewhere(device),
        warnings=(*([] if result.complete else [INTERRUPTED]), *result.warnings),
    )


def _ram_bytes(memory: Footprint) -> int | None:
    """All that an inference needs; None where its stack is not known."""
    if memory.stack_bytes is None:
        return None
    return memory.ram_bytes + memory.buffer_bytes + memory.stack_bytes


def _with_source(figures: Figures, others: Sequence[Figures]) -> Figures:
    """Adds what the model itself gives, where only its float artifact tells.

    That one agrees with the model, or convert would not have written it. One of the same target
    and device comes first.
    """
    if figures.source_accuracy is not None:
        return figures
    floats = [
        one
        for one in others
        if (one.model, one.recipe, one.precision) == (figures.model, None, "fp32") and one.accuracy
    ]
    floats.sort(key=lambda one: place(one) != place(figures))
    if not floats:
        return figures
    return msgspec.structs.replace(
        figures, source_accuracy=floats[0].accuracy, float_artifact=floats[0].artifact
    )


def _is_elsewhere(device: DeviceInfo) -> bool:
    """Whether an artifact for another architecture was measured here; not known is no."""
    target = device.target
    if not device.measured_here or target is None or target not in hardware.names():
        return False
    arch = hardware.load(target).hardware.arch
    return arch is not None and arch != device.arch


def _conditions(result: Result) -> Conditions:
    versions = result.environment.get("versions")
    runtime = result.environment.get("runtime")
    return Conditions(
        cpu=result.device.cpu,
        arch=result.device.arch,
        threads=result.device.threads,
        runtime=runtime if isinstance(runtime, str) else None,
        versions={
            name: str(version)
            for name, version in (versions.items() if isinstance(versions, dict) else ())
            if name not in _NOT_THE_RUNTIME
        },
    )


def _manifest_of(result: Path, artifact: ArtifactInfo) -> Manifest | None:
    """The artifact's manifest, where it lay when it was measured or beside the result."""
    for where in _places(result, artifact):
        found = manifest.read(where)
        if found is not None and found.artifact.sha256 == artifact.sha256:
            return found
    return None


def _places(result: Path, artifact: ArtifactInfo) -> tuple[Path, Path]:
    """Where an artifact may be: as it was named, or beside its result, in another directory now."""
    named = Path(artifact.path)
    return named, result.parent / named.name


def _from_manifest(path: Path, made: Manifest) -> Figures:
    damage = manifest.damage(path, made) if path.is_file() else f"{path.name} is missing"
    if damage:
        raise UserError(
            f"{path} is not the artifact that {manifest.path_for(path).name} describes: {damage}",
            "make it again",
        )
    info = msgspec.structs.replace(made.artifact, path=str(path))
    return Figures(
        model=made.model_name,
        recipe=made.recipe,
        precision=info.precision,
        target=made.profile.name if made.profile else None,
        device=None,
        artifact=info.path,
        sha256=info.sha256,
        size_bytes=info.size_bytes,
        gzip_bytes=info.gzip_bytes,
        accuracy=made.accuracy,
        source_accuracy=made.source_accuracy,
    )
