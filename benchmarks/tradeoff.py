"""Size, latency and accuracy of what `edgekit compress` and `edgekit convert` make, as curves.

Needs EDGEKIT_DATA. Every artifact comes from one `edgekit compress` and one `edgekit convert` on
the command line. Its accuracy is judged on the test role by a bare interpreter, its latency by one
`edgekit bench` that measures all artifacts of a model interleaved on one thread. Everything is
kept in the cache, and an interrupted run goes on where it stopped, since edgekit makes nothing
twice. EDGEKIT_TRADEOFF=resnet8,conv1d measures these models only. With EDGEKIT_TRADEOFF_KEEP=1 what
is in the cache is taken as it is, even where edgekit or a recipe has changed since, and points that
are not there are left out: for a table of a run that has not ended.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import proportions
import tradeoff_cases
from tradeoff_cases import Case, Judged, Point

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
BENCH_S_PER_ARTIFACT = 8
KEEP = "EDGEKIT_TRADEOFF_KEEP" in os.environ


@dataclasses.dataclass
class Made:
    """An artifact and what it took; `compressed` is the manifest of the `.keras` it came from."""

    point: Point
    seed: int
    artifact: Path
    compressed: dict[str, Any] | None
    cost: dict[str, float]


def measure(directory: Path) -> dict[str, Any]:
    """Makes, judges and times every artifact of every case."""
    chosen = os.environ.get("EDGEKIT_TRADEOFF", ",".join(tradeoff_cases.NAMES)).split(",")
    points: list[dict[str, Any]] = []
    curves = []
    for name in chosen:
        case = tradeoff_cases.named(name, directory.parent)
        measured = _curve(case, directory / case.name)
        points += measured
        curves.append(_summary(case, measured))
    return {"rows": [_row(point) for point in points], "curves": curves, "points": points}


def _curve(case: Case, directory: Path) -> list[dict[str, Any]]:
    directory.mkdir(exist_ok=True)
    made = [
        _make(case, point, seed, directory)
        for point in case.points
        for seed in point.seeds
        if not KEEP or _is_there(point, seed, directory)
    ]
    latencies = _latencies([one.artifact for one in made], directory)
    judged = [case.judge(one.artifact) for one in made]
    return [
        _point(case, one, (made[0], judged[0]), result, latencies[_sha256(one.artifact)])
        for one, result in zip(made, judged, strict=True)
    ]


def _make(case: Case, point: Point, seed: int, directory: Path) -> Made:
    stem = f"{point.name.replace(' ', '-')}-{seed}"
    source, compressed, cost = case.model, None, {}
    common = ["--data", case.data, *case.options, "--seed", str(seed), "-q"]
    if point.recipe is not None:
        source = directory / f"{Path(point.recipe).stem}-{seed}.keras"
        cost = _edgekit(
            ["compress", str(case.model), "--recipe", point.recipe, "--target", "host", *common,
             *(case.compress_options if point.trains else ()), *point.options],
            source,
        )  # fmt: skip
        compressed = json.loads(Path(f"{source}.edgekit.json").read_text())
    artifact = directory / f"{stem}.tflite"
    _edgekit(
        ["convert", str(source), "--target", "host", "--precision", point.precision, *common,
         *point.conversion],
        artifact,
    )  # fmt: skip
    return Made(point, seed, artifact, compressed, cost)


def _is_there(point: Point, seed: int, directory: Path) -> bool:
    """Whether a point's compression is in the cache; what only has to be converted always is."""
    if point.recipe is None:
        return True
    return (directory / f"{Path(point.recipe).stem}-{seed}.keras").exists()


def _edgekit(arguments: list[str], output: Path) -> dict[str, float]:
    """Wall time and peak memory of a command, from when it last made its output."""
    noted = output.with_suffix(f"{output.suffix}.cost.json")
    before = output.stat().st_mtime_ns if output.exists() else None
    if KEEP and before:  # a file that was made by hand has no cost
        return dict(json.loads(noted.read_text())) if noted.exists() else {}
    print(f"edgekit {' '.join(arguments[:4])} -o {output.name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-P", "-m", "edgekit", *arguments, "-o", str(output)]
    run = processes.run(command, environment=QUIET)
    if output.stat().st_mtime_ns != before or not noted.exists():
        noted.write_text(json.dumps({"wall_s": run.wall_s, "peak_bytes": run.peak_bytes}))
    return dict(json.loads(noted.read_text()))


def _latencies(artifacts: list[Path], directory: Path) -> dict[str, dict[str, Any]]:
    """Per artifact's hash its latency, and the ratio to the first one, interleaved."""
    key = hashlib.sha256("".join(map(_sha256, artifacts)).encode()).hexdigest()[:12]
    output = directory / f"bench-{key}.json"
    if not output.exists():
        budget_s = BENCH_S_PER_ARTIFACT * len(artifacts)
        _edgekit(
            ["bench", *map(str, artifacts), "--threads", "1", "--budget", str(budget_s), "-q"],
            output,
        )
    report = json.loads(output.read_text())
    found = {one["artifact"]["sha256"]: {"latency": one["latency"]} for one in report["results"]}
    for one in report["comparison"]:
        if one["baseline"] == _sha256(artifacts[0]):
            found[one["candidate"]] |= one
    return found


