"""Looks at a `.tflite` for `arena_limits`, in a worker: the file may be anybody's.

For `edgekit.workers.Worker("edgekit.arena_work:Examiner", …)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgekit import arena, tflite_file
from edgekit.arena_types import Examined
from edgekit.tflite_file import Graph


class Examiner:
    """Plans arenas."""

    def examine(self, path: str, float_bytes: int | None, kept: list[float]) -> dict[str, Any]:
        """What one file asks of a microcontroller.

        Args:
            path: The .tflite.
            float_bytes: What a float value will take once it is quantized; None leaves it.
            kept: Shares of the channels to plan for besides.

        Returns:
            An `Examined` as plain data.
        """
        graph = tflite_file.read(Path(path)).main
        heads = {
            f"{share:g}": arena.tflm(graph, float_bytes=float_bytes, kept=share).head_bytes
            for share in kept
        }
        examined = Examined(
            arena.tflm(graph, float_bytes=float_bytes),
            heads,
            tuple(_dense_per_channel(graph)),
            tuple(_operators(graph)),
        )
        answer: dict[str, Any] = msgspec.to_builtins(examined)
        return answer


def _dense_per_channel(graph: Graph) -> list[str]:
    return [
        graph.tensors[operator.outputs[0]].name
        for operator in graph.operators
        if operator.name == "FULLY_CONNECTED" and graph.tensors[operator.inputs[1]].scales.size > 1
    ]


def _operators(graph: Graph) -> list[tuple[str, str, int]]:
    return [
        (
            graph.tensors[operator.outputs[0]].name if operator.outputs else operator.name,
            operator.name,
            max(1, operator.version),
        )
        for operator in graph.operators
    ]
