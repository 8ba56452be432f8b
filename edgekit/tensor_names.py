"""Names of tensors as people read them."""

from __future__ import annotations

SHOWN_LETTERS = 48


def short(name: str) -> str:
    """The first of the names that the TFLite converter joined for a fused operator.

    A long one keeps its end, where the layer stands.
    """
    first = name.partition(";")[0]
    return first if len(first) <= SHOWN_LETTERS else f"…{first[1 - SHOWN_LETTERS :]}"
