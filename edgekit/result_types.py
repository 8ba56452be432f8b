"""The data of measurements: what the runner saw, and what `edgekit bench` makes of it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from edgekit.manifest_types import ArtifactInfo
from edgekit.profile_types import Gain
from edgekit.types import Accuracy, ErrorBody


class GpuReplicate(Struct, frozen=True, kw_only=True):
    """What one fresh process measured of a GPU, after its latency.

    The three medians are times between CUDA events around the copies to the GPU, the engine and the
    copies back, over `runs` inferences. Clocks, power, temperature and what held the clock down are
    read right after the timed inferences, `clock_before_hz` before them.
    """

    h2d_median_s: float
    compute_median_s: float
    d2h_median_s: float
    runs: int
    cuda_graph: bool
    memory_bytes: int | None
    clock_before_hz: float | None
    clock_after_hz: float | None
    memory_clock_hz: float | None
    power_w: float | None
    temperature_c: float | None
    throttle_reasons: tuple[str, ...] | None


class Replicate(Struct, frozen=True, kw_only=True):
    """What one fresh process measured of an artifact: the runner's frame `measured`.

    `samples_ns` are single inferences in order of size, at most 2000, evenly thinned. `median_s`
    and `min_s` are over all `runs`. CPU time is the whole process', per inference.
    `involuntary_switches` counts while inferences were timed, for `elapsed_s`. Temperature and
    throttling are those right after it. Another tool than the runner tells less: what it does not
    is None, and `mean_s` is its mean.
    """

    import_s: float | None
    load_s: float | None
    first_inference_s: float | None
    runs: int
    median_s: float | None
    min_s: float
    samples_ns: tuple[int, ...]
    cpu_median_s: float | None
    wall_per_cpu: float | None
    involuntary_switches: int | None
    elapsed_s: float
    warm_up_runs: int | None
    warm_up_stable: bool | None
    inputs: str
    clock: str
    peak_delta_bytes: int | None
    anonymous_bytes: int | None
    temperature_after_c: float | None = None
    throttled_after: bool | None = None
    mean_s: float | None = None
    gpu: GpuReplicate | None = None


class Latency(Struct, frozen=True, forbid_unknown_fields=True):
    """Wall time of one inference, in seconds, over fresh processes.

    `median_s` is the median of the processes' medians and `ci95_s` a distribution-free interval
    for it. `p90_s` and `p99_s` are None where there were too few runs to claim them (64 and 662;
    MLPerf LoadGen's early-stopping rule). `cpu_median_s` is CPU time, which another process's
    load disturbs less; it is the figure to trust where `contended` is true. `mean_s` is the median
    of the processes' means where another tool than the runner measured; else None. `why` says why
    the median is None.
    """

    median_s: float | None
    ci95_s: tuple[float, float] | None
    p90_s: float | None
    p99_s: float | None
    min_s: float | None
    runs: int
    processes: int
    cpu_median_s: float | None
    contended: bool | None
    stopped: str
    process_medians_s: tuple[float, ...] = ()
    why: str | None = None
    mean_s: float | None = None


class ColdStart(Struct, frozen=True, forbid_unknown_fields=True):
    """Medians over processes: importing the runtime, loading the artifact, the first inference."""

    import_s: float | None
    load_s: float | None
    first_inference_s: float | None


class Memory(Struct, frozen=True, forbid_unknown_fields=True):
    """Memory that the artifact adds to a process which has the runtime imported.

    `peak_delta_bytes` is the peak resident set minus the resident set before load;
    `anonymous_bytes` the part of it that no file backs.
    """

    peak_delta_bytes: int | None
    anonymous_bytes: int | None


class Delegate(Struct, frozen=True, forbid_unknown_fields=True):
    """What executed the graph (XNNPACK, the CPU plugin, …) and how many nodes it took."""

    name: str | None
    nodes: int | None
    total_nodes: int | None


class DeviceInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a measurement was taken. `target` is what the artifact was made for."""

    url: str
    target: str | None
    arch: str
    cpu: str | None
    cores: int | None
    threads: int
    measured_here: bool


class Gpu(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The GPU's part of an inference; `latency` is all of it, from page-locked memory and back.

    Medians over processes. Of an inference the GPU's own time is that of the copies to it (`h2d`),
    the engine (`compute`) and the copies back (`d2h`), by CUDA events, apart from the latency's
    runs. `cuda_graph`: the engine was launched as one graph. `memory_bytes` is what engine, context
    and buffers take of the GPU's memory. Clock, power and temperature are NVML's right after the
    timed inferences, and `throttle_reasons` all that held a process's clock down then; None where
    it does not tell.
    """

    name: str
    compute_capability: str
    driver: str | None
    cuda: str
    compute_median_s: float | None
    h2d_median_s: float | None
    d2h_median_s: float | None
    cuda_graph: bool | None
    memory_bytes: int | None
    clock_before_hz: float | None
    clock_after_hz: float | None
    memory_clock_hz: float | None
    power_w: float | None
    temperature_c: float | None
    throttle_reasons: tuple[str, ...] | None


class OperatorTime(Struct, frozen=True, forbid_unknown_fields=True):
    """One operator's median time, by the runtime's own profiler, which slows the whole down."""

    name: str
    kind: str
    implementation: str
    median_s: float


class Instructions(Struct, frozen=True, forbid_unknown_fields=True):
    """Instructions of one inference, exact and the same every time: no cycles, and no time.

    `inputs` says what it was fed: another sample may take a few more or fewer.
    """

    per_inference: int
    counted_by: str
    inputs: str


class Footprint(Struct, frozen=True, forbid_unknown_fields=True):
    """What standalone C takes of a microcontroller, by the sections of its ELF file.

    That holds the model and the library code that it needs, and nothing else. `flash_bytes` holds
    code, constants and initial values; `ram_bytes` static memory. Beside it stand `stack_bytes`,
    the most that one inference was seen to use (None: more than was looked at), and `buffer_bytes`,
    the inputs and outputs.
    """

    flash_bytes: int
    ram_bytes: int
    stack_bytes: int | None
    buffer_bytes: int
    compiler: str


class Result(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured of one artifact on one device.

    `model` and `recipe` are those that its manifest names, None where there is none.
    `instructions` and `footprint` are of standalone C on an emulated microcontroller, `gpu` of a
    TensorRT engine.
    """

    artifact: ArtifactInfo
    model: str | None = None
    recipe: str | None = None
    device: DeviceInfo
    latency: Latency
    throughput_per_s: float | None
    cold_start: ColdStart
    memory: Memory
    accuracy: Accuracy | None
    energy: None = None
    delegate: Delegate
    operators: tuple[OperatorTime, ...] | None = None
    instructions: Instructions | None = None
    footprint: Footprint | None = None
    gpu: Gpu | None = None
    environment: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    complete: bool = True
    timing: dict[str, float] = {}


class ClaimCheck(Struct, frozen=True, forbid_unknown_fields=True):
    """What manifests claim of a candidate against its baseline, beside what was measured.

    Factors as in `Gain`; a claim of None was not made, or not for where it was measured. `macs` is
    baseline's multiply-accumulates over candidate's, where the manifests counted them.
    `shortfalls` say in words where less came than was claimed.
    """

    target: str
    claimed: Gain
    measured: Gain
    macs: float | None = None
    sources: tuple[str, ...] = ()
    shortfalls: tuple[str, ...] = ()


class Comparison(Struct, frozen=True, forbid_unknown_fields=True):
    """Two artifacts measured interleaved: candidate latency / baseline latency, by SHA-256.

    `ratio_ci99` is None for fewer than 8 rounds. `claim` is None where the manifests claim nothing
    of the one against the other.
    """

    baseline: str
    candidate: str
    device: str
    ratio: float
    ratio_ci95: tuple[float, float]
    different: bool
    rounds: int
    ratio_ci99: tuple[float, float] | None = None
    claim: ClaimCheck | None = None


class BenchReport(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole `--json` of bench; also what `-o RESULT.json` holds.

    `error` says why a device failed; what it and the others had measured stands.
    """

    schema: Literal["edgekit.bench/1"]
    results: tuple[Result, ...]
    comparison: tuple[Comparison, ...] = ()
    error: ErrorBody | None = None
