"""What the steps of a recipe would do to a model, layer by layer, with nothing trained or written.

What needs no data is carried out on copies, one step after the other, so that what is said of a
step holds for the model that the steps before it leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgekit import (
    channel_schedule,
    recipe_steps,
    tfmot_recipes,
)
from edgekit.compression import (
    channels,
    clustering,
    compile_config,
    graph,
    int8_rules,
    kernel_matrices,
    losses,
    pruning,
    quantizing,
    rebuilding,
    simplify,
    tfmot_rules,
)
from edgekit.compression.compile_config import CompileConfig
from edgekit.compression.importance import Criterion
from edgekit.errors import ModelError
from edgekit.inspect_types import Finding
from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    DistillStep,
    FinetuneStep,
    PruneStep,
    QuantizeStep,
    RecipeStep,
    Removal,
    SimplifyStep,
)


class Told(NamedTuple):
    """What is said of one step, the model after it, and its MACs before and after if counted."""

    model: Any
    applies: Sequence[Removal] = ()
    stays: Sequence[Removal] = ()
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    macs: tuple[int, int] | None = None


class _Setting(NamedTuple):
    """What holds for all steps: the channel multiple, and how the model was compiled.

    `per_tensor` are the TFLite operators whose weights get one int8 scale; "*" for all.
    """

    multiple: int
    compiled: CompileConfig | None
    for_int8: bool
    per_tensor: tuple[str, ...]


def explain(
    model: Any,
    steps: Sequence[RecipeStep],
    multiple: int,
    path: Path,
    per_tensor: Sequence[str] = (),
) -> Iterator[Told]:
    """Goes through a recipe.

    Args:
        model: A Keras 3 model; it is never changed.
        steps: With budgets as numbers, not as shares.
        multiple: What channel counts are rounded up to.
        path: The model's file, for how it was compiled.
        per_tensor: TFLite operators whose weights get one int8 scale on the target; "*" for all.

    Raises:
        ModelError: The model is subclassed, or a layer cannot be rebuilt.
    """
    setting = _Setting(
        multiple, compile_config.read(path), recipe_steps.plans_int8(steps), tuple(per_tensor)
    )
    for number, step in enumerate(steps):
        if tfmot_recipes.takes(step):
            told = _by_tfmot(step, model, pruned=any(map(_prunes, steps[:number])))
        else:
            told = _told(step, model, setting)
        model = told.model
        yield told


@singledispatch
def _told(step: RecipeStep, model: Any, setting: _Setting) -> Told:
    del model, setting
    raise AssertionError(f"{type(step).__name__} has no rule here")


@_told.register
def _simplify(step: SimplifyStep, model: Any, setting: _Setting) -> Told:
    del setting
    made, report = simplify.simplify(model, for_inference=step.for_inference)
    limits = () if report.removed else ("nothing can be removed that changes no output",)
    return Told(made, report.removed, (*report.kept, *report.frozen), notes=limits)


@_told.register
def _channels(step: ChannelsStep, model: Any, setting: _Setting) -> Told:
    taken = graph.read(model)
    by_data = step.criterion in {"taylor", "reconstruction"}
    by_weights: Criterion = "l1" if by_data else step.criterion
    ratio = channel_schedule.overall(step) if step.ratio == "auto" else step.ratio
    try:
        made = channels.prune_channels(
            taken, ratio, max_macs=_number(step.max_macs),
            max_parameters=_number(step.max_parameters), criterion=by_weights,
            scope=step.scope, multiple=setting.multiple,
        )  # fmt: skip
    except ModelError as error:
        return Told(model, findings=[Finding(None, error.message, error.fix)])
    changed = rebuilding.rebuild(taken) if made.removed else model
    return Told(
        changed,
        made.removed,
        made.kept,
        notes=tuple(_channel_notes(step, setting.multiple, by_weights)),
        macs=(made.before["macs"], made.after["macs"]),
    )


def _channel_notes(step: ChannelsStep, multiple: int, by_weights: str) -> Iterator[str]:
    if step.ratio == "auto":
        yield (
            "how many of each layer go is decided by its sensitivity on samples (edgekit inspect"
            " --sensitivity); shown is the same share of each"
        )
    if by_weights != step.criterion:
        which = "how many of each layer, and which," if step.scope == "global" else "which ones"
        yield f"{which} {step.criterion} decides on training data; shown is {by_weights}"
    if step.iterations > 1:
        yield f"shown at once; compress does it in {step.iterations} parts and trains between"
    if multiple > 1:
        yield f"channels that stay are rounded up to a multiple of {multiple}, for the target"


@_told.register(FinetuneStep)
@_told.register(DistillStep)
def _trains(step: FinetuneStep | DistillStep, model: Any, setting: _Setting) -> Told:
    weighted = [layer for layer in graph.read(model).layers.values() if layer.weights]
    stays = [
        Removal(layer.name, layer.kind, None, None, "its weights are frozen (trainable = False)")
        for layer in weighted
        if not layer.config.get("trainable", True)
    ]
    number = len(weighted) - len(stays)
    findings = [] if number else [_nothing_trains()]
    notes = [f"the weights of {number} layers are trained", _loss(setting.compiled, model)]
    if isinstance(step, DistillStep):
        notes.append(f"the teacher is {step.teacher or 'the model as it is now, uncompressed'}")
        findings += _unknown_features(step, model)
    return Told(model, stays=stays, findings=findings, notes=notes)


def _loss(compiled: CompileConfig | None, model: Any) -> str:
    names = [str(name) for name in model.output_names]
    stored = compiled.loss_of(names[0], 0, len(names)) if compiled else None
    if stored is None:
        return "the model was saved without its loss: output and labels decide, which takes --data"
    own = losses.described(stored)
    if own is None:
        return (
            f"the model's own loss ({losses.stored_name(stored)}) is not one of Keras: output and"
            " labels decide, which takes --data, or name it with --loss"
        )
    return f"the loss is the one that the model was compiled with: {own}"


def _nothing_trains() -> Finding:
    return Finding(None, "none of the layers has weights that train", "set trainable = True")


def _unknown_features(step: DistillStep, model: Any) -> list[Finding]:
    names = step.features if isinstance(step.features, tuple) else ()
    known = [str(layer.name) for layer in model.layers]
    return [
        Finding(own, f"features names {own}, and no layer is called so",
                f"name one of {', '.join(known[:8])}{', …' if len(known) > 8 else ''}")
        for own in (name.partition("=")[0] for name in names)
        if own not in known
    ]  # fmt: skip


@_told.register
def _prune(step: PruneStep, model: Any, setting: _Setting) -> Told:
    if step.sparsity == "auto":
        kernels, stays = kernel_matrices.find(model, trained=step.epochs > 0)
        why = "as much as its sensitivity allows, which compress measures"
        applies = [Removal(one.layer, one.kind, None, None, why, "some zeros") for one in kernels]
        return Told(model, applies, stays, notes=tuple(_training_notes(step, model, setting)))
    made = rebuilding.rebuild(graph.read(model))
    amount = pruning.Amount(step.sparsity, step.pattern, step.scope)
    applies, stays = pruning.prune(made, amount, trained=step.epochs > 0)
    findings = [] if applies else [_nothing_fits(f"the pattern {step.pattern}")]
    notes = list(_training_notes(step, model, setting))
    if step.epochs and step.schedule == "polynomial":
        notes.append("which weights go is decided while it trains; shown are the smallest of now")
    return Told(made, applies, stays, findings, notes)


@_told.register
def _cluster(step: ClusterStep, model: Any, setting: _Setting) -> Told:
    made = rebuilding.rebuild(graph.read(model))
    applies, stays = clustering.cluster(
        made, step.clusters, step.init, seed=0, for_int8=setting.for_int8, trained=step.epochs > 0
    )
    findings = [] if applies else [_nothing_fits(f"{step.clusters} values")]
    notes = list(_training_notes(step, model, setting))
    if setting.for_int8:
        notes.append("values are shared as parts of each output's largest weight, for int8")
    return Told(made, applies, stays, findings, notes)


def _training_notes(step: PruneStep | ClusterStep, model: Any, setting: _Setting) -> Iterator[str]:
    if step.epochs == 0:
        yield "nothing is trained"
        return
    yield _loss(setting.compiled, model)
    if step.weight:
        yield "the teacher is the model as it is now, uncompressed"


def _nothing_fits(what: str) -> Finding:
    return Finding(None, f"no layer takes {what}", "`stays` says why, layer by layer")


@_told.register
def _quantize(step: QuantizeStep, model: Any, setting: _Setting) -> Told:
    if step.mode == "ptq" and not step.refine:
        return Told(model, notes=["left to convert, by the rules of its target"])
    taken = graph.read(quantizing.folded(model))
    scheme = step.scheme or "litert"
    found = int8_rules.rules(taken, scheme, setting.per_tensor if scheme == "litert" else ())
    applies = [
        Removal(name, taken.layers[name].kind, None, None, f"int8 weights, {_scales(parts)}")
        for name, parts in found.kernels.items()
    ]
    stays = [
        Removal(name, taken.layers[name].kind, None, None, f"float in training: {why}")
        for name, why in found.float_layers.items()
    ]
    what = "trained" if step.mode == "qat" else "refined on samples, without labels,"
    note = (
        f"{len(found.kernels)} layers are {what} with int8 simulated as {scheme} has it;"
        f" {sum(site.limits is None for site in found.sites())} activations have ranges"
    )
    return Told(model, applies, stays, notes=[note])


def _scales(parts: Sequence[int8_rules.Kernel]) -> str:
    return "a scale per channel" if any(one.channels for one in parts) else "one scale"


def _prunes(step: RecipeStep) -> bool:
    return isinstance(step, PruneStep)


def _by_tfmot(step: tfmot_recipes.Step, model: Any, *, pruned: bool) -> Told:
    """What TFMOT treats, and what it leaves: in silence, or by refusing the whole model."""
    taken = graph.read(model)
    ruling = tfmot_rules.of_step(taken, step, zeros=pruned)
    applies, stays = (
        [
            Removal(name, taken.layers[name].kind, None, None, why)
            for name, why in found.items()
            if why
        ]
        for found in (ruling.treated, ruling.left)
    )
    findings = (
        [] if applies else [Finding(None, "TFMOT treats no layer of it", tfmot_rules.OWN_ENGINE)]
    )
    notes = ["done by TensorFlow Model Optimization in tf_keras, trained on labels alone"]
    return Told(model, applies, stays, findings, notes)


def _number(budget: float | None) -> int | None:
    assert budget is None or budget >= 1, "a share was not made a number"
    return None if budget is None else int(budget)


def as_plain(told: Told) -> dict[str, Any]:
    """What is said, without the model, as JSON takes it."""
    plain: dict[str, Any] = {
        key: msgspec.to_builtins(value) for key, value in told._asdict().items() if key != "model"
    }
    return plain
