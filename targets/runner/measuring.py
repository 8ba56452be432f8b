"""The job `measure`: one fresh process' worth of figures about one artifact."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

from . import environment, heat, loading, memory, timing
from .protocol import Channel

SAMPLES_SENT = 2000
"""Samples that go to the client; more are thinned to this many, in order of size."""


def run(job: dict[str, Any], channel: Channel) -> None:
    """Imports, loads, infers once, warms up, times, and says what memory that took.

    Sends the frames `environment`, `loaded`, `warm`, `measured` and `facts`.

    Raises:
        RunnerError: The artifact cannot be loaded or run.
    """
    start = time.perf_counter()
    module = loading.runtime(job["runtime"])
    import_s = time.perf_counter() - start
    from . import inputs  # noqa: PLC0415 brings numpy, whose import is part of import_s

    channel.send({"frame": "environment", **environment.describe()})
    source = inputs.Source(job)
    gc.collect()
    gauge = memory.Gauge()
    start = time.perf_counter()
    session = loading.session(module, job)
    load_s = time.perf_counter() - start
    gauge.note()
    channel.send({"frame": "loaded", "inputs": session.inputs, "outputs": session.outputs})
    cold = {"import_s": import_s, "load_s": load_s}
    try:
        _measure(session, job, channel, source, gauge, cold)
    except session.failures as error:
        from . import batching  # noqa: PLC0415 brings numpy, whose import is measured

        raise batching.failed(error) from None
    channel.send({"frame": "facts", **session.facts()})


def _measure(
    session: Any,
    job: dict[str, Any],
    channel: Channel,
    source: Any,
    gauge: memory.Gauge,
    cold: dict[str, float],
) -> None:
    described = source.fill(session)
    gauge.skip()  # drawing the inputs is not the artifact's doing
    start = time.perf_counter()
    session.invoke()
    first_inference_s = time.perf_counter() - start
    gc.disable()
    warm = timing.warm_up(session.invoke, job["warm_up_least_s"], job["warm_up_most_s"])
    gauge.note()
    channel.send({"frame": "warm", "runs": warm.runs, "stable": warm.stable})
    kept = {
        "peak_delta_bytes": gauge.peak_delta_bytes(),
        "anonymous_bytes": gauge.anonymous_delta_bytes(),
    }
    timed = timing.sample(session, warm.median_ns, job["least_runs"], job["least_s"], job["most_s"])
    gc.enable()
    gpu = {"gpu": session.gpu_figures()} if hasattr(session, "gpu_figures") else {}
    after = {"temperature_after_c": heat.temperature_c(), "throttled_after": heat.is_held_down()}
    channel.send(
        {
            "frame": "measured",
            **cold,
            **kept,
            **after,
            **gpu,
            "first_inference_s": first_inference_s,
            "warm_up_runs": warm.runs,
            "warm_up_stable": warm.stable,
            "inputs": described,
            "clock": "runtime" if hasattr(session, "elapsed_ns") else "perf_counter",
            **_figures(timed),
        }
    )


def _figures(timed: timing.Timed) -> dict[str, Any]:
    return {
        "runs": len(timed.samples_ns),
        "median_s": statistics.median(timed.samples_ns) / 1e9,
        "min_s": min(timed.samples_ns) / 1e9,
        "samples_ns": timing.thinned(timed.samples_ns, SAMPLES_SENT),
        "cpu_median_s": timed.cpu_median_ns / 1e9,
        "wall_per_cpu": timed.wall_per_cpu,
        "involuntary_switches": timed.involuntary_switches,
        "elapsed_s": timed.elapsed_s,
    }
