"""`compare --layers`: both models' inner tensors on calibration samples, and the first bad one.

A layer is bad where its SQNR is low *and* lies clearly below that of what it is computed from: an
error that a layer inherits is not its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import (
    chunks,
    compare_ports,
    layer_causes,
    layer_lineage,
    layer_matching,
    layer_remedies,
    registry,
)
from edgekit.chunks import Arrays
from edgekit.compare_outputs import Ports, in_steps
from edgekit.compare_sides import Side
from edgekit.compare_sums import DifferenceSums, finite
from edgekit.compare_types import Layer, LayerReport, Unmatched
from edgekit.errors import ConversionError, ModelError
from edgekit.layer_forms import arranged, forms
from edgekit.layer_matching import Match, Taps
from edgekit.layer_statistics import PairSums
from edgekit.layer_types import Tap
from edgekit.layer_values import Values
from edgekit.workers import Worker, scratch

LAYER_SAMPLES = 32
FEWEST_SAMPLES = 4
MOST_BYTES = 1 << 30
"""Of values on disk, for each model: large ones are looked at on fewer samples, which is said."""
PROBES = 2
"""Samples on which tensors are matched: all of them are held for these."""

BAD_DB = {True: 20.0, False: 40.0}
"""A layer's SQNR is low below this: for artifacts with integers, and for float ones. Healthy int8
activations keep 25 to 40 dB, float16 ones 60 and more."""
OWN_LOSS_DB = 6.0
"""By how much a layer must be worse than its inputs before the error is its own: four times the
noise power."""
EXACT_DB = 60.0
"""What an input that is no worse than this counts as."""
MISTAKEN_DB, HEALTHY_DB = 3.0, 20.0
"""A tensor below the first, all of whose readers are above the second, is another tensor."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be looked at: files, their readers, and samples under each one's names."""

    reference: Side
    artifact: Side
    ports: Ports
    samples: Arrays
    shipped: Arrays
    trust: bool


@dataclass(frozen=True, slots=True)
class _Open:
    worker: Worker
    taps: Sequence[Tap]
    samples: Arrays
    directory: Path


def compare(task: Task, progress: Progress) -> LayerReport:
    """Compares layer by layer.

    Args:
        task: Both models, closed or not, the calibration samples by the reference's input names
            and the artifact's outputs for them, as it ships.
        progress: Told what is being done.

    Raises:
        ModelError: One of the models cannot be run with its inner tensors kept.
    """
    given = compare_ports.renamed(task.samples, task.ports.inputs)
    with (
        scratch() as directory,
        _opened(task.reference, task.samples, directory / "reference", task.trust) as one,
        _opened(task.artifact, given, directory / "artifact", task.trust) as other,
    ):
        progress("matching layers")
        matches, unmatched = layer_matching.match(
            _taps(one), _taps(other), task.ports.inputs, task.ports.outputs
        )
        count = _affordable(other.taps, matches, _count(task.samples))
        progress(f"comparing {len(matches)} layers on {count} samples")
        expected = _trace(one, count, sorted({match.reference for match in matches}))
        found = _trace(other, count, sorted({match.artifact for match in matches}))
        axis = 0 if task.reference.about.runtime == "onnxruntime" else -1
        pairs = [
            (match, _sums(match, other.taps[match.artifact], axis, expected, found))
            for match in matches
        ]
        kernels = _kernels(task, other.taps, found)
    pairs, mistaken = _without_mistakes(pairs, other.taps)
    unmatched = [*unmatched, *mistaken]
    return _report(task, count, (one.taps, other.taps), pairs, unmatched, kernels)


@contextmanager
def _opened(side: Side, samples: Arrays, directory: Path, trust: bool) -> Iterator[_Open]:
    path = side.about.path
    with Worker(registry.layers_reference(side.layers), f"looking into {path}") as worker:
        answer = _call(
            worker, "open", path=str(Path(path).absolute()), options=side.options, trust=trust
        )
        yield _Open(worker, msgspec.convert(answer, tuple[Tap, ...]), samples, directory)


def _call(worker: Worker, method: str, **arguments: object) -> object:
    try:
        return worker.call(method, **arguments)
    except ConversionError as error:
        raise ModelError(error.message, "compare without --layers") from None


def _taps(side: _Open) -> Taps:
    return Taps(side.taps, _trace(side, PROBES, None))


def _trace(side: _Open, count: int, wanted: Sequence[int] | None) -> Values:
    """The values of some taps, or of all, on the first samples."""
    samples, values = side.directory / f"samples-{count}", side.directory / f"values-{count}"
    chunks.write(samples, [{name: array[:count] for name, array in side.samples.items()}])
    _call(side.worker, "trace", samples=str(samples), values=str(values), wanted=wanted)
    return Values(values)


