"""What can go wrong, as one small tree.

EdgekitError
├── UsageError         2   wrong from the command line alone
├── UserError          1   the user can fix it; found by looking outside the command line
│   ├── ModelError         a model file: unreadable, unsafe, unsupported
│   ├── DataError          --data, --preprocess, --metric and what they name
│   ├── ProfileError       a hardware profile
│   ├── RecipeError        a compression recipe
│   ├── BuildFileError     edgekit.toml
│   ├── MissingExtra       a framework that is not installed
│   ├── OutputError        the place where the output should go
│   ├── ConversionError    a model or layer that cannot be converted as asked
│   ├── ParityError        an artifact that does not agree with its source
│   └── DeviceError        a device or its runtime
├── GateError          3   a budget was not met; the outputs are still written
├── Interrupted      130   Ctrl-C
└── Terminated       143   SIGTERM

Anything else that is raised is a bug (70) and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from edgekit.check_types import CheckReport
    from edgekit.result_types import BenchReport


class EdgekitError(Exception):
    """A failure that edgekit explains in one line.

    Args:
        message: What was wrong, the value that came, and what is allowed.
        fix: What to type or change next, without a full stop.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = one_line(message)
        self.fix = one_line(fix)

    def __str__(self) -> str:
        """The message and the fix on one line, as the command line prints them."""
        return f"{self.message}. Fix: {self.fix}" if self.fix else self.message


class UsageError(EdgekitError):
    """Wrong from the command line alone."""

    exit_code = 2


class UserError(EdgekitError):
    """Something outside the command line that the user can fix."""


class ModelError(UserError):
    """A model file that cannot be read, trusted or used."""


class DataError(UserError):
    """Data, preprocessing or a metric that does not fit."""


class ProfileError(UserError):
    """An unknown or invalid hardware profile."""


class RecipeError(UserError):
    """An unknown or invalid compression recipe."""


class BuildFileError(UserError):
    """An edgekit.toml that is missing, or says what cannot be."""


class MissingExtra(UserError):
    """A framework that this needs and this environment lacks."""


class OutputError(UserError):
    """An output that cannot be written or must not be replaced."""


class ConversionError(UserError):
    """A model that cannot be converted as asked."""


class ParityError(UserError):
    """An artifact whose outputs do not agree with its source."""


class DeviceError(UserError):
    """A device, or a runtime on it, that cannot be used. `report`: what bench had measured."""

    report: BenchReport | None = None


class GateError(EdgekitError):
    """A budget or gate that was not met. `report` is what a check found of every gate."""

    exit_code = 3
    report: CheckReport | None = None


class Interrupted(EdgekitError):
    """The user pressed Ctrl-C."""

    exit_code = 130


class Terminated(EdgekitError):
    """The process was asked to end (SIGTERM)."""

    exit_code = 143


MAX_LINE = 1000


_REFUSALS = frozenset({
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ELOOP, errno.EMFILE,
    errno.ENAMETOOLONG, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EPERM, errno.EROFS,
})  # fmt: skip


_REMEDIES = {
    errno.EDQUOT: "free some space there",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "give the machine more memory",
    errno.ENOSPC: "free some space there",
}


def is_refusal(error: OSError) -> bool:
    """Whether the operating system refused what the user can grant: space, rights, a shorter name.

    Anything else, such as a file that is not where it was put, is a bug of edgekit.
    """
    return error.errno in _REFUSALS


def from_refusal(error: OSError) -> UserError:
    """A refusal of the operating system as one line."""
    what = f"{os.fsdecode(error.filename)[:200]}: " if error.filename else ""
    fix = _REMEDIES.get(error.errno or 0, "check that path and its permissions")
    return UserError(f"{what}{error.strerror}", fix)


def one_line(text: str) -> str:
    """Folds white space, drops control characters and caps the length.

    Names from hostile files reach messages; they must not steer a terminal or flood a log.
    """
    folded = " ".join(text.split())
    shown = "".join(character for character in folded if character.isprintable())
    if len(shown) <= MAX_LINE:
        return shown
    half = (MAX_LINE - 1) // 2  # the reason often stands at the end, behind a long name
    return f"{shown[:half]}…{shown[-half:]}"


def to_wire(error: EdgekitError) -> dict[str, str]:
    """An error as plain data, to cross from a worker process to its parent."""
    return {"type": type(error).__name__, "message": error.message, "fix": error.fix}


def from_wire(wire: dict[str, str]) -> EdgekitError:
    """The inverse of `to_wire`."""
    return _BY_NAME.get(wire["type"], UserError)(wire["message"], wire["fix"])


def _tree(root: type[EdgekitError]) -> dict[str, type[EdgekitError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


_BY_NAME = _tree(EdgekitError)
