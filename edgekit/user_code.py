"""Runs the user's own functions, named as `file.py:function`.

They run only where the user names them. What they print goes to stderr; what they raise becomes
one line with the place in their file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekit import hashing
from edgekit.errors import DataError, EdgekitError

_ALONE = threading.RLock()
"""Devices are driven by threads. The user's code is not asked to bear that, and file descriptor 1
is the whole process'."""


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's, and where it stands."""

    path: Path
    name: str
    function: Callable[..., Any]

    @property
    def spec(self) -> str:
        """As the user names it."""
        return f"{self.path}:{self.name}"

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute that the user set on the function."""
        return getattr(self.function, name, default)


def split(spec: str) -> tuple[Path, str] | None:
    """`file.py:function` as path and name, or None for anything else."""
    path, _, name = spec.rpartition(":")
    return (Path(path).expanduser(), name) if path.endswith(".py") and name else None


def load(spec: str) -> UserFunction:
    """Executes the file and returns the function that the specification names.

    Raises:
        DataError: The file is missing, fails, or has no such function.
    """
    parts = split(spec)
    assert parts is not None, spec
    path, name = parts
    with _ALONE:
        module = _execute(path)
    function = getattr(module, name, None)
    if not callable(function):
        found = [key for key, value in vars(module).items() if _is_own(module, key, value)]
        raise DataError(
            f"{path} has no function {name!r}; it defines: {', '.join(found) or 'none'}",
            f"define it, or name another, as in {path}:FUNCTION",
        )
    return UserFunction(path, name, function)


@contextlib.contextmanager
def guarded(path: Path, what: str) -> Iterator[None]:
    """Runs user code: prints go to stderr, exceptions become a DataError with their line."""
    try:
        with _ALONE, _prints_to_stderr():
            yield
    except EdgekitError:
        raise
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        text = str(error).strip().splitlines()
        said = f"{kind}: {text[0][:300]}" if text else kind
        raise DataError(
            f"{what} failed at {path}:{_line(path, error)} with {said}", f"correct {path}"
        ) from None


def _execute(path: Path) -> ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "check the path") from None
    name = f"edgekit_user_{hashing.sha256_bytes(str(path.resolve()).encode() + source)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    # At the end: the file's neighbours can be imported, and can shadow nothing installed.
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    sys.modules[name] = module
    try:
        with guarded(path, str(path)):
            # Not by importlib's loader, which would trust a stale .pyc and write a new one.
            exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _prints_to_stderr() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        # A child process, or a library written in C, knows only the descriptor.
        with contextlib.suppress(OSError):
            saved = os.dup(1)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, 1)
            os.dup2(2, 1)
        yield


def _line(path: Path, error: BaseException) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] or 1 if lines else 1


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return callable(value) and own and not name.startswith("_")
