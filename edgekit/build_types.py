"""The data of `edgekit run`: what edgekit.toml says, what is planned, and what was done.

As in `edgekit.types`: frozen, without behaviour, units in the names, None for what is not known.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from edgekit.types import (
    Accuracy,
    Emit,
    ErrorBody,
    IoType,
    PositiveFloat,
    PositiveInt,
    Precision,
    Text,
)

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)", max_length=80)]
"""What becomes part of a path below `build/`."""

Names = Text | Annotated[tuple[Text, ...], Meta(min_length=1)]
"""One name, or a list of them."""

BatchText = Annotated[
    str, Meta(pattern=r"^(dynamic|[1-9][0-9]{0,5}\.\.[1-9][0-9]{0,5})$(?!\n)", max_length=20)
]
"""`--batch` where it is no number: "dynamic", or a range such as "1..16"."""

Rate = Annotated[float, Meta(ge=0, lt=1)] | Text
"""0.01 and "1%" mean the same."""


# ----------------------------------------------------------------------- what edgekit.toml says


class ModelTable(Struct, frozen=True, forbid_unknown_fields=True):
    """`[model.NAME]`: a trained model and its data. Paths are relative to the file.

    `teacher`, `loss` and `augment` are for recipes that train, as the options of `compress`.
    """

    path: Text
    data: Text | None = None
    preprocess: Text | None = None
    metric: Text | None = None
    teacher: Text | None = None
    loss: Text | None = None
    augment: Text | None = None


class BuildTable(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[build]]`: one artifact per model × recipe × target × precision.

    `recipe` "none" converts the model as it is. `precision` None takes what the recipe plans, else
    the profile's own. `max_drop` makes `convert` try harder until it holds. `emit` writes C sources
    in place of the .tflite.
    """

    model: Names
    recipe: Names = "none"
    target: Names = "host"
    precision: Precision | Annotated[tuple[Precision, ...], Meta(min_length=1)] | None = None
    input_type: IoType | None = None
    output_type: IoType | None = None
    batch: Annotated[int, Meta(ge=1, le=999_999)] | BatchText = 1
    max_drop: Rate | None = None
    emit: Emit | None = None
    epochs: Annotated[int, Meta(ge=1, le=10_000)] | None = None


class BenchTable(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[bench]]`: measures every artifact of the targets on the devices.

    `device` is a name of `[device]` or a URL, `budget` seconds for each model and device.
    """

    target: Names
    device: Names = "local"
    model: Names | None = None
    budget: PositiveFloat = 30.0
    threads: Annotated[int, Meta(ge=1, le=1024)] = 1


class CheckTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The budgets of `[check]`, or of one of its tables, as they are written."""

    max_drop: Rate | None = None
    max_size_bytes: PositiveInt | None = None
    max_latency_ms: PositiveFloat | None = None
    max_memory_bytes: PositiveInt | None = None
    baseline: Text | None = None


class CacheTable(Struct, frozen=True, forbid_unknown_fields=True):
    """`[cache]`: the least recently used entries go when it grows beyond `max_size` ("10 GB")."""

    max_size: PositiveInt | Text | None = None


class BuildTables(Struct, frozen=True, forbid_unknown_fields=True):
    """edgekit.toml as a whole. The tables of `check` are CheckTable, nested by model and target."""

    model: dict[Name, ModelTable]
    build: Annotated[tuple[BuildTable, ...], Meta(min_length=1)]
    device: dict[Name, Text] = {}
    bench: tuple[BenchTable, ...] = ()
    check: dict[str, Any] = {}
    cache: CacheTable = CacheTable()


# ------------------------------------------------------------------------------ what was read


class Budgets(Struct, frozen=True, forbid_unknown_fields=True):
    """What an artifact may cost; None is no limit.

    `max_drop` is absolute in the metric (0.01 is one point). `baseline` is relative to the
    directory of edgekit.toml.
    """

    max_drop: float | None = None
    max_size_bytes: int | None = None
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None
    baseline: str | None = None


class ScopedBudgets(Struct, frozen=True, forbid_unknown_fields=True):
    """Budgets and what they hold for; None is every model, or every target."""

    model: str | None
    target: str | None
    budgets: Budgets


class Named(Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe or target: its own name, and how the file refers to it (a name or a path)."""

    name: str
    spec: str


class Build(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[build]]`, its lists written out and its recipes and targets found.

    `key` says where it stands, as in "build[0]". A precision of None is left to recipe and profile.
    """

    key: str
    models: tuple[str, ...]
    recipes: tuple[Named, ...]
    targets: tuple[Named, ...]
    precisions: tuple[Precision | None, ...]
    input_type: IoType | None
    output_type: IoType | None
    batch: str
    max_drop: float | None
    emit: Emit | None
    epochs: int | None


class Bench(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[bench]]`; devices as (name for files, URL)."""

    key: str
    models: tuple[str, ...]
    targets: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]
    budget_s: float
    threads: int


