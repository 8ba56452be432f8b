"""The data of recipes: their steps, what steps take out of a model, and what they claim to buy."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from edgekit.profile_types import Technique
from edgekit.types import PositiveFloat, PositiveInt, Precision

Budget = Annotated[int, Meta(ge=1)] | Annotated[float, Meta(gt=0, lt=1)]
"""A number, or a share of what the source has."""

Epochs = Annotated[int, Meta(ge=1, le=10_000)]
EpochsOrNone = Annotated[int, Meta(ge=0, le=10_000)]
Temperature = Annotated[float, Meta(gt=0, le=100)]

TaughtShare = Annotated[float, Meta(ge=0, le=1)]
"""The teacher's share of the loss; the labels have the rest, and 0 asks no teacher."""

Engine = Literal["own", "tfmot"]
"""Who carries a step out: edgekit, or TensorFlow Model Optimization."""

Scheme = Literal["litert", "openvino", "tensorrt"]
"""Whose rules int8 follows: which tensors are quantized, and whether their zero points may move."""


class Shape(NamedTuple):
    """A sparsity pattern: N and M of "N:M", or rows (inputs) and columns (outputs) of blocks."""

    kind: Literal["unstructured", "N:M", "RxC"]
    rows: int = 1
    columns: int = 1


def pattern_of(text: str) -> Shape:
    """The pattern that a prune step names: "unstructured", "2:4", "1x16"."""
    if text == "unstructured":
        return Shape("unstructured")
    first, between, second = re.split("([:x])", text)
    return Shape("N:M" if between == ":" else "RxC", int(first), int(second))


class SimplifyStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="simplify"
):
    """Removes what does not change the outputs.

    `for_inference` also folds batch normalization and removes Dropout: for models that are not
    trained any more.
    """

    for_inference: bool = True


class ChannelsStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="channels"
):
    """Removes the least important channels.

    Exactly one of `ratio` (a share of the channels, per layer or over all of them), `max_macs` and
    `max_parameters` (a number, or a share below 1 of the source's) says how far. The ratio "auto"
    takes a share per layer from its sensitivity, as far as one of the budgets or `overall` says
    (a share of all channels; not given, 0.5). With several `iterations` the model is trained for
    `epochs` after each but the last. The criterion "reconstruction" also adjusts the weights that
    read what goes.
    """

    ratio: Annotated[float, Meta(gt=0, lt=1)] | Literal["auto"] | None = None
    overall: Annotated[float, Meta(gt=0, le=0.9)] | None = None
    max_macs: Budget | None = None
    max_parameters: Budget | None = None
    criterion: Literal["l1", "l2", "bn-scale", "taylor", "reconstruction"] = "l1"
    scope: Literal["layer", "global"] = "layer"
    iterations: Annotated[int, Meta(ge=1, le=100)] = 1
    epochs: Epochs = 1


class FinetuneStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="finetune"
):
    """Trains on the labels. None: what `compress` finds suitable, and says.

    Training ends after `patience` epochs without improvement on the choosing samples, and the best
    epoch is kept, even if that is the one before training.
    """

    epochs: Epochs = 10
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


class DistillStep(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="distill"):
    """Trains on the outputs of a teacher: by default the source, as it was before compression.

    `weight` is the teacher's share of the loss, the labels have the rest. `features` also makes
    inner activations alike, through a learned projection: true for pairs that are found by their
    shapes, or names as "layer" or "layer=teacher_layer".
    """

    teacher: str | None = None
    temperature: Annotated[float, Meta(gt=0, le=100)] = 4.0
    weight: Annotated[float, Meta(gt=0, le=1)] = 0.9
    features: bool | tuple[str, ...] = False
    epochs: Epochs = 10
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


