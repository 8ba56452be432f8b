"""What each step of a recipe does to the model in its worker.

Nothing here imports a framework.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgekit import (
    automatic_shares,
    channel_schedule,
    compression_state,
    compression_warnings,
    prune_schedule,
    quantize_changes,
    recipe_steps,
    tfmot_recipes,
    tfmot_steps,
    training_loop,
)
from edgekit.compression_state import Work
from edgekit.manifest_types import Trained
from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    DistillStep,
    FinetuneStep,
    PruneStep,
    QuantizeStep,
    RecipeStep,
    SimplifyStep,
    TrainedStep,
)

TAYLOR_SAMPLES = 1024
"""Training samples whose gradients rate channels."""


def change(work: Work, step: RecipeStep, name: str) -> dict[str, Any]:
    """Carries one step out, and returns what there is to say of it in the manifest."""
    if tfmot_recipes.takes(step):
        return tfmot_steps.change(work, step, name)
    match step:
        case SimplifyStep():
            return _simplify(work, step)
        case ChannelsStep():
            return _cut_channels(work, step, name)
        case PruneStep():
            return _prune(work, name, step)
        case ClusterStep():
            return _cluster(work, name, step)
        case FinetuneStep() | DistillStep() | QuantizeStep():
            return _changed_by_training(work, name, step)


def _changed_by_training(
    work: Work, name: str, step: FinetuneStep | DistillStep | QuantizeStep
) -> dict[str, Any]:
    if not isinstance(step, QuantizeStep):
        return _trained(work, name, step)
    with quantize_changes.twin(work, step, name) as detail:
        if step.mode == "qat":
            return detail | _trained(work, name, step)
        return detail | quantize_changes.refine(work, name)


def _simplify(work: Work, step: SimplifyStep) -> dict[str, Any]:
    probes = str(work.probes) if work.probes else None
    simplified: dict[str, Any] = work.worker.call(
        "apply_simplify", for_inference=step.for_inference, probes=probes
    )
    return simplified


def _trained(
    work: Work, name: str, step: TrainedStep, holding: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Trains, with a teacher where the step has one; see `_train`."""
    detail: dict[str, Any] = {}
    if isinstance(step, DistillStep) or (not isinstance(step, FinetuneStep) and step.weight > 0):
        teacher = work.plan.teacher if isinstance(step, DistillStep) and step.teacher else None
        path = teacher.path if teacher else None
        opened = work.worker.call("open_teacher", path=path, trust=work.plan.asked.trust)
        for note in opened["notes"]:
            work.progress(f"{name}: {note}")
        taught_by = teacher or work.plan.source
        detail["teacher"] = {"path": taught_by.path, "sha256": taught_by.sha256}
    trained = _train(work, name, step, holding)
    return detail | {"training": [msgspec.to_builtins(trained)]}


def _cut_channels(work: Work, step: ChannelsStep, name: str) -> dict[str, Any]:
    """All iterations of a channels step, with training between them."""
    asked, multiple = work.plan.asked, work.plan.channel_multiple
    source = work.steps[0].detail
    made: list[dict[str, Any]] = []
    trainings: list[dict[str, Any]] = []
    measured: list[dict[str, Any]] = []
    for iteration in range(1, step.iterations + 1):
        label = f"{name} {iteration}/{step.iterations}" if step.iterations > 1 else name
        if step.criterion == "taylor":
            work.progress(f"{label}: gradients of {TAYLOR_SAMPLES} training samples")
            work.worker.call(
                "taylor_scores", samples=TAYLOR_SAMPLES, loss=asked.loss, seed=asked.seed
            )
        elif step.criterion == "reconstruction":
            work.progress(f"{label}: choosing channels, and adjusting what reads them")
        amount = channel_schedule.amount(step, iteration, source, work.worker.call("describe"))
        if step.ratio == "auto":
            amount["curves"] = automatic_shares.of_channels(work, step, label)
            measured.append({"iteration": iteration, "curves": amount["curves"]})
        cut = work.worker.call(
            "apply_channels",
            criterion=step.criterion,
            scope=step.scope,
            multiple=multiple,
            seed=asked.seed,
            **amount,
        )
        made.append(cut)
        if iteration < step.iterations:
            between = FinetuneStep(epochs=step.epochs)
            trainings.append(msgspec.to_builtins(_train(work, label, between)))
    merged = channel_schedule.merged(made)
    # Reconstruction holds what is normalized where it was; a few samples may know it less well.
    adjusted = step.criterion == "reconstruction"
    if not adjusted:
        merged |= _recalibrated(work)
    if measured:
        merged["sensitivity"] = automatic_shares.evidence(work, measured)
    return {**merged, "multiple": multiple, **({"training": trainings} if trainings else {})}


