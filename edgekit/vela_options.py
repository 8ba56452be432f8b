"""Whether a profile's three Vela options belong together: Vela itself takes wrong ones silently.

Reads the configuration file that comes with Vela; Vela is not imported.
"""

from __future__ import annotations

import configparser
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import MissingExtra, ProfileError
from edgekit.profile_types import EthosUOptions

ACCELERATORS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256",
    "ethos-u65-512", "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024",
    "ethos-u85-2048",
)  # fmt: skip
"""What --accelerator-config of ethos-u-vela 5.2.0 takes."""

_SYSTEM, _MODE = "System_Config.", "Memory_Mode."
_WRITABLE = ("Sram", "Dram")
"""Memories that an arena can lie in."""


def check(profile: str, options: EthosUOptions) -> None:
    """Refuses options that Vela does not know, or that contradict each other.

    Args:
        profile: Its name, for the message.
        options: The profile's [ethos_u].

    Raises:
        ProfileError: An option is unknown, the system is another accelerator's, or the memory mode
            puts the arena into a memory that this system cannot write.
        MissingExtra: Vela is not installed.
    """
    _check_one(profile, "accelerator", options.accelerator, ACCELERATORS)
    config = _config()
    family = _family(options.accelerator)
    systems = [name for name in _sections(config, _SYSTEM) if _family(name) == family]
    _check_one(profile, "system_config", options.system_config, systems, options.accelerator)
    system = config[_SYSTEM + options.system_config]
    modes = [name for name in _sections(config, _MODE) if _suits(config, name, system)]
    _check_one(profile, "memory_mode", options.memory_mode, modes, options.system_config)


def _check_one(
    profile: str, key: str, value: str, allowed: Sequence[str], beside: str | None = None
) -> None:
    if value in allowed:
        return
    suits = f" that suits {beside}" if beside else " that Vela knows"
    raise ProfileError(
        f"profile {profile}: ethos_u.{key} is {value!r}, which is none{suits};"
        f" allowed: {', '.join(allowed)}",
        f'write {key} = "{allowed[0]}" into [ethos_u], or another of these',
    )


def _config() -> configparser.ConfigParser:
    found = importlib.util.find_spec("ethosu")
    places = (found.submodule_search_locations if found else None) or ()
    for place in places:
        path = Path(place) / "config_files" / "Arm" / "vela.ini"
        if path.is_file():
            config = configparser.ConfigParser()
            config.read(path, encoding="utf-8")
            return config
    raise MissingExtra(
        "Vela's configuration file (Arm/vela.ini) is not installed here",
        "pip install 'edgekit[ethos-u]'",
    )


def _family(name: str) -> str | None:
    """u55, u65 or u85, from an accelerator or a system configuration."""
    found = re.match(r"ethos[-_]u(\d+)", name, re.IGNORECASE)
    return found[1] if found else None


def _sections(config: configparser.ConfigParser, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in config.sections() if name.startswith(prefix)]


def _arena_port(config: configparser.ConfigParser, mode: str) -> str:
    """`Axi0` or `Axi1`: where a memory mode puts the arena."""
    section = config[_MODE + mode]
    while "arena_mem_area" not in section:
        section = config[section["inherit"]]
    return section["arena_mem_area"]


def _suits(config: configparser.ConfigParser, mode: str, system: configparser.SectionProxy) -> bool:
    return system[f"{_arena_port(config, mode).lower()}_port"] in _WRITABLE
