"""A child that tells its environment."""

from __future__ import annotations

import os


class Cases:
    """Reads variables."""

    def variable(self, name: str) -> str | None:
        """The value that this process was given."""
        return os.environ.get(name)