def _point(
    case: Case,
    made: Made,
    baseline: tuple[Made, Judged],
    judged: Judged,
    timed: dict[str, Any],
) -> dict[str, Any]:
    """Everything known of one artifact, ratios over the float one."""
    reference, reference_judged = baseline
    size_bytes, zipped_bytes = _sizes(made.artifact)
    float_bytes, float_zipped_bytes = _sizes(reference.artifact)
    last = made.compressed["steps"] if made.compressed else []
    described = [step["detail"] for step in last if "parameters_after" in step["detail"]]
    latency = timed["latency"]
    ratio = timed.get("ratio", 1.0)
    low, high = timed.get("ratio_ci95", (1.0, 1.0))
    return {
        "model": case.name,
        "recipe": made.point.name,
        "seed": made.seed,
        "precision": made.point.precision,
        "parameters": described[-1]["parameters_after"] if described else None,
        "macs": described[-1]["macs_after"] if described else None,
        "size_bytes": size_bytes,
        "gzip_bytes": zipped_bytes,
        "smaller": float_bytes / size_bytes,
        "smaller_zipped": float_zipped_bytes / zipped_bytes,
        "raw_float_over_zipped": float_bytes / zipped_bytes,
        "latency_s": latency["cpu_median_s"] if latency["contended"] else latency["median_s"],
        "contended": latency["contended"],
        "faster": 1 / ratio,
        "faster_ci95": [1 / high, 1 / low],
        "metric": case.metric,
        "value": judged.value,
        "ci95": judged.ci95,
        "n": judged.n,
        "loss_points": 100 * (reference_judged.value - judged.value),
        "mcnemar_p": _mcnemar(reference_judged, judged),
        "within": _within(case, reference_judged, judged),
        "compress_s": made.cost.get("wall_s"),
        "compress_peak_bytes": made.cost.get("peak_bytes"),
        "chosen_by": [_chosen(step) for step in last if step["detail"].get("accuracy")],
        "kept": [one for step in last for one in step["detail"].get("kept", ())],
        "warnings": made.compressed["warnings"] if made.compressed else [],
    }


def _chosen(step: dict[str, Any]) -> list[Any]:
    return [step["name"], step["detail"]["accuracy_role"], step["detail"]["accuracy"]["value"]]


def _within(case: Case, reference: Judged, judged: Judged) -> bool:
    return 100 * (reference.value - judged.value) <= case.loss + 1e-9


def _mcnemar(reference: Judged, judged: Judged) -> float | None:
    if reference.correct is None or judged.correct is None:
        return None
    return proportions.mcnemar(reference.correct, judged.correct)


def _summary(case: Case, points: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the curve still holds, and the spread of what was made with several seeds."""
    holding = [one for one in points if one["within"]]
    smallest = min(holding, key=lambda one: one["size_bytes"])
    beyond = [one for one in points if not one["within"]]
    met = [
        one for one in holding if one["smaller"] >= case.smaller and one["faster"] >= case.faster
    ]
    return {
        "model": case.name,
        "asked": {"smaller": case.smaller, "faster": case.faster, "loss_points": case.loss},
        "met_by": [f"{one['recipe']} {one['seed']}" for one in met],
        "smallest_that_holds": smallest["recipe"],
        "smaller": smallest["smaller"],
        "fastest_that_holds": max(holding, key=lambda one: one["faster"])["recipe"],
        "first_that_does_not": max(beyond, key=lambda one: one["size_bytes"])["recipe"]
        if beyond
        else None,
        "seeds": list(_spreads(points)),
    }


def _spreads(points: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(one["recipe"] for one in points):
        same = [one for one in points if one["recipe"] == name]
        if len(same) > 1:
            values = [one["value"] for one in same]
            yield {
                "recipe": name,
                "values": values,
                "mean": statistics.mean(values),
                "stdev": statistics.stdev(values),
                "mean_loss_points": statistics.mean(one["loss_points"] for one in same),
            }


def _row(point: dict[str, Any]) -> dict[str, Any]:
    """The columns of the table; `holds` says whether the loss is within what is asked."""
    low, high = point["faster_ci95"]
    took = point["compress_s"], point["compress_peak_bytes"]
    return {
        "model": point["model"],
        "recipe": point["recipe"],
        "seed": point["seed"],
        "parameters": point["parameters"],
        "kB": f"{point['size_bytes'] / 1e3:.1f}",
        "gzip kB": f"{point['gzip_bytes'] / 1e3:.1f}",
        "smaller": f"{point['smaller']:.1f}",
        "zipped, of raw float": f"{point['raw_float_over_zipped']:.1f}",
        "µs": f"{point['latency_s'] * 1e6:.1f}{'*' if point['contended'] else ''}",
        "faster": f"{point['faster']:.2f} [{low:.2f}, {high:.2f}]",
        point["metric"]: f"{point['value']:.4f} [{point['ci95'][0]:.3f}, {point['ci95'][1]:.3f}]",
        "loss, points": f"{point['loss_points']:+.2f}",
        "holds": "yes" if point["within"] else "no",
        "s": None if took[0] is None else f"{took[0]:.0f}",
        "peak MB": None if took[1] is None else f"{took[1] / 1e6:.0f}",
    }


def _sizes(artifact: Path) -> tuple[int, int]:
    content = artifact.read_bytes()
    return len(content), len(gzip.compress(content, 9))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
