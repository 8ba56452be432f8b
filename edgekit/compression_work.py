"""One compression in progress: the model in its worker, the samples that judge it, the steps.

Every step is measured on the choosing samples (the val role); the test role is read once, at the
end. Nothing here imports a framework.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from edgekit import (
    chunks,
    compression_state,
    compression_warnings,
    data_linting,
    files,
    ladder,
    layer_changes,
    recipe_steps,
    sampling,
    step_changes,
    step_settings,
)
from edgekit.compression_state import Work
from edgekit.data import Dataset, open_data
from edgekit.errors import DataError
from edgekit.manifest_types import Step
from edgekit.recipe_types import (
    ChannelsStep,
    QuantizeStep,
    RecipeStep,
    TrainedStep,
)
from edgekit.types import Accuracy, Role

PROBES = 32
"""Real samples that a lossless step is compared on."""


def run(work: Work) -> None:
    """Takes the source's accuracy, applies every step, and judges the result on test.

    Raises:
        UserError: See edgekit.errors.
    """
    plan, started = work.plan, time.monotonic()
    work.worker.call("begin")
    held = work.worker.call("held")
    if plan.asked.data is not None:
        _draw(work, plan.asked.data)
    _record(
        work, "source", {"held": held}, work.choosing.source if work.choosing else None, started
    )
    if plan.student is not None:
        _take_student(work, plan.student.path)
    if any(map(recipe_steps.reads, plan.steps)):
        _load_training(work)
    for number, step in enumerate(plan.steps, 1):
        _apply(work, number, step)
    if work.final is not None:
        work.progress("reading the test role once, for the final accuracy")
        outputs = compression_state.outputs(work, work.final, "test")
        work.accuracy = ladder.judge_outputs(work.final, outputs)
        work.paired = ladder.paired(work.final, outputs)
        compression_state.warn(
            work, *compression_warnings.lost(work.final.source, work.accuracy, work.paired)
        )
    work.progress("checking that plain Keras opens what was written")
    work.worker.call("check_saved", path=str(work.saved), trust=plan.asked.trust)
    work.timing["compress_s"] = time.monotonic() - started


def _draw(work: Work, spec: str) -> None:
    work.progress("drawing samples, and the source's outputs for them")
    plan, info = work.plan, work.info
    dataset = open_data(
        spec, inputs=info.inputs, preprocess=plan.preprocess, seed=plan.asked.seed,
        group_size=_group_size(work),
    )  # fmt: skip
    _check_roles(work, dataset)
    work.probes = work.directory / "probes"
    chunks.write(work.probes, [dataset.calibration(PROBES, plan.asked.seed).x])
    predict = sampling.predictor(work.worker, work.directory)
    compression_state.warn(work, *data_linting.lint_dataset(dataset, predict))
    work.roles = tuple(dataset.roles)
    work.role = "val" if "val" in dataset.roles else "calib"
    if any(map(recipe_steps.is_automatic, plan.steps)):
        work.judging = work.directory / "judging"
        layer_changes.draw(dataset, work.role, plan.asked.seed, work.judging)
    if _may_be_judged(work, dataset, work.role):
        work.choosing, work.final = (
            sampling.judge(plan.asked.metric, info, work.worker, dataset, part, work.directory)
            for part in (work.role, "test")
        )
    work.data = msgspec.structs.replace(dataset.ref, metric=plan.asked.metric)


def _may_be_judged(work: Work, dataset: Dataset, role: Role) -> bool:
    """Whether there are labels, or a metric that does without, or something that insists on them.

    What only looks at samples (reconstruction) does not need them; then no accuracy is stated.
    """
    asked, insists = work.plan.asked, any(map(recipe_steps.trains, work.plan.steps))
    if insists or asked.metric is not None or asked.max_drop is not None:
        return True
    if next(dataset.batches(role, 1)).y is not None:
        return True
    compression_state.warn(
        work, f"{dataset.spec} has no labels: accuracy was not measured, before or after"
    )
    return False


def _group_size(work: Work) -> int:
    return sampling.group_size(work.plan.asked.metric, work.info)


def _check_roles(work: Work, dataset: Dataset) -> None:
    recipe = work.plan.recipe
    training = [recipe_steps.kind(step) for step in recipe.step if recipe_steps.trains(step)]
    if training and "train" not in dataset.roles:
        raise DataError(
            f"the recipe {recipe.name} trains (step {training[0]}), and {dataset.spec} has no"
            f" training data; it has: {', '.join(dataset.roles)}",
            "add x_train and y_train (npz), train/CLASS/ (images) or an answer for 'train'"
            " (function)",
        )


def _take_student(work: Work, path: str) -> None:
    started = time.monotonic()
    work.progress(f"loading the student {path}")
    notes = work.worker.call("take_student", path=path, trust=work.plan.asked.trust)["notes"]
    accuracy = compression_state.judge(work, work.choosing, "student") if work.choosing else None
    detail = {"path": path, "notes": notes, "held": work.worker.call("held")}
    _record(work, "student", detail, accuracy, started, "student_s")


def _load_training(work: Work) -> None:
    asked, started = work.plan.asked, time.monotonic()
    role = "train" if "train" in work.roles else "calib"
    work.progress("reading the training data" if role == "train" else "reading calibration samples")
    loaded = work.worker.call(
        "load_training", spec=asked.data, preprocess=work.plan.preprocess, seed=asked.seed,
        group_size=_group_size(work), augment=asked.augment, role=role,
        directory=str(work.directory / "training"),
    )  # fmt: skip
    what = "training" if role == "train" else "calibration"
    work.progress(f"{loaded['samples']} {what} samples")
    work.timing["training_data_s"] = time.monotonic() - started


def _apply(work: Work, number: int, step: RecipeStep) -> None:
    kind = recipe_steps.kind(step)
    started = time.monotonic()
    name = f"step {number}/{len(work.plan.steps)} {kind}"
    work.progress(f"{name}: {step_settings.line(step)}")
    detail: dict[str, Any] = msgspec.to_builtins(step)
    if isinstance(step, QuantizeStep) and not recipe_steps.looks(step):
        work.steps.append(Step(kind, {**detail, "carried_out_by": "convert"}))
        return
    detail |= step_changes.change(work, step, name)
    accuracy = (
        compression_state.judge(work, work.choosing, f"step{number}") if work.choosing else None
    )
    _record(work, kind, detail, accuracy, started, f"step{number}_{kind}_s")
    if isinstance(step, ChannelsStep):
        later = work.plan.steps[number:]
        trained = any(isinstance(one, TrainedStep) and recipe_steps.trains(one) for one in later)
        source = work.choosing.source if work.choosing else None
        compression_state.warn(
            work,
            *compression_warnings.of_channels(detail, source, accuracy, work.role, trained=trained),
        )


def _record(
    work: Work,
    name: str,
    detail: dict[str, Any],
    accuracy: Accuracy | None,
    started: float,
    timed_as: str = "source_s",
) -> None:
    """Saves the model as it is now and notes what it has become."""
    work.worker.call("save", path=str(work.saved))
    work.timing[timed_as] = time.monotonic() - started
    described = work.worker.call("describe")
    removed = detail.get("removed", ())
    detail = {
        **detail,
        "parameters_after": described["parameters"],
        "macs_after": described["macs"],
        "sparsity": described["sparsity"],
        "channels_removed": sum(one["channels"] or 0 for one in removed),
        "size_bytes": work.saved.stat().st_size,
        "gzip_bytes": files.gzip_size_bytes([work.saved]),
        "accuracy_role": work.role,
        "accuracy": msgspec.to_builtins(accuracy),
    }
    work.steps.append(Step(name, detail))
