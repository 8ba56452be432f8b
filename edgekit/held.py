"""What the recipe that wrote a model left to be held: zeros, and values that weights share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgekit import manifest
from edgekit.manifest_types import Step


class Held(msgspec.Struct, frozen=True):
    """What is held: zeros, and kernels of at most so many values, 0 for none; see `clustering`.

    `groups`: the zeros stand in groups of consecutive inputs (N:M), which channels that go one by
    one would part.
    """

    zeros: bool = False
    clusters: int = 0
    for_int8: bool = False
    groups: bool = False


NOTHING = Held()


def of_file(path: Path) -> Held:
    """What is to be held in a file; nothing where no recipe is known, or the file has changed.

    Raises:
        UserError: Its manifest cannot be read.
    """
    found = manifest.read(path) if path.is_file() else None
    return of_steps(found.steps) if found and manifest.matches(path, found) else NOTHING


def of_steps(steps: Sequence[Step]) -> Held:
    """What the last step says that says it; the first one carries what came with its source."""
    held = NOTHING
    for step in steps:
        carried = step.detail.get("held")
        held = msgspec.convert(carried, Held) if carried else held
    return held


def lost(path: Path) -> tuple[str, ...]:
    """A warning where a file is no longer the one that its manifest records zeros or values of."""
    outdated = manifest.outdated(path)
    if outdated is None or of_steps(outdated[0].steps) == NOTHING:
        return ()
    found, why = outdated
    text = (
        f"zeros or shared values that the recipe {found.recipe} gave {path.name} are not held:"
        f" {why}; compress that, or prune and cluster again"
    )
    return (text,)