class PruneStep(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="prune"):
    """Sets the smallest weights to zero, and keeps them there through all later steps.

    `sparsity` is the share of zeros, of every layer or over all of them (`scope`); "auto" takes a
    share per layer from its sensitivity, `overall` of all weights (not given, 0.8). The pattern is
    "unstructured", "N:M" (of M neighbours along a kernel's input, N stay), or "RxC" (blocks of R
    inputs by C outputs). With the schedule "polynomial" the zeros come little by little while it
    trains, with "constant" all at once before; `epochs = 0` trains not at all. The source teaches
    with `weight` of the loss. The learning rate is 0.001 where none is given, whatever the model
    was compiled with.
    """

    sparsity: Annotated[float, Meta(gt=0, lt=1)] | Literal["auto"]
    overall: Annotated[float, Meta(gt=0, le=0.95)] | None = None
    schedule: Literal["constant", "polynomial"] = "polynomial"
    pattern: Annotated[str, Meta(pattern=r"^(unstructured|[1-9]\d?(:|x)[1-9]\d?)$(?!\n)")] = (
        "unstructured"
    )
    scope: Literal["layer", "global"] = "layer"
    engine: Engine = "own"
    temperature: Temperature = 4.0
    weight: TaughtShare = 0.9
    epochs: EpochsOrNone = 10
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


class ClusterStep(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cluster"):
    """Gives the weights of each layer at most `clusters` values, zeros kept as one of them.

    `init` is how k-means begins. The values are then trained, for `epochs`; 0 trains not at all.
    """

    clusters: Annotated[int, Meta(ge=2, le=256)]
    init: Literal["density", "k-means++"] = "density"
    engine: Engine = "own"
    temperature: Temperature = 4.0
    weight: TaughtShare = 0.9
    epochs: EpochsOrNone = 10
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


class QuantizeStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="quantize"
):
    """The precision that `convert` takes by default; always the last step.

    Mode "qat" first trains with int8 simulated, "ptq" with `refine` adjusts weights and ranges to
    it on unlabelled samples. `scheme` is whose int8: None is that of the target, or LiteRT's.
    The other keys are those of the mode "qat".
    """

    mode: Literal["ptq", "qat"] = "ptq"
    precision: Precision = "int8"
    refine: bool = False
    scheme: Scheme | None = None
    engine: Engine = "own"
    temperature: Temperature = 4.0
    weight: TaughtShare = 0.9
    epochs: Epochs = 5
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


RecipeStep = (
    SimplifyStep
    | ChannelsStep
    | FinetuneStep
    | DistillStep
    | PruneStep
    | ClusterStep
    | QuantizeStep
)
"""One `[[step]]` of a recipe; its `kind` says which."""

TrainedStep = FinetuneStep | DistillStep | PruneStep | ClusterStep | QuantizeStep
"""Steps that are trainings, or can be: all have epochs, a rate, patience and a batch size."""


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """The ordered compression steps, as data."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$(?!\n)", max_length=80)]
    step: Annotated[tuple[RecipeStep, ...], Meta(min_length=1)]
    title: str = ""


class RecipeList(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit recipes list` found."""

    schema: Literal["edgekit.recipes/1"]
    recipes: tuple[Recipe, ...]


class RecipeReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit recipes show` says. `sha256` is what a manifest records of it."""

    schema: Literal["edgekit.recipe-report/1"]
    recipe: Recipe
    sha256: str


class Removal(Struct, frozen=True, forbid_unknown_fields=True):
    """What was taken out of one layer, or had to stay in it, and why.

    `channels` is None where the layer as a whole is meant; `remaining` then too. `done` says what
    was done to the values of a layer that keeps its shape.
    """

    layer: str
    kind: str
    channels: int | None
    remaining: int | None
    why: str
    done: str = ""


class Simplification(Struct, frozen=True, forbid_unknown_fields=True):
    """What a lossless simplification did.

    `largest_difference` is relative to each output's largest magnitude; None if nothing was
    compared, since nothing was removed. `kept` are parts that are dead and could not go.
    """

    removed: tuple[Removal, ...]
    kept: tuple[Removal, ...]
    frozen: tuple[Removal, ...]
    parameters_before: int
    parameters_after: int
    largest_difference: float | None


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """What one step is expected to buy on a target, before it is measured: factors as in `Gain`.

    `step` is the kind of a recipe's step, or "convert"; `technique` what the profile's `[gain]`
    calls it, None where the step promises no gain. `share` is the share of the channels or weights
    that goes, None where a budget decides. `macs` is counted and not expected:
    multiply-accumulates before over after. `sources` gives, for each figure, where it comes from;
    `note` says what is not known and why.
    """

    step: str
    technique: Technique | None
    target: str | None
    latency: PositiveFloat | None = None
    raw_size: PositiveFloat | None = None
    zipped_size: PositiveFloat | None = None
    share: float | None = None
    macs: PositiveFloat | None = None
    sources: dict[str, str] = {}
    note: str = ""
