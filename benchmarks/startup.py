"""How long edgekit takes to say anything: --help, profiles, and the first sample of bench."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import processes

ROUNDS = 15
COMMANDS = {
    "edgekit --help": ["--help"],
    "edgekit profiles list": ["profiles", "list"],
    "edgekit inspect digits.keras --help": ["inspect", "--help"],
}


def measure(directory: Path) -> dict[str, Any]:
    """Wall times of whole processes, with a bare interpreter beside them."""
    del directory
    commands = {name: ["-m", "edgekit", *rest] for name, rest in COMMANDS.items()}
    commands = {"bare python -c pass": ["-c", "pass"], **commands}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(processes.run([sys.executable, *command]).wall_s)
    return {
        "rounds": ROUNDS,
        "rows": [
            {
                "command": name,
                "wall_s": statistics.median(times),
                "wall_range_s": [min(times), max(times)],
            }
            for name, times in taken.items()
        ],
    }
