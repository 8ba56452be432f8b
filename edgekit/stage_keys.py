"""What a stage's outputs depend on: its inputs' hashes, its options and the libraries' versions.

The key of a stage is the hash of all of these, and of no path: the same model in another place, or
in another project, has the same key. The name of its output counts: C sources carry it inside.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from edgekit import (
    build_paths,
    hardware,
    hashing,
    manifest,
    recipe_files,
    recipe_steps,
    spec_hashes,
    user_code,
)
from edgekit.build_file import located
from edgekit.build_types import Stage, StageInput, StageState
from edgekit.errors import ModelError
from edgekit.recipe_types import DistillStep, QuantizeStep

SHOWN_CHANGES = 3
_NAMED = (
    "model", "recipe", "target", "data", "metric", "teacher", "loss", "augment", "output",
    "artifacts",
)  # fmt: skip
"""Options that name something: what they name is hashed in their place."""


class Hashes:
    """Hashes of what a run reads; each thing is read once."""

    def __init__(self, directory: Path) -> None:
        """Paths are relative to `directory`."""
        self._directory = directory
        self._known: dict[tuple[str, str], str] = {}
        self.paths: dict[Path, None] = {}
        self.versions = manifest.versions()

    def model(self, spec: str) -> str:
        """SHA-256 of a model file or directory, and of what its manifest says of its making."""
        place = self._directory / spec
        if reason := build_paths.lacking(place):
            raise ModelError(reason, "check the path")
        return self._remember("model", spec, lambda: [place], lambda: _model_sha256(place))

    def data(self, spec: str) -> str:
        """SHA-256 of what is known of the data before it is opened."""
        function = user_code.split(spec)
        place = self._directory / Path(function[0] if function else spec).expanduser()
        return self._remember(
            "data", spec, lambda: [place], lambda: spec_hashes.data_sha256(spec, self._directory)
        )

    def function(self, spec: str) -> str:
        """A built-in name as it is, or the code and name of a user's function."""
        function = user_code.split(spec)
        if function is None:
            return spec
        return self._remember(
            "function",
            spec,
            lambda: [self._directory / function[0]],
            lambda: f"{spec_hashes.function_sha256(spec, self._directory)}:{function[1]}",
        )

    def recipe(self, spec: str) -> str:
        """SHA-256 of what a recipe says, and of the teacher that it names."""
        where = located(self._directory, spec)

        def compute() -> str:
            recipe = recipe_files.load(where)
            teachers = [one.teacher for one in recipe.step if isinstance(one, DistillStep)]
            hashes = [self.model(one) for one in teachers if one]
            return hashing.sha256_json([recipe_files.sha256(recipe), hashes])

        return self._remember("recipe", spec, lambda: [recipe_files.place(where)], compute)

    def taken_by_compression(self, target: str, recipe: str) -> str:
        """What a recipe takes of a profile: targets that agree in it share their models.

        That is what channels are rounded to, and of a recipe that tunes or trains int8 whose int8.
        """
        self.target(target)
        profile = hardware.load(located(self._directory, target))
        taken = [str(profile.channel_multiple)]
        steps = recipe_files.load(located(self._directory, recipe)).step
        if any(isinstance(one, QuantizeStep) and recipe_steps.looks(one) for one in steps):
            taken += [hardware.scheme(profile), *hardware.one_scale(profile)]
        return ", ".join(taken)

    def target(self, spec: str) -> str:
        """SHA-256 of what a profile says."""
        where = located(self._directory, spec)
        return self._remember(
            "target",
            spec,
            lambda: hardware.paths(where),
            lambda: hardware.reference(where).sha256,
        )

    def _remember(
        self,
        kind: str,
        spec: str,
        read: Callable[[], Sequence[Path]],
        compute: Callable[[], str],
    ) -> str:
        if (kind, spec) not in self._known:
            self.paths.update(dict.fromkeys(read()))
            self._known[kind, spec] = compute()
        return self._known[kind, spec]


