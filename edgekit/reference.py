"""Writes COMMANDS.md from the commands themselves: `make docs`. A test compares the two."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from edgekit.cli import root

WIDTH = 100

_HEAD = """# Commands

Each command's own help. This file is written by `make docs`; a test fails when it is out of date.
"""


def text() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(context) for context in contexts())])


def contexts() -> Iterator[click.Context]:
    """Every command in click's own form, groups before what is in them."""
    yield from _walk(root, "edgekit", None)


def _walk(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[click.Context]:
    settings = {**command.context_settings, "terminal_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None, f"{name} lists {child} and does not have it"
            yield from _walk(found, child, context)


def _section(context: click.Context) -> str:
    return f"## {context.command_path}\n\n```text\n{context.get_help()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(text())
