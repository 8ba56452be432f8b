"""The data that all stages share: words, tensors, models, samples, references, figures, errors.

What one part alone needs stands beside it: `profile_types`, `recipe_types`, `manifest_types`,
`result_types` and so on, which build on these. Every type is frozen and has no behaviour. msgspec
checks what is read from files and names the key that is wrong; `edgekit schema NAME` prints the
JSON Schema of each.

Units stand in the names: `_s` seconds, `_bytes` bytes, `_hz` hertz. `None` means *not measured*
or *not known*, never zero and never an estimate.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from msgspec import Meta, Struct

if TYPE_CHECKING:  # a batch is never encoded, and `--help` must not pay for numpy
    import numpy as np
    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-weight", "int4-weight", "int16x8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
STATIC_PRECISIONS = ("int8", "int16x8")
"""Precisions whose activation ranges come from calibration data."""

IoType = Literal["float32", "float16", "int8", "uint8", "int16"]
IO_TYPES: tuple[str, ...] = get_args(IoType)

Emit = Literal["c", "c-array"]
EMITS: tuple[str, ...] = get_args(Emit)

Role = Literal["train", "val", "calib", "test"]
ROLES: tuple[Role, ...] = get_args(Role)

SCHEMA_VERSION = 1

PositiveInt = Annotated[int, Meta(gt=0)]
PositiveFloat = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
Text = Annotated[str, Meta(min_length=1)]
Dimension = int | None
"""One axis of a shape; None is a size that may vary."""


# --------------------------------------------------------------------------- tensors and models


class TensorSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of a model or artifact.

    `scale` and `zero_point` are those of an integer tensor: real = scale · (q − zero_point).
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class ModelFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A model file whose content has been looked at, and found whole and harmless.

    `family` says which source reads it; `format` what it is, whatever its name ends in.
    """

    path: str
    family: Literal["keras", "tflite", "onnx"]
    format: Literal["keras", "h5", "savedmodel", "tflite", "onnx"]
    sha256: str
    size_bytes: int


class LayerInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """One layer (Keras) or operator (TFLite, ONNX) of a model.

    `macs` counts multiply-accumulates of one sample; None where the layer's type has no rule.
    `version` is the version of a TFLite operator.
    """

    name: str
    kind: str
    output_shape: tuple[Dimension, ...] | None = None
    parameters: int = 0
    macs: int | None = None
    dtype: str | None = None
    version: PositiveInt | None = None


class ModelInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit inspect` knows of a model file.

    `generation` is "keras3", "keras2" (read by tf_keras and replayed), or None for other formats.
    `uncounted` names the kinds of layers whose MACs no rule covers. `opset` are the operator sets
    of an .onnx with their versions.
    """

    path: str
    format: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[LayerInfo, ...]
    parameters: int
    macs: int | None
    generation: str | None = None
    precision: str | None = None
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    opset: str | None = None


# --------------------------------------------------------------------------------------- data


class Batch(Struct, frozen=True, eq=False):
    """Consecutive samples: arrays of shape [n, …] by input name, and their labels if there are."""

    x: dict[str, NDArray[np.generic]]
    y: NDArray[np.generic] | None = None


class Preprocess(Struct, frozen=True, forbid_unknown_fields=True):
    """What `--preprocess` does to raw values, in this order: (x / divide_by − mean) / std.

    `mean` and `std` hold one value, or one per channel; empty leaves that part out. `bgr` turns
    the channels around first.
    """

    text: str
    divide_by: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    bgr: bool = False


# ------------------------------------------------------------------------ references and figures


class FileRef(Struct, frozen=True, forbid_unknown_fields=True):
    """A file (or directory, or set of files) and what it contained."""

    path: str
    sha256: str
    size_bytes: int


class DataRef(Struct, frozen=True, forbid_unknown_fields=True):
    """The data a stage used. `notes` say how roles were made where the data did not give them."""

    spec: str
    sha256: str
    preprocess: str
    metric: str | None = None
    notes: tuple[str, ...] = ()


class Accuracy(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric with its 95 % interval; n is the number of samples (or of groups of samples).

    `labels_sha256` is that of the labels in order, which tells one role from another of its size.
    """

    metric: str
    value: float
    ci95: tuple[float, float] | None
    n: int
    higher_is_better: bool = True
    labels_sha256: str | None = None


# --------------------------------------------------------------------------- dry run, schemas


class SchemaList(Struct, frozen=True, forbid_unknown_fields=True):
    """The names that `edgekit schema` knows."""

    schema: Literal["edgekit.schemas/1"]
    names: tuple[str, ...]


class DryRun(Struct, frozen=True, forbid_unknown_fields=True):
    """What a command with `--dry-run` would do: what it would run, and the files it would write.

    `expected` is what the target's profile says that it would buy.
    """

    schema: Literal["edgekit.dry-run/1"]
    runs: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------- errors


class ErrorBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`code` is the exit code; `kind` the class of the error."""

    code: int
    kind: str
    message: str
    fix: str


class ErrorReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `--json` prints when a command fails."""

    schema: Literal["edgekit.error/1"]
    error: ErrorBody
