"""What would end a stage is said before the first one is run, in the words of edgekit.toml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit import (
    build_keys,
    build_paths,
    emission_plan,
    metric_names,
    preprocess_names,
    registry,
    user_code,
)
from edgekit.build_keys import Source
from edgekit.build_lines import Key
from edgekit.build_types import Bench, Build, BuildFile
from edgekit.errors import BuildFileError, EdgekitError, UsageError
from edgekit.profile_types import Profile
from edgekit.types import STATIC_PRECISIONS, Precision

_PATHS = ("path", "data", "teacher", "metric", "loss", "augment")
_FUNCTIONS = ("loss", "augment")
_WORDS = ("metric", "preprocess")
_NO_LAYERS = (".tflite", ".onnx")


def model(file: BuildFile, name: str) -> None:
    """What a [model.NAME] names must be there, and its words must be known.

    Raises:
        BuildFileError: The key and its line are named.
    """
    table = file.models[name]
    for key in _FUNCTIONS:
        given = getattr(table, key)
        if given is not None and user_code.split(given) is None:
            what = f"is {build_keys.shown(given)}, which names no function"
            raise wrong(file, ["model", name, key], what, f'write {key} = "FILE.py:FUNCTION"')
    for key in _WORDS:
        _check_word(file, name, key)
    for key in _PATHS:
        given = getattr(table, key)
        if given is None or (key == "metric" and user_code.split(given) is None):
            continue
        if reason := build_paths.lacking(Path(file.directory) / build_paths.named(given)):
            fix = "correct it; paths are relative to this file"
            raise wrong(file, ["model", name, key], reason, fix)


def _check_word(file: BuildFile, name: str, key: str) -> None:
    table = file.models[name]
    given = getattr(table, key)
    if given is None:
        return
    try:
        metric_names.check_name(table.metric if key == "metric" else None)
        preprocess_names.parse(given if key == "preprocess" else "none")
    except UsageError as error:
        what = error.message.removeprefix(f"--{key} ")
        raise wrong(file, ["model", name, key], what, error.fix) from None
    if table.data is None:
        fix = f'add data = "FILE.npz" to [model.{name}], or take {key} out'
        raise wrong(file, ["model", name, key], "says nothing without data", fix)


def compressible(file: BuildFile, build: Build, name: str, recipe: str) -> None:
    """Recipes change Keras layers, and some formats have none.

    Raises:
        BuildFileError: A recipe is to change such a model.
    """
    path = file.models[name].path
    if Path(path).suffix.lower() in _NO_LAYERS:
        raise wrong(
            file, [*build_keys.steps(build.key), "recipe"],
            f"{recipe} changes Keras layers, and model {name} is {build_keys.shown(path)}",
            f'recipe = "none" for {name}, or name the Keras model that it was made from',
        )  # fmt: skip


def combination(
    file: BuildFile, build: Build, name: str, profile: Profile, precision: Precision
) -> None:
    """A precision that a target does not run, data that it needs, C sources that cannot be.

    Raises:
        BuildFileError: The combination cannot be made.
        EdgekitError: As the registry says of a format.
    """
    supported = profile.precision.supported
    if precision not in supported:
        raise wrong(
            file, build.key, f"{profile.name} does not run {precision}; it runs"
            f" {', '.join(supported)}", "take that combination out",
        )  # fmt: skip
    if precision in STATIC_PRECISIONS and file.models[name].data is None:
        raise wrong(
            file, ["model", name],
            f"has no data, and {precision} for {profile.name} needs calibration data",
            'add data = "FILE.npz", or another precision to the [[build]]',
        )  # fmt: skip
    if build.max_drop is not None and file.models[name].data is None:
        raise wrong(
            file, ["model", name], f"has no data, which max_drop of {build.key} needs",
            'add data = "FILE.npz"',
        )  # fmt: skip
    try:
        registry.converter_reference(profile.format)
        if build.emit:
            types = build.input_type, build.output_type
            header = Path(f"{name}.h")
            emission_plan.check_options(build.emit, precision, *types, build.batch, header)
            emission_plan.check_profile(build.emit, profile)
    except UsageError as error:
        raise wrong(file, build.key, error.message, error.fix) from None
    except EdgekitError as error:
        raise _as(error, file, build_keys.steps(build.key)) from None


def device(file: BuildFile, bench: Bench, url: str) -> None:
    """A kind of device that there is; of emulated ones also which.

    Raises:
        EdgekitError: As the registry says of it.
    """
    try:
        target = registry.target(url.partition("://")[0])
        if hasattr(target, "check"):
            target.check(url)
    except EdgekitError as error:
        raise _as(error, file, [*build_keys.steps(bench.key), "device"]) from None


def wrong(file: BuildFile, where: str | Sequence[Key], what: str, fix: str) -> BuildFileError:
    """The error with the file, the line of a key, and the key.

    Args:
        file: What `build_file.read` gave.
        where: The key's steps; or as messages show it, where none of them has a dot.
        what: Is wrong.
        fix: What to write.
    """
    keys = build_keys.steps(where) if isinstance(where, str) else where
    return build_keys.wrong(Source(Path(file.path), file.text), keys, what, fix)


def _as(error: EdgekitError, file: BuildFile, keys: Sequence[Key]) -> EdgekitError:
    """An error of what the file names, with the line that names it."""
    return type(error)(wrong(file, keys, error.message, "").message, error.fix)
