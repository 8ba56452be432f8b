"""`edgekit device`."""

from __future__ import annotations

import click
from rich.console import RenderableType

from edgekit import device_setup, options, printing, streams
from edgekit.commands import Command, CommandGroup
from edgekit.device_setup import DeviceSetup


@click.group("device", cls=CommandGroup)
def device() -> None:
    """Devices that artifacts run on."""


@device.command(
    "setup",
    cls=Command,
    epilog="""\b
Examples:
  edgekit device setup ssh://pi@kitchen.local --dry-run
  edgekit device setup ssh://pi@kitchen.local --runtime openvino
  edgekit device setup qemu://aarch64""",
)
@click.argument("url", metavar="URL")
@click.option(
    "--runtime",
    type=click.Choice(["litert", "openvino", "onnxruntime"]),
    default="litert",
    show_default=True,
    help="What is to run artifacts there.",
)
@options.common
def setup(common: options.Common, url: str, runtime: str) -> None:
    """Bring a device the runtime that edgekit needs there, into an environment of its own.

    By ssh the device's own Python and pip do it, in ~/.local/share/edgekit/venv there, and need a
    package index. For qemu://aarch64 an arm64 userland is fetched into the cache of this machine.
    With --dry-run nothing is changed, and what would be is said.
    """
    if common.dry_run:
        plan = device_setup.plan(url, runtime)
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    with streams.progress(common.verbosity) as say:
        done = device_setup.set_up(url, runtime, say)
    printing.show(done, _shown(done), as_json=common.as_json)


def _shown(done: DeviceSetup) -> RenderableType:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(done.versions.items()))
    return printing.facts(
        [
            ("device", done.url),
            ("runtime", done.runtime),
            ("in", done.venv + (", where it was already: nothing was changed" * done.was_there)),
            ("has", versions),
            ("next", f"edgekit bench ARTIFACT --device {done.url}"),
        ]
    )
