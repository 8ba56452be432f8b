"""What `--metric` may be called; light, so that a plan can be checked without NumPy."""

from __future__ import annotations

from edgekit import user_code
from edgekit.errors import UsageError

NAMES = ("top1", "top5", "auc", "binary", "mse", "iou")
ALLOWED = ", ".join(NAMES) + ", or file.py:function"


def check_name(name: str | None) -> None:
    """Raises UsageError for a `--metric` that is neither built in nor `file.py:function`."""
    if name is not None and name not in NAMES and not user_code.split(name):
        raise UsageError(f"--metric {name!r} is not known", f"allowed: {ALLOWED}")
