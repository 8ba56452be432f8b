"""Writes a commented edgekit.toml from what is seen in a model and beside it."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from edgekit import build_file, data, files, hardware, inspection, recipe_files, registry
from edgekit import target_rules as rules
from edgekit.build_types import InitReport
from edgekit.errors import EdgekitError, OutputError, one_line
from edgekit.printing import shape
from edgekit.profile_types import Profile
from edgekit.types import ModelInfo, TensorSpec

MAX_DATA_FILES = 20
"""Files beside the model that are tried as its data."""


def init(
    model: str | Path,
    *,
    output: str | Path = build_file.DEFAULT,
    trust: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> InitReport:
    """Looks at a model, and writes an edgekit.toml that `edgekit run` can run as it stands.

    Args:
        model: .keras, .h5, SavedModel directory, .tflite or .onnx.
        output: The file to write; paths in it are relative to its directory.
        trust: Load a model whose code cannot be known to be safe.
        force: Replace a file that stands there.
        dry_run: Write nothing.

    Raises:
        ModelError: The model cannot be read.
        OutputError: Something stands at `output`, or it cannot be written.
    """
    output = Path(output)
    if output.is_dir():
        named = output / build_file.DEFAULT
        raise OutputError(f"{output} is a directory", f"name a file, as in -o {named}")
    if (output.exists() or output.is_symlink()) and not force:
        raise OutputError(f"{output} exists", "add --force to replace it, or choose another -o")
    info = inspection.inspect(model, trust=trust)
    spec = _relative(Path(model), output)
    found = _data(Path(model), info.inputs)
    fitting = tuple(_fitting(info))
    data_spec = _relative(found, output) if found else None
    text = _text(_name(Path(model)), spec, info, data_spec, fitting)
    build_file.parse(output, text)
    if not dry_run:
        files.write_atomic(output, text.encode())
    return InitReport("edgekit.init/1", str(output), text, str(found) if found else None, fitting)


def _text(name: str, spec: str, info: ModelInfo, found: str | None, fitting: Sequence[str]) -> str:
    target = "host" if "host" in fitting or not fitting else fitting[0]
    others = ", ".join(one for one in fitting if one != target) or "none that is known"
    fit_too = textwrap.fill(
        f"fit too: {others}",
        98,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
    )
    precisions = _precisions(hardware.load(target), found)
    data_line = f"data = {_quoted(found)}" if found else '# data = "data.npz"'
    why = "its samples fit the model" if found else "needed for int8, accuracy and training"
    listed = ", ".join(map(_quoted, precisions))
    metric = "" if found else "# "
    return f"""\
# What `edgekit run` makes of {one_line(spec)}; `edgekit run --dry-run` says what it would do.
# `edgekit schema build-file` prints this file's JSON Schema, for editors.

[model.{name}]
path = {_quoted(spec)}
# inputs: {_interface(info.inputs)}
# outputs: {_interface(info.outputs)}
{data_line}  # {why}
# An .npz (x_train, y_train, x_test, y_test, or x, y), a directory [role/]CLASS/image, or
# file.py:function.
# preprocess = "none"  # or unit, signed, imagenet-torch, imagenet-caffe, mean=…,std=…
# metric = "top1"  # or top5, auc, binary, mse, iou, file.py:function

[[build]]  # one artifact per model × recipe × target × precision, in build/
model = {_quoted(name)}
recipe = ["none"]  # as it is; of `edgekit recipes list`: {_recipes(info)}
target = [{_quoted(target)}]
{fit_too}
precision = [{listed}]{"" if found else '  # "int8" too, once there is data'}

# [device]
# pi = "ssh://pi@kitchen.local"

[[bench]]
target = {_quoted(target)}
device = "local"  # or a name of [device], or a URL
budget = 30  # seconds, for each model and device

[check]  # for `edgekit check`; per model, target or both: [check.{name}.{target}]
{metric}max_drop = "1%"
# max_size_bytes = {info.size_bytes}  # what the model itself takes
# max_latency_ms = 10
# max_memory_bytes = 10000000
# baseline = "baselines/{name}.json"
"""


def _interface(specs: Sequence[TensorSpec]) -> str:
    return one_line(", ".join(f"{one.name} {one.dtype} {shape(one.shape)}" for one in specs))


def _precisions(profile: Profile, found: str | None) -> list[str]:
    wanted = ["fp32", "int8" if found else "int8-dynamic"]
    return [one for one in wanted if one in profile.precision.supported] or [
        profile.precision.default
    ]


def _recipes(info: ModelInfo) -> str:
    if info.format in ("tflite", "onnx"):
        return "none, since they change Keras models"
    return ", ".join(name for name in recipe_files.names()[:3]) + ", …"


def _fitting(info: ModelInfo) -> list[str]:
    """The targets that this version converts for, and that take the model."""
    profiles = [hardware.load(name) for name in hardware.names()]
    return [one.name for one in profiles if _fits(info, one)]


def _fits(info: ModelInfo, profile: Profile) -> bool:
    if profile.format not in registry.FORMATS:
        return False
    hubs = registry.FORMATS[profile.format].hubs
    if info.format in ("tflite", "onnx") and info.format not in hubs:
        return False
    found = rules.check(info, profile, profile.precision.default)
    return all(one.severity != "error" for one in found)


def _data(model: Path, inputs: Sequence[TensorSpec]) -> Path | None:
    """The only .npz beside the model whose samples it takes."""
    beside = sorted(model.absolute().parent.glob("*.npz"))[:MAX_DATA_FILES]
    fitting = [place for place in beside if _takes(place, inputs)]
    return model.parent / fitting[0].name if len(fitting) == 1 else None


def _takes(place: Path, inputs: Sequence[TensorSpec]) -> bool:
    try:
        return "test" in data.open_data(str(place), inputs=inputs).parts
    except EdgekitError:
        return False


def _name(model: Path) -> str:
    """A model's name from its file's: it becomes part of paths, and must be no target's."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", model.stem).strip("-_")[:70] or "model"
    return f"{name}-model" if name in hardware.names() else name


def _relative(place: Path, output: Path) -> str:
    return Path(os.path.relpath(place.absolute(), output.absolute().parent)).as_posix()


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's form, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
