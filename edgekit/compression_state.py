"""What a compression has so far, and how it is judged. Nothing here imports a framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgekit import chunks, ladder, training_loop
from edgekit.compression_plan import CompressionPlan
from edgekit.ladder import Judge
from edgekit.manifest_types import PairedChange, Quantization, Step
from edgekit.types import Accuracy, DataRef, ModelInfo, Role
from edgekit.workers import Worker

Progress = Callable[[str], None]


@dataclass(slots=True)
class Work:
    """What a compression has so far; `saved` is the model as it is after the last step.

    `judging` are samples on which the sensitivity of layers is measured, where a step asks for it.
    """

    plan: CompressionPlan
    worker: Worker
    info: ModelInfo
    directory: Path
    progress: Progress
    bar: training_loop.Bar
    choosing: Judge | None = None
    role: Role | None = None
    final: Judge | None = None
    probes: Path | None = None
    judging: Path | None = None
    data: DataRef | None = None
    roles: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    paired: PairedChange | None = None
    quantization: Quantization | None = None
    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def saved(self) -> Path:
        """Where every step writes the model."""
        return self.directory / self.plan.output.name


def judge(work: Work, by: Judge, name: str) -> Accuracy:
    """The accuracy of the model as it is in the worker, on a judge's samples."""
    return ladder.judge_outputs(by, outputs(work, by, name))


def outputs(work: Work, by: Judge, name: str) -> chunks.Arrays:
    """What the model in the worker answers to a judge's samples; `name` is of the files."""
    place = work.directory / f"outputs-{name}"
    work.worker.call("predict", samples=str(by.samples), outputs=str(place))
    return chunks.read_all(place)


def warn(work: Work, *texts: str) -> None:
    """Says it now, and keeps it for the manifest."""
    for text in texts:
        work.warnings.append(text)
        work.progress(f"warning: {text}")
