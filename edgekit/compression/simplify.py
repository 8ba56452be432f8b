"""Makes a model smaller without changing what it computes, and proves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edgekit.compression import agreement, dead_channels, graph, identities, rebuilding
from edgekit.compression.batch_norm import fold_batch_norms
from edgekit.recipe_types import Removal, Simplification

TOLERANCE = 1e-5
FOLDING_TOLERANCE = 1e-4
"""Relative: without folding only sums shrink; folding rounds every weight once more."""

INPUT_LIMIT = 65536.0
"""Larger than any 8- or 16-bit sample, raw or normalised. A proof that needs it says so."""

Probes = Sequence[Mapping[str, NDArray[Any]]]


def simplify(
    model: Any,
    *,
    probes: Probes = (),
    input_limit: float = INPUT_LIMIT,
    for_inference: bool = False,
    multiple: int = 1,
    channels: bool = True,
    not_alone: frozenset[str] = frozenset(),
) -> tuple[Any, Simplification]:
    """Removes identities, and channels that are provably dead, constant or read by nothing.

    Args:
        model: A Keras 3 model, functional or Sequential; it is never changed.
        probes: Batches of real inputs by name, to compare on besides random ones.
        input_limit: Largest magnitude of an input value that proofs may assume.
        for_inference: Also remove Dropout, noise and augmentation, and fold BatchNormalization:
            for models that are not trained any more.
        multiple: Channel counts that are multiples of this stay so; some dead channels stay then.
        channels: Remove dead channels. Not where zeros stand in groups of inputs (N:M), which the
            channels that are left would part otherwise.
        not_alone: Kinds of layers that are no reason to rebuild a model if only they would go.

    Returns:
        The model itself if there was nothing to remove, else a new one with the same input and
        output names; and what was removed, what had to stay, and why.

    Raises:
        ModelError: The model is subclassed, or a layer cannot be rebuilt.
        ParityError: The outputs differ by more than rounding; nothing is returned.
    """
    taken = graph.read(model)
    before = graph.parameters(taken)
    removed, kept = identities.remove(taken, for_inference=for_inference)
    dead, alive, frozen = (
        dead_channels.remove(taken, input_limit, multiple) if channels else ([], [], [])
    )
    folded, unfolded = fold_batch_norms(taken) if for_inference else ([], [])
    changes = (*removed, *dead, *folded)
    if all(change.kind in not_alone and change.channels is None for change in changes):
        changes = ()
    changed, difference = model, None
    if changes:
        changed = rebuilding.rebuild(taken)
        limit = FOLDING_TOLERANCE if folded else TOLERANCE
        difference = agreement.largest_difference(model, changed, probes, limit)
    return changed, Simplification(
        removed=_merged(changes),
        kept=(*kept, *alive, *unfolded),
        frozen=tuple(frozen),
        parameters_before=before,
        parameters_after=graph.parameters(taken) if changes else before,
        largest_difference=difference,
    )


def _merged(changes: Sequence[Removal]) -> tuple[Removal, ...]:
    """One entry per layer: what later rounds took is added to what the first one did."""
    found: dict[str, Removal] = {}
    for change in changes:
        first = found.get(change.layer)
        if first is not None and first.channels is not None and change.channels is not None:
            change = Removal(  # noqa: PLW2901
                change.layer,
                change.kind,
                first.channels + change.channels,
                change.remaining,
                f"{first.why}; then {change.why}",
            )
        found[change.layer] = change
    return tuple(found.values())
