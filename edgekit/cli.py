"""The command line: finds a command, runs it, and turns its end into an exit code.

Commands are named here and imported only when one is run, so that `edgekit --help` loads click
and nothing else; a test holds the list of what it may load.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgekit import failure, streams
from edgekit.commands import CommandGroup
from edgekit.errors import UsageError
from edgekit.interruption import signals_raise

COMMANDS = {
    "inspect": ("edgekit.cli_inspect", "inspect", "What a model is, and what a target refuses."),
    "compress": ("edgekit.cli_compress", "compress", "Make a model smaller by a recipe."),
    "convert": ("edgekit.cli_convert", "convert", "Write an artifact for a target, and prove it."),
    "bench": ("edgekit.cli_bench", "bench", "Measure artifacts: latency, memory, accuracy."),
    "compare": ("edgekit.cli_compare", "compare", "How an artifact differs, and in which layer."),
    "check": ("edgekit.cli_check", "check", "Pass or fail, for CI: budgets and a baseline."),
    "baseline": ("edgekit.cli_baseline", "baseline", "Stored results that check compares with."),
    "run": ("edgekit.cli_run", "run", "The whole chain of an edgekit.toml, where it changed."),
    "init": ("edgekit.cli_init", "init", "A commented edgekit.toml for a model."),
    "cache": ("edgekit.cli_cache", "cache", "What edgekit run keeps for the next time."),
    "device": ("edgekit.cli_device", "device", "What a device needs before it can be measured."),
    "profiles": ("edgekit.cli_profiles", "profiles", "The hardware that --target can name."),
    "recipes": ("edgekit.cli_recipes", "recipes", "The recipes that --recipe can name."),
    "schema": ("edgekit.cli_schema", "schema", "JSON Schemas of every file and every --json."),
    "doctor": ("edgekit.cli_doctor", "doctor", "What is installed here, and how to get the rest."),
    "demo": ("edgekit.cli_demo", "demo", "The whole chain on an embedded model and data."),
}
"""Command → module, attribute and one line for `edgekit --help`, in the order of the work."""


class LazyGroup(CommandGroup):
    """The root group: imports the module of a command when that command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command; None where there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{module}:{attribute} is no command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib import metadata  # noqa: PLC0415 30 ms that only --version needs

        streams.write_result(f"edgekit {metadata.version('edgekit')}\n")
        context.exit()


def _print_cmake_directory(
    context: click.Context, _parameter: click.Parameter, wanted: bool
) -> None:
    if wanted and not context.resilient_parsing:
        streams.write_result(f"{Path(__file__).parent / 'cmake'}\n")
        context.exit()


@click.group(
    cls=LazyGroup,
    epilog="""\b
Exit codes:
    0  done
    1  you can fix it: a file, a profile, an extra, a device, failed parity
    2  the command line is wrong
    3  a budget was not met; the outputs are still written
   70  a bug, with its traceback
  130  interrupted      143  terminated""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.option(
    "--cmake-dir",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_cmake_directory,
    help="Print where the CMake package is: cmake -Dedgekit_DIR=… and exit.",
)
def root() -> None:
    """From a trained model to a small, fast artifact that is proven on its device."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; whatever goes wrong is told, not raised.

    Args:
        arguments: What follows `edgekit`; None takes those of this process.
    """
    given = tuple(sys.argv[1:] if arguments is None else arguments)
    try:
        with signals_raise():
            _run(given)
    except click.exceptions.Exit as done:
        return done.exit_code
    except BaseException as raised:
        return failure.report(raised, given)
    return 0


def _run(arguments: Sequence[str]) -> None:
    for argument in arguments:
        _require_utf8(argument)
    command = ("edgekit", *arguments)
    with root.make_context("edgekit", list(arguments), obj=command) as context:
        root.invoke(context)


def _require_utf8(argument: str) -> None:
    """A file name that is not UTF-8 could be named neither in a manifest nor in JSON."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{argument!a} is not UTF-8", "rename the file") from None
