"""An emulated Cortex-M: runs the C of `convert --emit c`, which needs no operating system.

No Python runs there: what a runner does elsewhere is done here. The C is compiled for the
processor, fed with integers by semihosting, and what it answers is turned into floats again. It
has the rights of whoever starts it, like any C that one compiles and runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from edgekit.errors import ModelError, UsageError
from edgekit.targets import (
    Frame,
    OnFrame,
    cortex_building,
    cortex_running,
    cortex_tools,
    runner_error,
)
from edgekit.targets.cortex_boards import BOARDS, Board
from edgekit.targets.runner import batching, inputs, samples, tensors
from edgekit.targets.runner.protocol import RunnerError
from edgekit.targets.runner.tensors import Array, Tensor

NAMES = tuple(BOARDS)
RUNTIME = "c"
SILENCE_S = 600.0
_FACTS = {
    "precision": "int8",
    "delegate": {"name": "generated C", "nodes": None, "total_nodes": None},
    "versions": {},
}


class CortexM:
    """One emulated board."""

    is_this_machine = False
    untimed = "QEMU counts instructions and no cycles: its times say nothing of a real board"
    unjudged = None

    def __init__(self, url: str, board: Board) -> None:
        self.url = url
        self._board = board

    def probe(self) -> Frame:
        """The emulated board."""
        with _scratch() as directory:
            return _environment(self._board, Path(directory))

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SILENCE_S) -> None:
        """See `edgekit.targets.Device.run`: the jobs `describe` and `predict`."""
        what = Path(job["artifact"]).name
        if job["runtime"] != RUNTIME:
            raise ModelError(
                f"{what} is no C, and nothing else runs on {self.url}",
                f"edgekit convert MODEL --target {self._board.cpu} --emit c -o m.h, and bench m.h",
            )
        if job["threads"] != 1:
            raise UsageError(
                f"--threads {job['threads']}: an {self._board.title} has one core",
                "leave out --threads",
            )
        work = {"describe": self._describe, "predict": self._predict}[job["kind"]]
        with _scratch() as directory:
            try:
                work(job, on_frame, Path(directory), silence_s)
            except RunnerError as error:
                raise runner_error(error.about, error.message, error.fix) from None

    def _describe(self, job: Frame, on_frame: OnFrame, directory: Path, silence_s: float) -> None:
        """What the artifact is, the memory that it takes, and the instructions of an inference."""
        model = cortex_building.sources(Path(job["artifact"]), job["inputs"], job["outputs"])
        on_frame({"frame": "environment", **_environment(self._board, directory)})
        on_frame({"frame": "loaded", "inputs": job["inputs"], "outputs": job["outputs"]})
        built = cortex_building.compiled(model, self._board, directory)
        fed = _Fed(job["inputs"])
        described = inputs.Source(job).fill(fed)
        (directory / "samples").write_bytes(_packed(fed.arrays, job["inputs"]))
        counted = cortex_running.count(
            cortex_building.program("count.c", model, built, self._board, directory),
            self._board,
            what=model.path.name,
            silence_s=silence_s,
        )
        on_frame({
            "frame": "instructions",
            "per_inference": counted.instructions,
            "counted_by": "QEMU -icount, from the call of the function to its return",
            "inputs": described,
        })  # fmt: skip
        memory = cortex_building.footprint(model, built, self._board, directory)
        version = cortex_tools.versions(directory)[cortex_tools.COMPILER]
        on_frame({
            "frame": "footprint",
            **memory._asdict(),
            "stack_bytes": counted.stack_bytes,
            "buffer_bytes": sum(model.input_bytes) + sum(model.output_bytes),
            "compiler": f"{cortex_tools.COMPILER} {version} {cortex_building.OPTIMIZED}",
        })  # fmt: skip
        on_frame({"frame": "facts", **_FACTS})

    def _predict(self, job: Frame, on_frame: OnFrame, directory: Path, silence_s: float) -> None:
        """Every file of samples through the model, in one run of the emulator."""
        model = cortex_building.sources(Path(job["artifact"]), job["inputs"], job["outputs"])
        counts = _write_samples(job, directory / "samples")
        built = cortex_building.compiled(model, self._board, directory)
        parts = cortex_running.answers(
            cortex_building.program("answer.c", model, built, self._board, directory),
            self._board,
            [count * sum(model.output_bytes) for count in counts],
            what=model.path.name,
            silence_s=silence_s,
        )
        Path(job["results"]).mkdir(parents=True, exist_ok=True)
        for number, answered in enumerate(parts):
            outputs = _unpacked(answered, job["outputs"], counts[number])
            samples.write_one(job["results"], number, outputs)
            on_frame({"frame": "predicted", "files": number + 1})


class _Fed:
    """A loaded artifact as `runner.inputs` knows it, which only keeps what it is fed."""

    failures = ()

    def __init__(self, tensors_in: list[Tensor]) -> None:
        self.inputs = tensors_in
        self.arrays: dict[str, Array] = {}

    def set_inputs(self, arrays: dict[str, Array]) -> None:
        """Keeps them."""
        self.arrays = arrays


def open(url: str) -> CortexM:  # noqa: A001 every target has it
    """Opens an emulated board.

    Args:
        url: `qemu://` and one of NAMES.

    Raises:
        UsageError: It names no such board.
        DeviceError: The cross compiler or the emulator is not installed.
    """
    board = BOARDS.get(url.partition("://")[2])
    if board is None:
        known = ", ".join(f"qemu://{name}" for name in NAMES)
        raise UsageError(
            f"device '{url}' is no emulated Cortex-M; known: {known}", "name one of these"
        )
    cortex_tools.require(url)
    return CortexM(url, board)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgekit-", ignore_cleanup_errors=True)


def _environment(board: Board, directory: Path) -> Frame:
    """What `runner.environment` tells elsewhere; None for what an emulator does not have."""
    return {
        "arch": board.architecture,
        "cpu": f"{board.title} (QEMU {board.machine})",
        "cores": 1,
        "usable_cores": 1,
        "cpu_quota_cores": None,
        "governor": None,
        "load_1min": None,
        "memory_bytes": board.code.size_bytes + board.data.size_bytes,
        "system": "none",
        "virtual": True,
        "versions": cortex_tools.versions(directory),
    }


def _write_samples(job: Frame, place: Path) -> list[int]:
    """Every file of samples as the model takes them, one after the other; how many each had."""
    counts = []
    with place.open("wb") as file:
        for arrays in samples.read(job["samples"]):
            counts.append(batching.check(job["inputs"], arrays)[0])
            stored = {
                tensor["name"]: tensors.to_runtime(arrays[tensor["name"]], tensor)
                for tensor in job["inputs"]
            }
            file.write(_packed(stored, job["inputs"]))
    return counts


def _packed(arrays: dict[str, Array], ordered: list[Tensor]) -> bytes:
    """Samples [n, …] of each input as bytes, one sample with all its inputs after the other."""
    rows = [np.asarray(arrays[tensor["name"]], np.int8) for tensor in ordered]
    joined = np.concatenate([row.reshape(len(row), -1) for row in rows], axis=1)
    return joined.tobytes()


def _unpacked(answered: bytes, ordered: list[Tensor], count: int) -> dict[str, Array]:
    """The answers to so many samples, in bytes, as floats [n, …] of each output."""
    rows = np.frombuffer(answered, np.int8).reshape(count, -1)
    found, start = {}, 0
    for tensor in ordered:
        size = int(np.prod(tensor["shape"], dtype=np.int64))
        part = rows[:, start : start + size].reshape(count, *tensor["shape"][1:])
        found[tensor["name"]] = tensors.to_float(part, tensor)
        start += size
    return found
