"""`edgekit profiles`."""

from __future__ import annotations

import click

from edgekit import hardware, options, printing, printing_profiles, registry
from edgekit.commands import CommandGroup
from edgekit.profile_types import ProfileList, ProfileReport


@click.group("profiles", cls=CommandGroup)
def profiles() -> None:
    """The hardware that --target can name."""


@profiles.command("list")
@options.common
def list_(common: options.Common) -> None:
    """List every profile."""
    found = tuple(hardware.load(name) for name in hardware.names())
    result = ProfileList("edgekit.profiles/1", found)
    printing.show(result, printing_profiles.listing(result), as_json=common.as_json)


@profiles.command("show")
@click.argument("name")
@options.common
def show(common: options.Common, name: str) -> None:
    """Show one profile, each figure with its source.

    NAME is a name of the list, or the path of a TOML file of your own, which is checked.
    """
    profile = hardware.load(name)
    result = ProfileReport(
        "edgekit.profile-report/1",
        profile=profile,
        reference=hardware.reference(name),
        convertible=registry.exists("converter", profile.format),
    )
    printing.show(result, printing_profiles.profile(result), as_json=common.as_json)
