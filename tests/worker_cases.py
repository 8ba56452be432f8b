"""A child that tells its environment, or crashes."""

from __future__ import annotations

import os
import signal


class Cases:
    """Reads variables; ends as a framework's bug would."""

    def variable(self, name: str) -> str | None:
        """The value that this process was given."""
        return os.environ.get(name)

    def crash(self) -> None:
        """Says something, and is killed by the system."""
        os.write(2, b"about to crash\n")
        os.kill(os.getpid(), signal.SIGSEGV)

    def unsendable(self) -> set[int]:
        """What no JSON can hold."""
        return {1}
