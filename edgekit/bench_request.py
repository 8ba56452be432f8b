"""What `edgekit bench` was asked for, checked before anything is opened; its devices, opened."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import bench_rounds, metric_names, preprocess_names, registry
from edgekit.bench_statistics import MIN_PROCESSES
from edgekit.errors import UsageError
from edgekit.targets import Device, ssh_address

MAX_THREADS = 1024
"""More than any machine here has; runtimes crash when they cannot start the threads."""
DELEGATES = ("cpu", "gpu", "nnapi")
"""What `benchmark_model` can be asked to execute a graph with."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for beyond artifacts and devices."""

    threads: int
    budget_s: float
    data: str | None
    preprocess: str | None
    metric: str | None
    profile_ops: bool
    seed: int
    rounds: int = MIN_PROCESSES
    benchmark_binary: str | None = None
    delegate: str | None = None


def check(artifacts: Sequence[str | Path], devices: Sequence[str], request: Request) -> None:
    """Refuses arguments outside their range, before anything is opened.

    Raises:
        UsageError: One of them is; it is named.
    """
    if not artifacts:
        raise UsageError("no artifact was given", "edgekit bench ARTIFACT…")
    _check_devices(devices)
    if not 1 <= request.threads <= MAX_THREADS:
        raise UsageError(f"--threads {request.threads} is not in 1 to {MAX_THREADS}", "--threads 1")
    if not 0 < request.budget_s < math.inf:
        raise UsageError(
            f"--budget {request.budget_s:g} is not a number of seconds above 0", "--budget 30"
        )
    if not MIN_PROCESSES <= request.rounds <= bench_rounds.MOST_ROUNDS:
        raise UsageError(
            f"rounds={request.rounds} is not in {MIN_PROCESSES} to {bench_rounds.MOST_ROUNDS}",
            f"rounds={MIN_PROCESSES}",
        )
    if request.delegate is not None and request.benchmark_binary is None:
        raise UsageError(
            f"--delegate {request.delegate} was given without --benchmark-binary",
            "add --benchmark-binary PATH, or leave it out",
        )
    if request.delegate not in (None, *DELEGATES):
        raise UsageError(
            f"delegate '{request.delegate}' is not one of {', '.join(DELEGATES)}", "name one"
        )
    metric_names.check_name(request.metric)
    preprocess_names.parse(request.preprocess or "none")
    if request.data is None:
        for option, given in (("--metric", request.metric), ("--preprocess", request.preprocess)):
            if given is not None:
                raise UsageError(f"{option} {given} was given without --data", "add --data SPEC")


def _check_devices(urls: Sequence[str]) -> None:
    if not urls:
        raise UsageError("no device was given", "bench on this machine with --device local")
    for url in urls:
        if url.startswith("ssh:"):
            ssh_address.parse(url)  # before anything repeats a password that is in it


def open_device(url: str, request: Request, stack: contextlib.ExitStack) -> Device:
    """Opens a device; one that holds something open is a context manager, left with the stack.

    Raises:
        UsageError: The device cannot do what was asked for.
        DeviceError: It is not there.
    """
    device = _found(url, request)
    if isinstance(device, contextlib.AbstractContextManager):
        stack.enter_context(device)
    return device


def _found(url: str, request: Request) -> Device:
    module = registry.target(url.partition("://")[0])
    if request.benchmark_binary is None:
        device: Device = module.open(url)
        return device
    if not hasattr(module, "open_benchmark"):
        raise UsageError(
            f"--benchmark-binary runs on adb:// devices, and '{url}' is none",
            "--device adb://, or leave it out",
        )
    measured: Device = module.open_benchmark(
        url, Path(request.benchmark_binary), request.delegate or DELEGATES[0]
    )
    return measured
