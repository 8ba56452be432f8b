"""int8 .tflite → .tflite with the command stream of an Arm Ethos-U, by Vela.

Runs inside a worker process, since Vela's compiler is native code that can crash.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import msgspec
from ethosu.vela import vela
from ethosu.vela.errors import VelaError

from edgekit import tflite_file
from edgekit.converters import vela_report
from edgekit.errors import ConversionError
from edgekit.profile_types import EthosUOptions
from edgekit.tflite_file import Graph, Tensor

CONFIG = "Arm/vela.ini"
"""Arm's own file, which comes with Vela; profiles name sections of it."""

_FAILURES = (VelaError, RuntimeError, ValueError, KeyError, IndexError, AssertionError)
"""How Vela refuses a network or an option."""


class Converter:
    """Compiles networks. For `edgekit.workers.Worker`."""

    def compile(
        self, model: str, out: str, accelerator: str, system_config: str, memory_mode: str
    ) -> dict[str, Any]:
        """Compiles one network.

        Args:
            model: An int8 or int16x8 .tflite with a batch of 1.
            out: The .tflite to write, in a directory that is there.
            accelerator: Such as ethos-u55-128.
            system_config: A System_Config of Vela's configuration file.
            memory_mode: A Memory_Mode of it.

        Returns:
            An NpuEstimate as plain data.

        Raises:
            ConversionError: Vela refuses the network, or changes its inputs or outputs.
        """
        options = EthosUOptions(accelerator, system_config, memory_mode)
        made = Path(out).parent / "vela"
        printed = _run(_arguments(model, made, options))
        stem = Path(model).stem
        compiled = made / f"{stem}_vela.tflite"
        if not compiled.is_file():
            raise ConversionError(f"Vela wrote nothing for {Path(model).name}", "report it")
        source = tflite_file.read(Path(model)).main
        result = tflite_file.read(compiled).main
        estimated = vela_report.estimate(
            made / f"{stem}_summary_{system_config}.csv", printed, source, result, _by(), options
        )
        for side in ("inputs", "outputs"):
            _check_ports(side, source, result)
        compiled.replace(out)
        answer: dict[str, Any] = msgspec.to_builtins(estimated)
        return answer


def _by() -> str:
    return f"ethos-u-vela {metadata.version('ethos-u-vela')}"


def _arguments(model: str, made: Path, options: EthosUOptions) -> list[str]:
    return [
        "--accelerator-config", options.accelerator,
        "--config", CONFIG,
        "--system-config", options.system_config,
        "--memory-mode", options.memory_mode,
        "--show-cpu-operations",
        "--output-dir", str(made),
        str(Path(model).absolute()),  # a name may begin with a dash
    ]  # fmt: skip


def _run(arguments: Sequence[str]) -> str:
    """Runs Vela in this process, and returns what it and its native parts printed."""
    with tempfile.TemporaryFile() as printed:
        with _standard_output(printed):
            try:
                vela.main(list(arguments))
            except _FAILURES as error:
                raise ConversionError(
                    f"Vela refuses the model: {error}", "look for the operator it names"
                ) from None
            except SystemExit as error:
                raise ConversionError(
                    f"Vela ended with code {error.code}", "check the profile's [ethos_u]"
                ) from None
        printed.seek(0)
        return printed.read().decode(errors="replace")


@contextlib.contextmanager
def _standard_output(file: IO[bytes]) -> Iterator[None]:
    """Sends file descriptor 1 there: the compiler's own prints do not go through sys.stdout."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)


def _check_ports(side: str, source: Graph, compiled: Graph) -> None:
    wanted = [_port(source.tensors[index]) for index in getattr(source, side)]
    found = [_port(compiled.tensors[index]) for index in getattr(compiled, side)]
    if found != wanted:
        raise ConversionError(
            f"Vela changed the {side}: they were {wanted} and are {found}",
            "report it with the output of edgekit inspect",
        )


def _port(tensor: Tensor) -> tuple[Any, ...]:
    return (
        tensor.name, tuple(tensor.shape), tensor.dtype,
        tuple(tensor.scales.tolist()), tuple(tensor.zero_points.tolist()),
    )  # fmt: skip
