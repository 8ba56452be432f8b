"""The click classes behind every command: how help is printed and unknown names are explained."""

from __future__ import annotations

import difflib

import click

from edgekit import streams
from edgekit.errors import UsageError

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A command whose help goes through `streams`, where a reader that has left is no error."""

    def __init__(self, *args: object, **settings: object) -> None:
        settings.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses; an error of the parser learns which command it belongs to."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The help option, with a callback of ours."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option


class CommandGroup(Command, click.Group):
    """A group that lists its commands in the order of the work and explains an unknown one."""

    command_class = Command

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, invoke_without_command=True, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they were added, not sorted."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first argument names.

        Raises:
            UsageError: There is none of this name.
        """
        name, known = args[0], self.list_commands(ctx)
        if name not in known:
            raise UsageError(
                f"{ctx.command_path} has no command '{name}'; commands: {', '.join(known)}",
                _advice(ctx.command_path, difflib.get_close_matches(name, known, n=1)),
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command that was named.

        Raises:
            UsageError: None was.
        """
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            for line in ctx.get_help().splitlines():
                streams.write_note(line)
            raise UsageError("no command was named", f"{ctx.command_path} COMMAND --help")
        return result


def _advice(path: str, close: list[str]) -> str:
    return f"did you mean {path} {close[0]}?" if close else f"{path} --help says what each does"


def _print_help(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        streams.write_result(context.get_help() + "\n")
        context.exit()
