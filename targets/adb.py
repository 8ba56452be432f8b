"""`adb://[serial]`: Android devices, through the user's own adb.

Where the device has a Python with LiteRT the runner does there what it does everywhere. Where it
has none, LiteRT's own `benchmark_model` measures latency (`adb_benchmark`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgekit.errors import DeviceError
from edgekit.targets import Frame, OnFrame, adb_client, adb_storage, conversation, packing
from edgekit.targets.adb_benchmark import BenchmarkModel
from edgekit.targets.adb_client import Client
from edgekit.targets.benchmark_model import Delegate

SILENCE_S = 600.0
PYTHONS = ("python3", "/data/local/tmp/python/bin/python3")
"""Where an interpreter is looked for: on the shell's path, else where one can be unpacked to."""


class Android:
    """Runs each job with a Python of the device."""

    is_this_machine = False
    untimed = None
    unjudged = None

    def __init__(self, url: str, client: Client) -> None:
        self.url = url
        self._client = client
        self._runner: list[str] = []

    def probe(self) -> Frame:
        """The device and its state, as the runner describes them."""
        found: list[Frame] = []
        self.run({"kind": "probe"}, found.append)
        return found[0]

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SILENCE_S) -> None:
        """See `edgekit.targets.Device.run`."""
        what = Path(job["artifact"]).name if "artifact" in job else "the runner"
        with self._carried(job) as there:
            conversation.hold(
                self._client.remote(*self._started()),
                there,
                on_frame,
                what=what,
                silence_s=silence_s,
                death=lambda code, said: self._death(code, said, what),
            )
            if "results" in job:
                local = Path(job["results"])
                local.parent.mkdir(parents=True, exist_ok=True)
                self._client.pull(there["results"], local.parent)

    def _started(self) -> list[str]:
        """The command that starts the runner there; brought over when first asked for."""
        if not self._runner:
            python = _python(self._client)
            with TemporaryDirectory() as directory:
                packed = Path(directory) / "runner.pyz"
                packed.write_bytes(packing.runner())
                self._runner = [python, adb_storage.carry(self._client, [packed])]
        return self._runner

    @contextmanager
    def _carried(self, job: Frame) -> Iterator[Frame]:
        """The job with paths on the device, where its files then are."""
        there = dict(job)
        if "artifact" in job:
            main = Path(job["artifact"])
            others = [main.parent / Path(name).name for name in job.get("siblings", [])]
            paths = list(dict.fromkeys([main, *others]))
            there["artifact"] = adb_storage.carry(self._client, paths)
        if not {"samples", "results"} & {key for key, value in job.items() if value}:
            yield there
            return
        with adb_storage.job_directory(self._client) as place:
            if job.get("samples"):
                self._client.push(Path(job["samples"]), place)
                there["samples"] = f"{place}/{Path(job['samples']).name}"
            if job.get("results"):
                there["results"] = f"{place}/{Path(job['results']).name}"
            yield there

    def _death(self, code: int, said: str, what: str) -> DeviceError:
        if adb_client.lost(said):
            return adb_client.failed(self._client.serial, said)
        return DeviceError(
            f"{what} crashed the runner on {self.url}, or the connection ended"
            f" {conversation.ended(code, said)}",
            "check the file with --device local, and the connection with adb devices",
        )


def open(url: str) -> Android:  # noqa: A001 every target has it
    """Opens a device.

    Raises:
        DeviceError: adb or the device is not there, or not ready; or there are several.
    """
    client = adb_client.connect(url.partition("://")[2])
    return Android(f"adb://{client.serial}", client)


def open_benchmark(url: str, binary: Path, delegate: Delegate) -> BenchmarkModel:
    """Opens a device on which LiteRT's own tool measures.

    Raises:
        DeviceError: As `open`; or the binary is not there.
    """
    if not binary.is_file():
        raise DeviceError(
            f"--benchmark-binary {binary} is not a file",
            "give the benchmark_model of LiteRT that is built for the device",
        )
    client = adb_client.connect(url.partition("://")[2])
    return BenchmarkModel(f"adb://{client.serial}", client, binary, delegate)


def _python(client: Client) -> str:
    for candidate in PYTHONS:
        if client.attempt("command", "-v", candidate)[0] == 0:
            return candidate
    raise DeviceError(
        f"the device {client.serial} has no Python ({', '.join(PYTHONS)})",
        "measure latency there with LiteRT's own tool: --benchmark-binary PATH",
    )
