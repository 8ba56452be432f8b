"""An Android device without Python: LiteRT's own `benchmark_model`, brought by the user.

It measures latency, load and memory, and never shows an output: accuracy stays unknown.
"""

from __future__ import annotations

from pathlib import Path

from edgekit import hashing, tflite_file
from edgekit.errors import DeviceError
from edgekit.targets import Frame, OnFrame, adb_storage, benchmark_model
from edgekit.targets.adb_client import Client
from edgekit.targets.benchmark_model import Delegate, Run

SLACK_S = 120.0
"""What one process may take beyond its inferences: loading, compiling for a GPU."""
_FORMAT = ".tflite"


class BenchmarkModel:
    """Answers each job from one process of `benchmark_model`."""

    is_this_machine = False
    untimed = None
    unjudged = (
        "LiteRT's benchmark_model shows no outputs; its figure of memory is approximate, as it says"
    )

    def __init__(self, url: str, client: Client, binary: Path, delegate: Delegate) -> None:
        self.url = url
        self._client = client
        self._binary = binary
        self._delegate = delegate
        self._program = ""

    def probe(self) -> Frame:
        """The device and its state, as its own commands tell."""
        return _environment(self._client)

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SLACK_S) -> None:
        """See `edgekit.targets.Device.run`; of the jobs, `probe` and `measure` are done."""
        on_frame(self.probe())
        if job["kind"] == "probe":
            return
        assert job["kind"] == "measure", "nothing else is asked of a device without outputs"
        path = Path(job["artifact"])
        if path.suffix != _FORMAT:
            raise DeviceError(
                f"{path.name} is no {_FORMAT}, and LiteRT's benchmark_model runs nothing else",
                "convert the model with --target android-arm64",
            )
        on_frame({"frame": "loaded", "inputs": _inputs(path), "outputs": []})
        run = self._measured(job, path, silence_s)
        on_frame({"frame": "measured", **_figures(run)})
        on_frame({"frame": "facts", **self._facts(run)})

    def _measured(self, job: Frame, path: Path, silence_s: float) -> Run:
        if not self._program:
            self._program = adb_storage.carry(self._client, [self._binary], executable=True)
        graph = adb_storage.carry(self._client, [path])
        flags = benchmark_model.arguments(
            graph,
            self._delegate,
            threads=job["threads"],
            least_runs=job["least_runs"],
            least_s=job["least_s"],
            most_s=job["most_s"],
        )
        limit_s = job["most_s"] + silence_s
        _, said = self._client.work(self._program, *flags, limit_s=limit_s)
        return benchmark_model.parse(said, self._delegate, path.name)

    def _facts(self, run: Run) -> Frame:
        return {
            "precision": None,
            "delegate": {
                "name": run.delegate, "nodes": run.nodes, "total_nodes": run.total_nodes,
            },
            "partly_on_cpu": run.partial and self._delegate != "cpu",
            "benchmark_binary_sha256": hashing.sha256_file(self._binary),
            "versions": {},
        }  # fmt: skip


def _figures(run: Run) -> Frame:
    """The frame `measured`; what the tool does not tell is None."""
    return {
        "import_s": None,
        "load_s": run.load_s,
        "first_inference_s": run.first_inference_s,
        "runs": run.runs,
        "median_s": run.median_s,
        "mean_s": run.mean_s,
        "min_s": run.min_s,
        "samples_ns": [],
        "cpu_median_s": None,
        "wall_per_cpu": None,
        "involuntary_switches": None,
        "elapsed_s": run.runs * run.mean_s,
        "warm_up_runs": run.warm_up_runs,
        "warm_up_stable": None,
        "inputs": "random, by benchmark_model",
        "clock": "benchmark_model",
        "peak_delta_bytes": run.peak_delta_bytes,
        "anonymous_bytes": None,
    }


def _inputs(path: Path) -> list[Frame]:
    """The artifact's inputs as its file names them: their first size is the batch."""
    graph = tflite_file.read(path).main
    tensors = [graph.tensors[index] for index in graph.inputs]
    return [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in tensors]


def _environment(client: Client) -> Frame:
    """The frame `environment`, from what Android's own tools tell; None where they do not."""
    cores = _told(client, "nproc")
    release = _told(client, "getprop", "ro.build.version.release")
    load = _told(client, "cat", "/proc/loadavg")
    return {
        "frame": "environment",
        "arch": _told(client, "uname", "-m") or "unknown",
        "cpu": _told(client, "getprop", "ro.soc.model")
        or _told(client, "getprop", "ro.board.platform"),
        "cores": int(cores) if cores and cores.isdigit() else None,
        "usable_cores": None,
        "cpu_quota_cores": None,
        "governor": _told(client, "cat", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_1min": float(load.split()[0]) if load else None,
        "memory_bytes": None,
        "system": f"Android {release}" if release else _told(client, "uname", "-sr"),
        "virtual": None,
        "temperature_c": None,
        "throttled": None,
        "versions": {},
    }


def _told(client: Client, *words: str) -> str | None:
    code, said = client.attempt(*words)
    return said.strip() or None if code == 0 else None
