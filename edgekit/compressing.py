"""The compress stage: model + recipe → a smaller .keras + manifest, or nothing at all.

Nothing is trained. The way of the data: resolve the recipe; open the source and take its accuracy;
apply step after step, each measured on the choosing samples; read the test role; publish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    chunks,
    compression_plan,
    data_linting,
    files,
    ladder,
    loading,
    manifest,
    metrics,
    recipe_files,
    sampling,
    units,
)
from edgekit.compression_plan import CompressionPlan
from edgekit.data import open_data
from edgekit.ladder import Judge
from edgekit.types import (
    Accuracy,
    ChannelsStep,
    DataRef,
    DryRun,
    FileRef,
    Manifest,
    ModelInfo,
    QuantizeStep,
    RecipeStep,
    Role,
    SimplifyStep,
    Step,
    TensorSpec,
)
from edgekit.workers import Worker

Progress = Callable[[str], None]

COMPRESSOR = "edgekit.compression.compressor:Compressor"
PROBES = 32
"""Real samples that a lossless step is compared on."""


def plan(model: str | Path, **options: Any) -> DryRun:
    """What `compress` would do with the same arguments, without doing it."""
    resolved = compression_plan.resolve(model, **options)
    runs = [f"{recipe_files.kind(step)} {compression_plan.settings(step)}".strip()
            for step in resolved.steps]  # fmt: skip
    writes = (str(resolved.output), str(manifest.path_for(resolved.output)))
    return DryRun("edgekit.dry-run/1", runs=tuple(runs), writes=writes)


def compress(
    model: str | Path,
    *,
    recipe: str | Path,
    data: str | None = None,
    preprocess: str | None = None,
    metric: str | None = None,
    target: str | None = None,
    simplify: bool = True,
    output: str | Path,
    seed: int = 0,
    trust: bool = False,
    force: bool = False,
    command: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> Manifest:
    """Applies a recipe to a model, measures each step, and writes the .keras and its manifest.

    Args:
        model: .keras, .h5 or a SavedModel with its layers.
        recipe: A built-in recipe's name, or a TOML file.
        data: A data SPEC; without it no accuracy is stated.
        preprocess: How raw data becomes model input; default: what the manifest recorded.
        metric: Default: top1 or binary, as the model's output suggests.
        target: A profile: channel counts are rounded up to the multiple that it likes.
        simplify: Remove identities and dead channels before everything else.
        output: The .keras to write.
        seed: Of every random draw.
        trust: Load models whose code cannot be known to be safe.
        force: Replace whatever stands at `output`, and compress even if it is up to date.
        command: The command line, for the manifest.
        on_progress: Told each step as it begins.

    Returns:
        The manifest that was written (or found, where nothing had changed).

    Raises:
        UsageError, UserError: See edgekit.errors; nothing was written.
    """
    resolved = compression_plan.resolve(
        model, recipe=recipe, data=data, preprocess=preprocess, metric=metric, target=target,
        simplify=simplify, output=output, seed=seed, trust=trust,
    )  # fmt: skip
    output = resolved.output
    found = manifest.up_to_date(output, resolved.request_sha256)
    if found and not force:
        return found
    manifest.may_replace(output, force=force)
    progress = on_progress or (lambda _: None)
    with files.staging(output) as directory:
        progress(f"loading {resolved.source.path}")
        with loading.opened(resolved.source, trust=trust, reference=COMPRESSOR) as (worker, info):
            work = _Work(resolved, worker, info, directory, progress)
            work.run()
            written = work.manifest(command)
        staged = directory / "manifest"
        staged.write_bytes(manifest.encode(written))
        files.publish([(work.saved, output), (staged, manifest.path_for(output))])
    return written


@dataclass(slots=True)
class _Work:
    """One compression in progress, in its staging directory."""

    plan: CompressionPlan
    worker: Worker
    info: ModelInfo
    directory: Path
    progress: Progress
    choosing: Judge | None = None
    role: Role | None = None
    final: Judge | None = None
    probes: Path | None = None
    data: DataRef | None = None
    accuracy: Accuracy | None = None
    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def saved(self) -> Path:
        """The model as it is after the last step."""
        return self.directory / self.plan.output.name

    def run(self) -> None:
        """Takes the source's accuracy, applies every step, and judges the result on test."""
        started = time.monotonic()
        parameters = self.worker.call("begin")
        if self.plan.data is not None:
            self._draw(self.plan.data)
        before = self.choosing.source if self.choosing else None
        self._record("source", {"parameters_after": parameters}, before, started)
        for number, step in enumerate(self.plan.steps, 1):
            self._apply(number, step)
        if self.final is not None:
            self.progress("reading the test role once, for the final accuracy")
            self.accuracy = self._judge(self.final, "test")
        self.progress("checking that plain Keras opens what was written")
        self.worker.call("check_saved", path=str(self.saved), trust=self.plan.trust)
        self.timing["compress_s"] = time.monotonic() - started

    def manifest(self, command: Sequence[str]) -> Manifest:
        """What is known of the saved model."""
        source, plan = self.plan.source, self.plan
        name, parents = manifest.lineage(Path(source.path))
        made = self.worker.call("interface")
        return Manifest(
            versions=manifest.versions(),
            command=tuple(command),
            request_sha256=plan.request_sha256,
            seed=plan.seed,
            artifact=manifest.artifact_info(
                (self.saved,),
                format_name="keras",
                precision=self.info.precision,
                gzip_bytes=files.gzip_size_bytes([self.saved]),
            ),
            source=FileRef(str(source.path), source.sha256, self.info.size_bytes),
            model_name=name,
            data=self.data,
            recipe=plan.recipe.name,
            recipe_sha256=recipe_files.sha256(plan.recipe),
            planned_precision=plan.planned_precision,
            profile=plan.profile,
            parents=parents,
            inputs=msgspec.convert(made["inputs"], tuple[TensorSpec, ...]),
            outputs=msgspec.convert(made["outputs"], tuple[TensorSpec, ...]),
            steps=tuple(self.steps),
            accuracy=self.accuracy,
            source_accuracy=self.final.source if self.final else None,
            warnings=(*plan.notes, *self.info.notes, *self.warnings),
            timing=self.timing,
        )

    def _draw(self, spec: str) -> None:
        self.progress("drawing samples, and the source's outputs for them")
        plan, info = self.plan, self.info
        dataset = open_data(
            spec, inputs=info.inputs, preprocess=plan.preprocess, seed=plan.seed,
            group_size=sampling.group_size(plan.metric, info),
        )  # fmt: skip
        self.probes = self.directory / "probes"
        chunks.write(self.probes, [dataset.calibration(PROBES, plan.seed).x])
        predict = sampling.predictor(self.worker, self.directory)
        self._warn(*data_linting.lint_dataset(dataset, predict))
        role: Role = "val" if "val" in dataset.roles else "calib"
        self.choosing, self.final = (
            sampling.judge(plan.metric, info, self.worker, dataset, part, self.directory)
            for part in (role, "test")
        )
        self.role = role
        self.data = msgspec.structs.replace(dataset.ref, metric=plan.metric)

    def _apply(self, number: int, step: RecipeStep) -> None:
        kind = recipe_files.kind(step)
        started = time.monotonic()
        self.progress(f"step {number}: {kind} {compression_plan.settings(step)}")
        detail: dict[str, Any] = msgspec.to_builtins(step)
        if isinstance(step, QuantizeStep):
            self.steps.append(Step(kind, {**detail, "carried_out_by": "convert"}))
            return
        detail |= self._change(step)
        accuracy = self._judge(self.choosing, f"step{number}") if self.choosing else None
        self._record(kind, detail, accuracy, started, f"step{number}_{kind}_s")
        if isinstance(step, ChannelsStep):
            self._warn(self._price(detail, accuracy))

    def _change(self, step: SimplifyStep | ChannelsStep) -> dict[str, Any]:
        if isinstance(step, SimplifyStep):
            probes = str(self.probes) if self.probes else None
            made = self.worker.call(
                "apply_simplify", for_inference=step.for_inference, probes=probes
            )
        else:
            multiple = self.plan.channel_multiple
            made = self.worker.call(
                "apply_channels", ratio=step.ratio, criterion=step.criterion, scope=step.scope,
                multiple=multiple,
            ) | {"multiple": multiple}  # fmt: skip
        changed: dict[str, Any] = made
        return changed

    def _judge(self, judge: Judge, name: str) -> Accuracy:
        outputs = self.directory / f"outputs-{name}"
        self.worker.call("predict", samples=str(judge.samples), outputs=str(outputs))
        return ladder.judge_outputs(judge, chunks.read_all(outputs))

    def _record(
        self,
        name: str,
        detail: dict[str, Any],
        accuracy: Accuracy | None,
        started: float,
        timed_as: str = "source_s",
    ) -> None:
        """Saves the model as it is now and notes what it has become."""
        self.worker.call("save", path=str(self.saved))
        self.timing[timed_as] = time.monotonic() - started
        detail = {
            **detail,
            "channels_removed": sum(one["channels"] or 0 for one in detail.get("removed", ())),
            "size_bytes": self.saved.stat().st_size,
            "gzip_bytes": files.gzip_size_bytes([self.saved]),
            "accuracy_role": self.role,
            "accuracy": msgspec.to_builtins(accuracy),
        }
        self.steps.append(Step(name, detail))

    def _price(self, detail: dict[str, Any], accuracy: Accuracy | None) -> str:
        """What pruning without training has cost, in words."""
        if not detail["removed"]:
            return f"channels: ratio {detail['ratio']:g} removed nothing; see `kept` for why"
        advice = "this edgekit version does not train; fine-tune the result yourself"
        if accuracy is None or self.choosing is None:
            return (
                "channels were removed without training, which loses accuracy, and without --data"
                f" it was not measured how much; {advice}"
            )
        source, name = self.choosing.source, accuracy.metric
        return (
            f"channels were removed without training: {name} {units.metric(name, source.value)} →"
            f" {units.metric(name, accuracy.value)} on the {self.role} role, a drop of"
            f" {metrics.drop(source, accuracy):.4f}; {advice}"
        )

    def _warn(self, *texts: str) -> None:
        for text in texts:
            self.warnings.append(text)
            self.progress(f"warning: {text}")
