"""`edgekit doctor`."""

from __future__ import annotations

import click

from edgekit import doctor as stage
from edgekit import options, printing, printing_doctor
from edgekit.commands import Command


@click.command("doctor", cls=Command)
@options.common
def doctor(common: options.Common) -> None:
    """Show runtimes, devices and extras found here, and how to get the rest.

    Reads only; imports no framework. Says whether this machine can measure now.
    """
    report = stage.examine()
    printing.show(report, printing_doctor.doctor(report), as_json=common.as_json)
