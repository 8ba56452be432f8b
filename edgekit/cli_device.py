"""`edgekit device`."""

from __future__ import annotations

import click

from edgekit import options, printing, registry, streams
from edgekit.commands import CommandGroup
from edgekit.device_types import DeviceSetup
from edgekit.errors import UsageError
from edgekit.types import DryRun


@click.group("device", cls=CommandGroup)
def device() -> None:
    """What a device needs before anything can be measured there."""


@device.command(
    "setup",
    epilog="""\b
Examples:
  edgekit device setup qemu://aarch64 --dry-run
  edgekit device setup qemu://aarch64""",
)
@click.argument("url")
@options.common
def setup(common: options.Common, url: str) -> None:
    """Bring a device the runtime that edgekit needs there.

    This is the one command that fetches anything; --dry-run says what.
    """
    scheme = url.partition("://")[0]
    module = registry.target(scheme)
    if not hasattr(module, "setup"):
        raise UsageError(f"device '{url}' needs no setup", f"edgekit bench ARTIFACT --device {url}")
    with streams.progress(common.verbosity) as say:
        steps: tuple[str, ...] = module.setup(url, say, dry_run=common.dry_run)
    if common.dry_run:
        plan = DryRun("edgekit.dry-run/1", runs=steps)
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    report = DeviceSetup("edgekit.device-setup/1", url, steps)
    shown = printing.facts(("done", step) for step in steps)
    printing.show(report, shown, as_json=common.as_json)