class BuildFile(Struct, frozen=True, forbid_unknown_fields=True):
    """edgekit.toml, read and checked. Paths in it are relative to `directory`.

    `text` is what it was read from, for messages that name a line.
    """

    path: str
    directory: str
    models: dict[str, ModelTable]
    builds: tuple[Build, ...]
    benches: tuple[Bench, ...]
    checks: tuple[ScopedBudgets, ...]
    cache_max_bytes: int | None
    text: str = ""


# -------------------------------------------------------------------------- what is to be done

Kind = Literal["compress", "convert", "bench"]


class Stage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One call of a stage, with everything that it is given.

    `options` are those of `edgekit.compress`, `convert` or `bench`; paths in them and in `outputs`
    are relative to the directory of edgekit.toml. `outputs` has the main file first, and manifests
    last. `needs` names the stages whose outputs it reads; `where` the table that asks for it.
    """

    name: str
    kind: Kind
    where: str
    model: str
    target: str
    options: dict[str, Any]
    outputs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    recipe: str | None = None
    precision: Precision | None = None


class StageInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that a stage's outputs depend on.

    `value` is a hash, or the value of an option; `text` says what it is, for people.
    """

    role: str
    value: str
    text: str
    hashed: bool = True


class StageState(Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered of a stage that was run: enough to say what has changed since.

    `inputs` maps roles to values, `outputs` and `pending` paths to their SHA-256. `pending` are
    files that were about to be put in place: an interrupted run leaves some of them.
    """

    key: str
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    pending: dict[str, str] = {}
    gate: str | None = None


class RunState(Struct, frozen=True, forbid_unknown_fields=True):
    """`build/.edgekit-run.json`: every stage's state, by its name."""

    schema: Literal["edgekit.run-state/1"]
    stages: dict[str, StageState]


# --------------------------------------------------------------------------------- what was done

Status = Literal["built", "cached", "up to date", "failed", "skipped", "would run", "in the cache"]
"""The last two are those of a dry run."""


class StageReport(Struct, frozen=True, forbid_unknown_fields=True):
    """One stage of a run. `why` says what made it run, or what went wrong.

    `gate` is a budget of the stage's own that was not met; its outputs were written nevertheless.
    """

    name: str
    kind: Kind
    status: Status
    why: str
    outputs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    key: str | None = None
    exit_code: int = 0
    gate: str | None = None
    elapsed_s: float = 0.0


class ArtifactReport(Struct, frozen=True, forbid_unknown_fields=True):
    """One artifact of a run and what is known of it; None where it was not measured."""

    path: str
    model: str
    recipe: str
    target: str
    precision: Precision
    status: Status
    why: str
    size_bytes: int | None = None
    accuracy: Accuracy | None = None
    latency_s: float | None = None
    device: str | None = None


class InitReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit init` wrote, the data that it found, and the targets that take the model."""

    schema: Literal["edgekit.init/1"]
    path: str
    text: str
    data: str | None
    targets: tuple[str, ...]


class RunReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit run` did, stage by stage, and each artifact as it now stands."""

    schema: Literal["edgekit.run/1"]
    file: str
    artifacts: tuple[ArtifactReport, ...]
    stages: tuple[StageReport, ...]
    error: ErrorBody | None = None