def _affordable(taps: Sequence[Tap], matches: Sequence[Match], count: int) -> int:
    """How many samples to look at: all, or as many as leave room on the disk."""
    shapes = [taps[match.artifact].shape for match in matches]
    sample_bytes = sum(4 * math.prod(size or 1 for size in shape[1:]) for shape in shapes)
    return min(count, max(FEWEST_SAMPLES, MOST_BYTES // max(1, sample_bytes)))


def _sums(match: Match, tap: Tap, axis: int, expected: Values, found: Values) -> PairSums:
    sums = PairSums(tap, axis)
    for sample in range(len(expected)):
        one = expected.of(sample, match.reference)
        sums.add(one, arranged(found.of(sample, match.artifact), match.axes, one.shape))
    return sums


Pair = tuple[Match, PairSums]


def _without_mistakes(
    pairs: Sequence[Pair], taps: Sequence[Tap]
) -> tuple[list[Pair], list[Unmatched]]:
    """Leaves out pairs that cannot be the same tensor.

    A rewritten graph keeps names for tensors that hold something else: then whatever reads the
    tensor is healthy, or a later tensor stands for the same one of the reference, and is healthy.
    Noise does not vanish so.
    """
    known = {match.artifact: sums.difference.sqnr_db for match, sums in pairs}
    readers: dict[int, list[float]] = {}
    later: dict[int, float] = {}
    for match, _ in pairs:
        for source in taps[match.artifact].inputs:
            readers.setdefault(source, []).append(known[match.artifact])
        later[match.reference] = known[match.artifact]
    kept: list[Pair] = []
    mistaken: list[Unmatched] = []
    for match, sums in pairs:
        own = known[match.artifact]
        after = readers.get(match.artifact, [])
        healthy = [min(after) if after else own, later[match.reference]]
        if own < MISTAKEN_DB and max(healthy) > HEALTHY_DB:
            tap = taps[match.artifact]
            why = "the tensor it seems to be holds something else: what reads it agrees"
            mistaken.append(Unmatched(tap.name, tap.kind, why))
        else:
            kept.append((match, sums))
    return kept, mistaken


def _report(
    task: Task,
    count: int,
    taps: tuple[Sequence[Tap], Sequence[Tap]],
    pairs: Sequence[Pair],
    unmatched: Sequence[Unmatched],
    kernels: tuple[float | None, float | None],
) -> LayerReport:
    known = {match.artifact: sums.difference.sqnr_db for match, sums in pairs}
    bad_db = BAD_DB[any(tap.step is not None for tap in taps[1])]
    layers = tuple(_layer(match, sums, *taps, known, bad_db) for match, sums in pairs)
    first = next((layer for layer in layers if layer.bad), None)
    suggestion = layer_remedies.suggestion(task.artifact.about, first) if first else None
    changed = layer_lineage.changed(task.reference, task.artifact, unmatched)
    if changed is not None:
        layers = tuple(msgspec.structs.replace(one, bad=False, causes=()) for one in layers)
        first, suggestion = None, changed.instead
    return LayerReport(
        samples=count,
        layers=layers,
        unmatched=tuple(unmatched),
        first_bad=first.name if first else None,
        kernels_max_abs=kernels[0],
        kernels_max_steps=kernels[1],
        suggestion=suggestion,
        changed=changed.why if changed else None,
    )


def _layer(
    match: Match,
    sums: PairSums,
    references: Sequence[Tap],
    taps: Sequence[Tap],
    known: Mapping[int, float],
    bad_db: float,
) -> Layer:
    tap, difference = taps[match.artifact], sums.difference
    before = min([EXACT_DB, *_before(match.artifact, taps, known)])
    own_loss_db = max(0.0, before - difference.sqnr_db)
    bad = not sums.finite or (difference.sqnr_db < bad_db and own_loss_db >= OWN_LOSS_DB)
    return Layer(
        name=tap.name,
        kind=tap.kind,
        reference=references[match.reference].name,
        matched_by=match.by,
        shape=tap.shape,
        sqnr_db=difference.sqnr_db,
        own_loss_db=own_loss_db,
        max_abs=finite(difference.largest),
        cosine=difference.cosine,
        step=tap.step,
        max_steps=in_steps(difference.largest, tap.step),
        bad=bad,
        causes=layer_causes.causes(tap, sums) if bad else (),
    )


def _before(at: int, taps: Sequence[Tap], known: Mapping[int, float]) -> Iterator[float]:
    """The SQNR of the nearest matched tensors upstream."""
    waiting, seen = list(taps[at].inputs), set()
    while waiting:
        source = waiting.pop()
        if source in seen:
            continue
        seen.add(source)
        if source in known:
            yield known[source]
        else:
            waiting.extend(taps[source].inputs)


def _kernels(task: Task, taps: Sequence[Tap], found: Values) -> tuple[float | None, float | None]:
    """How far the outputs of the run that keeps every tensor are from those as shipped."""
    largest: float | None = None
    steps: float | None = None
    for at, tap in enumerate(taps):
        shipped = task.shipped.get(tap.port or "") if tap.role == "output" else None
        if shipped is None or not found.has(at):
            continue
        values = found.all_of(at)
        shipped = shipped[: len(values)]
        for axes in forms(shipped.shape, values.shape)[:1]:
            sums = DifferenceSums()
            sums.add(shipped, arranged(values, axes, shipped.shape))
            largest = max(largest or 0.0, sums.largest)
            taken = in_steps(sums.largest, task.ports.steps.get(tap.port or "", tap.step or 0.0))
            steps = steps if taken is None else max(steps or 0.0, taken)
    return None if largest is None else finite(largest), steps


def _count(samples: Arrays) -> int:
    return len(next(iter(samples.values())))