def inputs(stage: Stage, hashes: Hashes, made: Mapping[str, StageState]) -> tuple[StageInput, ...]:
    """Everything that a stage's outputs depend on.

    Args:
        stage: What is to be run.
        hashes: What is already known of the files.
        made: The state of each stage that it needs.

    Raises:
        UserError: Something that it reads does not exist or cannot be read.
    """
    return (
        *_sources(stage, hashes, made),
        *_name(stage),
        *_named(stage, hashes),
        *(
            StageInput(f"option {name}", str(value), name, hashed=False)
            for name, value in sorted(stage.options.items())
            if name not in _NAMED
        ),
        *(
            StageInput(f"version {name}", version, name, hashed=False)
            for name, version in sorted(hashes.versions.items())
        ),
    )


def key(stage: Stage, given: Sequence[StageInput]) -> str:
    """The identity of a stage's outputs."""
    return hashing.sha256_json([stage.kind, sorted((one.role, one.value) for one in given)])


def changes(before: Mapping[str, str], now: Sequence[StageInput]) -> str:
    """What differs from the inputs of an earlier run, in words."""
    found = [_change(one, before.get(one.role)) for one in now if before.get(one.role) != one.value]
    gone = set(before) - {one.role for one in now}
    found += [f"{role} is not used any more" for role in sorted(gone)]
    more = len(found) - SHOWN_CHANGES
    return ", ".join(found[:SHOWN_CHANGES]) + (f" and {more} more" if more > 0 else "")


def _change(one: StageInput, before: str | None) -> str:
    if before is None:
        return f"{one.text} is new"
    return f"{one.text} changed" if one.hashed else f"{one.text} was {before}, is {one.value}"


def _sources(stage: Stage, hashes: Hashes, made: Mapping[str, StageState]) -> Iterator[StageInput]:
    if not stage.needs:
        path = stage.options["model"]
        yield StageInput("model", hashes.model(path), f"model {path}")
    for name in stage.needs:
        state = made[name]
        identity = hashing.sha256_json(
            [state.key, sorted(map(_without_place, state.outputs.items()))]
        )
        what = name.partition(" ")[2]
        role = "source" if stage.kind == "convert" else f"artifact {what}"
        yield StageInput(role, identity, what)
    if stage.kind == "bench":  # a figure that another machine measured is not this one's
        machine = f"{platform.node()} {platform.machine()}"
        yield StageInput("machine", machine, "the machine", hashed=False)


def _name(stage: Stage) -> Iterator[StageInput]:
    """A measurement is not kept in the cache, whatever it is called."""
    if stage.kind != "bench":
        name = Path(stage.outputs[0]).name
        yield StageInput("output name", name, "the output's name", hashed=False)


def _without_place(output: tuple[str, str]) -> tuple[str, str]:
    """Manifests name places, and say nothing that the key of their stage does not cover."""
    path, sha256 = output
    return Path(path).suffix, "" if path.endswith(manifest.SUFFIX) else sha256


def _named(stage: Stage, hashes: Hashes) -> Iterator[StageInput]:
    def target(spec: str) -> str:
        if stage.kind == "compress":
            return hashes.taken_by_compression(spec, str(stage.options["recipe"]))
        return hashes.target(spec)

    readers = {
        "recipe": hashes.recipe, "data": hashes.data,
        "target": target,
        "metric": hashes.function, "teacher": hashes.model, "loss": hashes.function,
        "augment": hashes.function,
    }  # fmt: skip
    for role, reader in readers.items():
        spec = stage.options.get(role)
        if spec is not None:
            yield StageInput(role, reader(spec), f"{role} {spec}")


def _model_sha256(place: Path) -> str:
    """A model's bytes, with its manifest less what differs between equal runs."""
    found = manifest.read(place)
    said = msgspec.structs.replace(found, timing={}, environment={}, command=()) if found else None
    return hashing.sha256_json([hashing.file_ref(place).sha256, said])
