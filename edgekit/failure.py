"""Turns whatever ended a command into one line, an exit code and, with `--json`, a report."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from typing import NamedTuple

import click

from edgekit import streams
from edgekit.errors import (
    EdgekitError,
    Interrupted,
    OutputError,
    Terminated,
    UsageError,
    from_refusal,
    is_refusal,
    one_line,
)
from edgekit.interruption import TerminationSignal

BUG_EXIT_CODE = 70


class Failure(NamedTuple):
    """Why a command failed, as it is printed. `kind` is the class of the error."""

    code: int
    kind: str
    message: str
    fix: str


def report(raised: BaseException, arguments: Sequence[str]) -> int:
    """Prints why a command failed and returns its exit code.

    Args:
        raised: What ended the command.
        arguments: The command line: with `--json` a report is printed too, and with `-vv` the
            traceback behind a user's error. It is searched and not parsed, since it may be wrong.
    """
    error = _explanation(raised)
    failure = _bug(raised) if error is None else _expected(error)
    searching = _verbosity(arguments) > 1
    if error is None or (searching and not isinstance(error, UsageError)):
        for line in "".join(traceback.format_exception(raised)).splitlines():
            streams.write_note(line)
    if "--json" in _options(arguments):
        _print_report(failure)
    note(failure.message, failure.fix)
    return failure.code


def note(message: str, fix: str) -> None:
    """The one line on stderr."""
    ending = f". Fix: {fix}" if fix else ""
    streams.write_note(f"error: {message}{ending}")


def _options(arguments: Sequence[str]) -> Sequence[str]:
    """What stands before `--`."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _verbosity(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    short = sum(len(one) - 1 for one in options if re.fullmatch(r"-v+", one))
    return short + sum(one == "--verbose" for one in options)


def _explanation(raised: BaseException) -> EdgekitError | None:
    """The user's error behind an exception; None for a bug."""
    match raised:
        case EdgekitError():
            return raised
        case click.ClickException():
            return _from_click(raised)
        case KeyboardInterrupt():
            return Interrupted("interrupted; no half-written output is left")
        case TerminationSignal():
            return Terminated(f"stopped by {raised}; no half-written output is left")
        case OSError() if is_refusal(raised):
            return from_refusal(raised)
        case _:
            return None


def _expected(error: EdgekitError) -> Failure:
    return Failure(
        error.exit_code, type(error).__name__, error.message.rstrip("."), error.fix.rstrip(".")
    )


def _bug(raised: BaseException) -> Failure:
    from importlib import metadata  # noqa: PLC0415 30 ms that only a bug needs

    what = f"{type(raised).__name__}: {raised}" if str(raised) else type(raised).__name__
    version = metadata.version("edgekit")
    return Failure(
        code=BUG_EXIT_CODE,
        kind=type(raised).__name__,
        message=f"this is a bug in edgekit {version} ({one_line(what.splitlines()[0])})",
        fix="report it with the lines above",
    )


def _from_click(raised: click.ClickException) -> UsageError:
    context = raised.ctx if isinstance(raised, click.UsageError) else None
    where = context.command_path if context else "edgekit"
    if isinstance(raised, click.NoSuchOption):
        return _no_such_option(raised, where)
    message = raised.format_message().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], f"{where} --help shows what is allowed")


def _no_such_option(raised: click.NoSuchOption, where: str) -> UsageError:
    message = f"{where} has no option {raised.option_name}"
    context = raised.ctx
    if context is not None and isinstance(context.command, click.Group):
        return UsageError(
            message, f"options follow the command: {where} COMMAND {raised.option_name}"
        )
    if raised.possibilities:
        return UsageError(message, f"did you mean {' or '.join(raised.possibilities)}?")
    return UsageError(message, f"{where} --help lists its options")


def _print_report(failure: Failure) -> None:
    import msgspec  # noqa: PLC0415 a usage error must not pay for it

    from edgekit.types import ErrorBody, ErrorReport  # noqa: PLC0415

    body = ErrorBody(*failure)
    encoded = msgspec.json.encode(ErrorReport("edgekit.error/1", body))
    try:
        streams.write_result(msgspec.json.format(encoded, indent=2).decode() + "\n")
    except OutputError as error:
        streams.write_note(f"error: {error}")
