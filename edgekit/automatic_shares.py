"""The shares of a recipe's "auto": measured layer by layer, then chosen by `sensitivity`.

Nothing here imports a framework.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.compression import sensitivity
from edgekit.compression.sensitivity import Curve
from edgekit.compression_state import Work
from edgekit.layer_changes import Changing
from edgekit.recipe_types import ChannelsStep, PruneStep

OVERALL = 0.8
"""The share of all weights that the sparsity "auto" sets to zero unless told otherwise."""

CHANNEL_SHARES = (0.125, 0.25, 0.5, 0.75, 0.9)
WEIGHT_SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Where each layer's curve is measured. Beyond the last no layer goes: a layer that is empty lets
nothing through (layer collapse, see `channel_order.MOST_LOST`)."""


def of_weights(work: Work, step: PruneStep, name: str) -> tuple[dict[str, float], dict[str, Any]]:
    """The sparsity of each layer with kernels, by the names of `compression.graph`.

    Layers that are frozen stay as they are where the step trains, and do not count.

    Args:
        work: With samples that judge.
        step: A step whose sparsity is "auto".
        name: What progress calls it.

    Returns:
        The shares, and the evidence for the manifest.

    Raises:
        ModelError: No layer has a kernel that may be pruned.
    """
    subjects = work.worker.call("changeable_kernels", trained=step.epochs > 0)
    curves = _curves(work, subjects, WEIGHT_SHARES, name)
    sizes = {one["name"]: int(one["weights"]) for one in subjects}
    overall = step.overall or OVERALL
    shares = sensitivity.shares(curves, sizes, overall)
    told = [
        {"layer": layer, "weights": sizes[layer], "share": share, "curve": curves[layer]}
        for layer, share in shares.items()
    ]
    return shares, evidence(work, told) | {"overall": overall}


def of_channels(work: Work, step: ChannelsStep, name: str) -> dict[str, Curve]:
    """What each bundle of channels does to the output as it goes, by `channels.bundle_names`.

    `apply_channels` chooses by it. What "reconstruction" would make up for is not looked at.

    Args:
        work: With samples that judge.
        step: A step whose ratio is "auto".
        name: What progress calls it.

    Raises:
        ModelError: No channel may go.
    """
    subjects = work.worker.call("changeable_channels", criterion=step.criterion)
    return _curves(work, subjects, CHANNEL_SHARES, name)


def evidence(work: Work, measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What shares were chosen by, for the manifest: pairs of a share and the outputs' SQNR in dB.

    Args:
        work: The compression.
        measured: By layer (weights) or iteration (channels).
    """
    return {"role": work.role, "measured": list(measured)}


def _curves(
    work: Work, subjects: Sequence[Mapping[str, Any]], shares: Sequence[float], name: str
) -> dict[str, Curve]:
    assert work.judging is not None, "a recipe with auto has data"
    changing = Changing(work.worker, work.judging, subjects)
    samples = len(next(iter(changing.reference.values())))
    work.progress(
        f"{name}: sensitivity of {len(subjects)} layers, {len(shares)} passes each over {samples}"
        f" {work.role} samples"
    )
    curves: dict[str, Curve] = {}
    for number, subject in enumerate(subjects):
        layer = str(subject["name"])
        work.bar(number / len(subjects), f"{name}: sensitivity of {layer}")
        curves[layer] = changing.curve(layer, shares)
    return curves
