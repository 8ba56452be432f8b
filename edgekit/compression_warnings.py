"""What `compress` warns of: accuracy that was lost, trainings that failed or did not help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit import metrics, units
from edgekit.manifest_types import PairedChange, Step, Trained
from edgekit.types import Accuracy, Role

SIGNIFICANT = 0.05

UNFOLDED = (
    "cluster: with --no-simplify only convert folds batch normalization, which multiplies each"
    " channel by its own number: values that weights share are no longer equal in the artifact"
)
REFINED = (
    "quantize: refine moved each weight by itself: those that shared values (cluster) are no longer"
    " equal"
)
PER_CHANNEL = (
    "quantize: the values that weights share (cluster) were not chosen for int8, which has a scale"
    " for each channel: in the artifact each channel has bytes of its own; cluster for int8 in the"
    " same recipe, with edgekit's own engine, to have them shared"
)
UNKNOWN_TO_TFMOT = (
    "quantize: the model's weights share values by channel (cluster), which TFMOT does not know and"
    ' does not hold; leave out engine = "tfmot" to have them held'
)
PARTED = "prune: the model's weights shared values (cluster), which are not held from here on"


def numbers(steps: Sequence[Step]) -> list[int]:
    """The number of each step as it is counted while running: source and student have none."""
    given = sum(step.name in {"source", "student"} for step in steps)
    return [max(0, place - given + 1) for place in range(len(steps))]


def failed_trainings(steps: Sequence[Step]) -> list[str]:
    """Each training whose loss stopped being a number, in words."""
    return [
        f"the loss of step {number} ({step.name}) was no finite number at training step"
        f" {made['failed_at_step']}; kept is {_epoch(made['best_epoch'])}"
        for number, step in zip(numbers(steps), steps, strict=True)
        for made in step.detail.get("training", ())
        if made["failed_at_step"] is not None
    ]


def of_channels(
    detail: dict[str, Any],
    source: Accuracy | None,
    made: Accuracy | None,
    role: Role | None,
    *,
    trained: bool,
) -> Iterator[str]:
    """Pruning that removed nothing, and what it has cost where no training follows.

    Args:
        detail: What the step says of itself.
        source: The source's accuracy on the choosing samples, where there are some.
        made: The pruned model's.
        role: Which samples these are.
        trained: Whether a later step trains.
    """
    if not detail["removed"]:
        budget = detail.get("budget")
        why = "`kept` in the manifest says why, layer by layer"
        if budget and budget["met_already"]:
            why = f"the model has {budget['before']:,} {budget['quantity']} already"
        elif detail.get("multiple", 1) > 1:
            why += f"; counts are kept at multiples of {detail['multiple']}"
        yield f"channels: nothing was removed; {why}"
        return
    if trained:
        return
    advice = "remove less, or add a step finetune or distill to the recipe"
    if source is None or made is None:
        yield (
            "channels were removed without training, which loses accuracy, and without labelled"
            f" --data it was not measured how much; {advice}"
        )
        return
    before, after = (units.metric(made.metric, one.value) for one in (source, made))
    yield (
        f"channels were removed without training: {made.metric} {before} → {after} on the {role}"
        f" role, a drop of {units.metric(made.metric, metrics.drop(source, made))}; {advice}"
    )


def of_values(kind: str, applied: Sequence[Any]) -> Iterator[str]:
    """A step prune or cluster that no layer took."""
    if not applied:
        yield f"{kind}: no layer was changed; `kept` in the manifest says why, layer by layer"


def of_shared_values(held: Mapping[str, Any], per_tensor: Sequence[str]) -> Iterator[str]:
    """Values that are equal as floats, before training that rounds each channel by its own scale.

    Args:
        held: A `held.Held` as plain data.
        per_tensor: TFLite operators whose weights have one scale; "*" for all.
    """
    if held["clusters"] and not held["for_int8"] and "*" not in per_tensor:
        yield PER_CHANNEL


def lost(source: Accuracy, made: Accuracy, paired: PairedChange | None) -> Iterator[str]:
    """A loss that chance does not explain.

    On the same samples McNemar's exact test says so; where samples are neither right nor wrong,
    the source has to lie outside the result's interval.

    Args:
        source: The source's accuracy on test.
        made: The result's.
        paired: Both, sample by sample, where that has a meaning.
    """
    if metrics.drop(source, made) <= 0:
        return
    if paired is not None:
        if paired.p_value >= SIGNIFICANT:
            return
        evidence = (
            f"(only the source is right on {paired.only_source_right} samples, only the result on"
            f" {paired.only_result_right}; McNemar: p {units.probability(paired.p_value)})"
        )
    elif made.ci95 is None or made.ci95[0] <= source.value <= made.ci95[1]:
        return
    else:
        evidence = units.metric_interval(made.metric, made.value, made.ci95)
    before, after = (units.metric(one.metric, one.value) for one in (source, made))
    yield (
        f"the result has lost accuracy: {made.metric} {before} → {after} {evidence} on test;"
        " remove less or train longer (--epochs), and set --max-drop to make such a loss an error"
    )


def of_training(name: str, trained: Trained) -> Iterator[str]:
    """A training that was broken off, or that no epoch of was worth keeping."""
    if trained.failed_at_step is not None:
        yield (
            f"{name}: the loss was no finite number at training step {trained.failed_at_step}, and"
            f" training stopped; kept is {_epoch(trained.best_epoch)}. The learning rate was"
            f" {trained.learning_rate:g}, the loss {trained.loss}"
        )
    elif trained.best_epoch == 0:
        yield (
            f"{name}: no epoch was better than the model before training, which is kept; the"
            f" learning rate was {trained.learning_rate:g}"
        )


def _epoch(number: int) -> str:
    return f"the model of epoch {number}" if number else "the model as it was before training"
