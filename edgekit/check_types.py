"""The data of `edgekit check`: what is judged, baselines, gates and verdicts.

As in `edgekit.types`: frozen, without behaviour, units in the names, None for not measured.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edgekit.types import Accuracy, ErrorBody


class Conditions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stored latency depends on beyond the artifact.

    `versions` are those of what executed it, without Python's and NumPy's.
    """

    cpu: str | None
    arch: str
    threads: int
    runtime: str | None
    versions: dict[str, str] = {}


class Figures(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of one artifact on one device; `device` None: from its manifest alone.

    `source_accuracy` is that of the model which it was made from, as its manifest says or, where
    `float_artifact` names one, as its float artifact has it. `artifact` is where it lay, as
    it was named. `process_medians_s` are latencies of fresh processes. `elsewhere`: latency and
    memory were measured on this machine, whose architecture is not the target's. `flash_bytes` and
    `ram_bytes` (static memory, stack, inputs and outputs) are of C on an emulated microcontroller.
    Not `complete`: the device failed midway, and the latency of what it did before is not taken.
    """

    model: str
    recipe: str | None
    precision: str | None
    target: str | None
    device: str | None
    artifact: str
    sha256: str
    size_bytes: int
    gzip_bytes: int
    median_s: float | None = None
    ci95_s: tuple[float, float] | None = None
    process_medians_s: tuple[float, ...] = ()
    contended: bool | None = None
    why_no_latency: str | None = None
    peak_delta_bytes: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    accuracy: Accuracy | None = None
    source_accuracy: Accuracy | None = None
    float_artifact: str | None = None
    conditions: Conditions | None = None
    elsewhere: bool = False
    complete: bool = True
    warnings: tuple[str, ...] = ()


class BaselineEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Figures that later ones are held against.

    `kept` is the artifact itself, relative to the baseline's directory; None where none was kept.
    """

    figures: Figures
    kept: str | None = None


class Baseline(Struct, frozen=True, forbid_unknown_fields=True):
    """A baseline file: `edgekit baseline update` writes it, `edgekit check` reads it."""

    schema: Literal["edgekit.baseline/1"]
    entries: tuple[BaselineEntry, ...]


class BaselineUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit baseline update` did to a file, entry by entry."""

    schema: Literal["edgekit.baseline-update/1"]
    path: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...] = ()


class Rerun(Struct, frozen=True, forbid_unknown_fields=True):
    """Candidate latency over baseline latency, both measured now, in the same rounds."""

    ratio: float
    ratio_ci99: tuple[float, float]
    rounds: int


GateName = Literal["size", "latency", "memory", "accuracy", "baseline"]
Against = Literal["budget", "source", "baseline"]
Outcome = Literal["held", "broken", "warned"]
Unit = Literal["s", "bytes", "ratio", "drop", ""]


class Gate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One figure held against what is allowed of it.

    `against` says where the limit comes from: a budget, the model the artifact was made from, or
    the baseline. `value`, `interval` (at `level`) and `allowed` are in `unit`; a drop is absolute
    in the metric. "warned" is what was seen and does not decide. `line` says all of it in one
    sentence, and `fix` what to type next where the outcome is not "held".
    """

    name: GateName
    against: Against
    outcome: Outcome
    unit: Unit
    value: float | None
    allowed: float | None
    line: str
    interval: tuple[float, float] | None = None
    level: float | None = None
    fix: str = ""


class Checked(Struct, frozen=True, forbid_unknown_fields=True):
    """One artifact on one device, and its gates."""

    figures: Figures
    gates: tuple[Gate, ...]


class CheckReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit check` found. `error` is there where a gate is broken: exit code 3."""

    schema: Literal["edgekit.check/1"]
    passed: bool
    checked: tuple[Checked, ...]
    notes: tuple[str, ...] = ()
    error: ErrorBody | None = None
