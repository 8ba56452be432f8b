"""What a model answers while one of its layers is changed, by a worker that puts it back.

Nothing here imports a framework.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import chunks, intervals
from edgekit.chunks import Arrays
from edgekit.data import Dataset
from edgekit.types import Batch, Role
from edgekit.workers import Worker

SAMPLES = 512
"""The most that one layer's change is judged on: every change costs as many forward passes."""

Change = Mapping[str, float]
"""`share` of the weights (or channels) that goes, or `bits` that the weights have left."""


@dataclass
class Changing:
    """Samples, and the unchanged model's outputs for them.

    `subjects` are the layers or bundles that can be changed, as the worker tells them.
    """

    worker: Worker
    samples: Path
    subjects: Sequence[Mapping[str, Any]]
    reference: Arrays = field(init=False)

    def __post_init__(self) -> None:
        place = self._place()
        self.worker.call("predict", samples=str(self.samples), outputs=str(place))
        self.reference = _taken(place)

    def outputs(self, name: str, change: Change) -> Arrays:
        """What the model answers while one subject is changed."""
        place = self._place()
        self.worker.call(
            "change_one", name=name, change=dict(change), samples=str(self.samples),
            outputs=str(place),
        )  # fmt: skip
        return _taken(place)

    def sqnr_db(self, outputs: Arrays) -> float:
        """How far outputs are from the unchanged model's, the worst of several, to 0.01 dB."""
        return round(
            min(
                intervals.sqnr_db(expected, outputs[name])
                for name, expected in self.reference.items()
            ),
            2,
        )

    def curve(self, name: str, shares: Sequence[float]) -> list[tuple[float, float]]:
        """SQNR of the outputs for each share of one subject that goes: a `sensitivity.Curve`."""
        return [(share, self.sqnr_db(self.outputs(name, {"share": share}))) for share in shares]

    def _place(self) -> Path:
        return self.samples.with_name(f"{self.samples.name}-changed")


def draw(dataset: Dataset, role: Role, seed: int, place: Path, group_size: int = 1) -> Batch:
    """Draws the samples of a role that changes are judged on, and writes them to a directory."""
    batch = dataset.sample(role, SAMPLES, seed, group_size)
    chunks.write(place, [batch.x])
    return batch


def _taken(place: Path) -> Arrays:
    """Reads outputs, and deletes them."""
    found = chunks.read_all(place)
    shutil.rmtree(place)
    return found
