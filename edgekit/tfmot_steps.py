"""Steps of a recipe with `engine = "tfmot"`: a worker of their own, and the model's way there.

The compressor writes the model and has spooled the training samples; TFMOT's worker trains, driven
like the compressor is; the weights come back by layer. Nothing here imports a framework.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    compression_state,
    compression_warnings,
    prune_schedule,
    recipe_steps,
    registry,
    training_loop,
    workers,
)
from edgekit.compression_state import Work
from edgekit.manifest_types import Quantization
from edgekit.recipe_types import ClusterStep, PruneStep, QuantizeStep, RecipeStep, pattern_of
from edgekit.tfmot_recipes import ENGINE, Step
from edgekit.workers import Worker

NAME = "TensorFlow Model Optimization"


def change(work: Work, step: Step, name: str) -> dict[str, Any]:
    """Carries one step out, and returns what there is to say of it in the manifest.

    Raises:
        MissingExtra: TFMOT is not installed.
        ModelError: A layer has no equal in tf_keras, or TFMOT can treat none.
    """
    reference = registry.engine_reference(ENGINE)
    if isinstance(step, QuantizeStep) and _shares_by_channel(work.worker.call("held")):
        compression_state.warn(work, compression_warnings.UNKNOWN_TO_TFMOT)
    trained = recipe_steps.trains(step)
    directory = work.directory / "tfmot"
    directory.mkdir()
    try:
        with Worker(reference, NAME, environment=workers.KEEP_MEMORY) as engine:
            begun = _begin(work, engine, step, directory)
            _tell(work, name, begun["left"])
            training = _train(work, engine, step, name, directory) if trained else []
            if not trained:
                engine.call("apply_once")
            weights = str(directory / "weights.npz")
            finished = engine.call("finish", path=weights)
        taken = work.worker.call("take_weights", path=weights, **_held(work, step, after=True))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "left": [{"layer": layer, "why": why} for layer, why in begun["left"].items()],
        **taken,
        **({"training": training} if training else {}),
        **_quantization(work, step, finished),
    }


def held(steps: Sequence[RecipeStep], came: Mapping[str, Any]) -> dict[str, Any]:
    """What a model has that has to stay.

    Args:
        steps: Those that changed it.
        came: What it had before, of the recipe that wrote it: a `held.Held` as plain data.

    Returns:
        `zeros`: whether one pruned, `groups`: whether in a pattern N:M, and `clusters`: into how
        many values the last one clustered. Values by channel are none that TFMOT could hold.
    """
    prunes = [step for step in steps if isinstance(step, PruneStep)]
    pruned = bool(prunes)
    clustered = [step.clusters for step in steps if isinstance(step, ClusterStep)]
    parted = pruned or _shares_by_channel(came)
    before = None if parted else came["clusters"] or None
    return {
        "zeros": pruned or came["zeros"],
        "clusters": clustered[-1] if clustered else before,
        "groups": came["groups"] or any(pattern_of(step.pattern).kind == "N:M" for step in prunes),
    }


def _shares_by_channel(came: Mapping[str, Any]) -> bool:
    return bool(came["clusters"] and came["for_int8"])


def _held(work: Work, step: Step, *, after: bool = False) -> dict[str, Any]:
    came = [one.detail["held"] for one in work.steps if one.name in {"source", "student"}]
    return held([*_before(work, step), *([step] if after else [])], came[-1])


def _begin(work: Work, engine: Worker, step: Step, directory: Path) -> dict[str, Any]:
    model = directory / "before.keras"
    work.worker.call("save", path=str(model))
    begun: dict[str, Any] = engine.call(
        "begin",
        path=str(model),
        step=msgspec.to_builtins(step),
        held=_held(work, step),
        trust=work.plan.asked.trust,
    )
    return begun


def _before(work: Work, step: Step) -> tuple[RecipeStep, ...]:
    number = next(at for at, one in enumerate(work.plan.steps) if one is step)
    return work.plan.steps[:number]


def _tell(work: Work, name: str, left: dict[str, str]) -> None:
    for layer, why in left.items():
        work.progress(f"{name}: {layer}: {why}")


def _train(
    work: Work, engine: Worker, step: Step, name: str, directory: Path
) -> list[dict[str, Any]]:
    """Trains in TFMOT's worker; judged there, and by the same samples as always."""
    assert work.choosing is not None, "a recipe that trains has data"
    choosing, asked = work.choosing, work.plan.asked
    rate = (prune_schedule.with_rate(step) if isinstance(step, PruneStep) else step).learning_rate
    there = replace(work, worker=engine)
    if step.weight > 0:
        work.progress(f"{name}: TFMOT trains on labels alone; weight and temperature are not used")
    engine.call(
        "load_training",
        spooled=str(work.directory / "training"),
        preprocess=work.plan.preprocess,
        seed=asked.seed,
        augment=asked.augment,
        source=str((work.plan.student or work.plan.source).path),
        directory=str(directory / "training"),
    )
    session = training_loop.Session(
        epochs=step.epochs,
        patience=step.patience,
        settings={
            "learning_rate": rate,
            "batch_size": step.batch_size,
            "seed": asked.seed,
            "loss": asked.loss,
            "distill": None,
        },
        judge=lambda: compression_state.judge(there, choosing, "tfmot"),
        progress=work.progress,
        bar=work.bar,
        name=name,
    )
    trained = training_loop.train(engine, session)
    compression_state.warn(work, *compression_warnings.of_training(name, trained))
    return [msgspec.to_builtins(trained)]


def _quantization(work: Work, step: Step, finished: dict[str, Any]) -> dict[str, Any]:
    """Notes what `convert` needs of quantization-aware training."""
    if not isinstance(step, QuantizeStep):
        return {}
    work.quantization = Quantization(
        scheme="litert",
        mode="qat",
        precision=step.precision,
        ranges=msgspec.convert(finished["ranges"], dict[str, tuple[float, float]]),
        float_layers=finished["float_layers"],
    )
    return {"collaboration": finished["collaboration"], "scheme": "litert"}
