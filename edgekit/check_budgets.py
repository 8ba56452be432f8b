"""Where the limits of a check come from: the command line, or `[check]` of an edgekit.toml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import build_file
from edgekit.build_types import Budgets, BuildFile
from edgekit.check_types import Figures
from edgekit.errors import UserError

DEFAULT_FILE = "edgekit.toml"


@dataclass(frozen=True, slots=True)
class Limits:
    """What was asked for: on the command line, and in a file, which the former overrules."""

    asked: Budgets
    file: BuildFile | None = None


def resolve(asked: Budgets, config: str | Path | None) -> Limits:
    """Finds the file of budgets.

    Args:
        asked: What the command line says.
        config: An edgekit.toml. Default: the one of the current directory, but only where the
            command line has neither a budget nor a baseline: a check that says what it wants is
            not changed by what lies around.

    Raises:
        UserError: There are no budgets at all, or the file is wrong.
    """
    if config is not None:
        return Limits(asked, build_file.read(config))
    if asked != Budgets():
        return Limits(asked)
    if Path(DEFAULT_FILE).is_file():
        return Limits(asked, build_file.read(DEFAULT_FILE))
    raise UserError(
        f"nothing says what is allowed: no budget, no --baseline, and no {DEFAULT_FILE} here",
        "add --max-size-bytes N, --max-latency-ms X, --max-drop D or --baseline FILE",
    )


def of(limits: Limits, figures: Figures) -> Budgets:
    """The limits of one artifact. The path of its baseline is as this process finds it."""
    if limits.file is None:
        return limits.asked
    found = build_file.budgets(limits.file, _model_name(limits.file, figures), figures.target or "")
    if found.baseline is not None:
        place = Path(limits.file.directory) / Path(found.baseline).expanduser()
        found = msgspec.structs.replace(found, baseline=str(place))
    given = {
        name: value
        for name, value in msgspec.structs.asdict(limits.asked).items()
        if value is not None
    }
    return msgspec.structs.replace(found, **given)


def baseline_path(found: Sequence[Figures]) -> Path:
    """The one baseline that the edgekit.toml of the current directory names for all of these.

    Raises:
        UserError: There is no such file, or it names none, or several.
    """
    if not Path(DEFAULT_FILE).is_file():
        raise UserError(
            f"nothing says which baseline to write: no -o, and no {DEFAULT_FILE} here",
            "add -o baselines/NAME.json",
        )
    limits = Limits(Budgets(), build_file.read(DEFAULT_FILE))
    named = dict.fromkeys(of(limits, figures).baseline for figures in found)
    paths = [path for path in named if path is not None]
    if len(named) != 1 or not paths:
        told = f"several baselines ({', '.join(paths)})" if len(paths) > 1 else "no one baseline"
        raise UserError(
            f"{DEFAULT_FILE} names {told} under [check] for these results", "say which with -o"
        )
    return Path(paths[0])


def _model_name(file: BuildFile, figures: Figures) -> str:
    """The model's name in the file: a manifest knows it by the name of the model's own file."""
    if figures.model in file.models:
        return figures.model
    named = [name for name, table in file.models.items() if Path(table.path).stem == figures.model]
    return named[0] if len(named) == 1 else figures.model