def _prune(work: Work, name: str, step: PruneStep) -> dict[str, Any]:
    """Zeros at once and then training, or zeros that come while it trains.

    What training leaves is pruned once more: nothing changes there, unless it was broken off.
    """
    step = prune_schedule.with_rate(step)
    if work.worker.call("held")["clusters"]:
        compression_state.warn(work, compression_warnings.PARTED)
    sparsity, told = _sparsity(work, name, step)
    amount = {"sparsity": sparsity, "pattern": step.pattern, "scope": step.scope}
    gradual = step.epochs > 0 and step.schedule == "polynomial"
    trained: dict[str, Any] = {}
    if gradual:
        trained = _trained(work, name, step, {"prune": amount})
    made: dict[str, Any] = work.worker.call("apply_prune", **amount, trained=step.epochs > 0)
    if not gradual:
        made |= _recalibrated(work)
        trained = _trained(work, name, step) if step.epochs else {}
    compression_state.warn(work, *compression_warnings.of_values("prune", made["applied"]))
    return made | told | trained


def _sparsity(
    work: Work, name: str, step: PruneStep
) -> tuple[float | dict[str, float], dict[str, Any]]:
    """The share of zeros, of all layers or by layer, and what it was chosen by."""
    if step.sparsity != "auto":
        return step.sparsity, {}
    shares, evidence = automatic_shares.of_weights(work, step, name)
    return shares, {"sensitivity": evidence}


def _cluster(work: Work, name: str, step: ClusterStep) -> dict[str, Any]:
    """Values that weights share, and then training of those values."""
    made: dict[str, Any] = work.worker.call(
        "apply_cluster",
        clusters=step.clusters,
        init=step.init,
        seed=work.plan.asked.seed,
        for_int8=recipe_steps.plans_int8(work.plan.steps),
        trained=step.epochs > 0,
    )
    compression_state.warn(work, *compression_warnings.of_values("cluster", made["applied"]))
    if not work.plan.asked.simplify:
        compression_state.warn(work, compression_warnings.UNFOLDED)
    trained = _trained(work, name, step) if step.epochs else {}
    return {**made, "for_int8": recipe_steps.plans_int8(work.plan.steps), **trained}


def _recalibrated(work: Work) -> dict[str, Any]:
    """Batch normalization measured again, where training samples are at hand."""
    if not any(map(recipe_steps.trains, work.plan.steps)):
        return {}
    return {"recalibrated": work.worker.call("recalibrate", seed=work.plan.asked.seed)}


def _train(
    work: Work, name: str, step: TrainedStep, holding: dict[str, Any] | None = None
) -> Trained:
    """One training.

    Args:
        work: With samples that judge, and a teacher if the step has one.
        name: What progress calls it.
        step: How long and how.
        holding: What the worker has to know of the step, if weights are held to something.
    """
    assert work.choosing is not None, "a recipe that trains has data"
    choosing = work.choosing
    distill = None
    if not isinstance(step, FinetuneStep) and step.weight > 0:
        features = step.features if isinstance(step, DistillStep) else False
        distill = {"temperature": step.temperature, "weight": step.weight, "features": features}
    session = training_loop.Session(
        epochs=step.epochs,
        patience=step.patience,
        settings={
            "learning_rate": step.learning_rate,
            "batch_size": step.batch_size,
            "seed": work.plan.asked.seed,
            "loss": work.plan.asked.loss,
            "distill": distill,
            **({"holding": holding} if holding else {}),
        },
        judge=lambda: compression_state.judge(work, choosing, "epoch"),
        progress=work.progress,
        bar=work.bar,
        name=name,
        earliest=prune_schedule.earliest_epoch(step.epochs) if holding else 0,
    )
    trained = training_loop.train(work.worker, session)
    compression_state.warn(work, *compression_warnings.of_training(name, trained))
    return trained
