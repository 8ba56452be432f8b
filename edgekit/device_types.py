"""What `edgekit device setup` did."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class DeviceSetup(Struct, frozen=True, forbid_unknown_fields=True):
    """The steps that brought a device what edgekit needs there, in order."""

    schema: Literal["edgekit.device-setup/1"]
    url: str
    steps: tuple[str, ...]
