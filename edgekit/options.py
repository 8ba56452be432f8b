"""The options that commands share, and the types their values have."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from edgekit import hashing, units
from edgekit.errors import OutputError

MAX_SEED = 2**32 - 1
"""The largest seed that NumPy's and TensorFlow's generators both take."""

Function = Callable[..., None]


class Common(NamedTuple):
    """What every command accepts. `verbosity` is -1 with `-q`, and counts the `-v`."""

    as_json: bool
    verbosity: int
    dry_run: bool
    force: bool
    seed: int
    trust: bool


def path(text: str | Path) -> Path:
    """A path. Whether it exists is for the stage to find out: that is exit 1, not 2."""
    if text == "":
        raise click.BadParameter("it is empty; give a path")
    return Path(text)


def rate(text: str) -> float:
    """A drop or rate in [0, 1): `0.01` and `1%` mean the same."""
    number = _number(text.strip().removesuffix("%"))
    if number is None:
        raise click.BadParameter(f"'{text}' is neither a number such as 0.01 nor a percentage")
    fraction = number / 100 if text.strip().endswith("%") else number
    if not 0 <= fraction < 1:
        raise click.BadParameter(f"{text} is outside 0 to 1; one per cent is 0.01 or 1%")
    return fraction


def seconds(text: str | float) -> float:
    """A time above zero: `30` or `30s`."""
    number = _number(str(text).strip().removesuffix("s"))
    if number is None or number <= 0:
        raise click.BadParameter(f"'{text}' is not a number of seconds above 0, such as 30")
    return number


def above_zero(text: str | float) -> float:
    """A finite number above zero."""
    number = _number(str(text))
    if number is None or number <= 0:
        raise click.BadParameter(f"'{text}' is not a number above 0, such as 12.5")
    return number


def size(text: str | int) -> int:
    """Bytes: `500000`, `500MB`, `1.5 GB`."""
    found = 0 if str(text).strip() == "0" else units.parse_size(str(text))
    if found is None:
        raise click.BadParameter(f"'{text}' is not a size such as 500MB or 10GB")
    return found


def batch(text: str) -> str:
    """A batch size as text, checked: one number, a range `A..B`, or `dynamic`."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})(?:\.\.([1-9][0-9]{0,5}))?", text)
    if text != "dynamic" and found is None:
        raise click.BadParameter(
            f"'{text}' is not a number from 1 to 999,999, a range A..B of such, or dynamic"
        )
    if found and found[2] and int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"the range {text} does not rise")
    return text


def common(function: Function) -> Function:
    """Gives a command the options that all have, collected in a `Common`, its first argument."""

    @functools.wraps(function)
    def with_common(
        *,
        as_json: bool,
        verbose: int,
        quiet: bool,
        dry_run: bool,
        force: bool,
        seed: int,
        trust: bool,
        rehash: bool,
        **own: Any,
    ) -> None:
        if rehash:
            _forget_hashes()
        function(
            Common(as_json, -1 if quiet else verbose, dry_run, force, seed, trust),
            **own,
        )

    return _decorated(with_common, _COMMON)


def data(function: Function) -> Function:
    """Gives a command the options that say what data is used, and how."""
    return _decorated(function, _DATA)


def _decorated(function: Function, options: tuple[Callable[[Function], Function], ...]) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def _forget_hashes() -> None:
    try:
        hashing.forget_hashes()
    except OSError as error:
        raise OutputError(
            f"cannot forget the hashes in {hashing.cache_directory()}: {error.strerror}",
            "make it writable, or set EDGEKIT_CACHE to another directory",
        ) from None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_COMMON = (
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        help="Say more on stderr; -vv: and the traceback behind an error.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    click.option("--dry-run", is_flag=True, help="Check everything, write nothing."),
    click.option("--force", is_flag=True, help="Replace what stands in the way; run again."),
    click.option(
        "--seed",
        type=click.IntRange(0, MAX_SEED),
        metavar="N",
        default=0,
        show_default=True,
        help="Draws samples and sets every generator.",
    ),
    click.option("--trust", is_flag=True, help="Run code that a model file contains."),
    click.option("--rehash", is_flag=True, help="Forget remembered hashes of large files."),
)
_DATA = (
    click.option(
        "--data",
        metavar="SPEC",
        help="file.npz, a directory of CLASS/image, or file.py:function.",
    ),
    click.option(
        "--preprocess",
        metavar="HOW",
        help="none, unit, signed, imagenet-torch, imagenet-caffe, or mean=…,std=….",
    ),
    click.option(
        "--metric",
        metavar="METRIC",
        help="top1, top5, auc, binary, mse, iou, or file.py:function.",
    ),
)
