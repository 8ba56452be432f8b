"""Shares per layer from what each layer's own loss does to the output.

The measure is noise over signal at the output, the worst output where there are several, when one
layer alone has lost a share of its weights (or channels) and nothing was trained. The accuracy of
a few hundred samples cannot tell most layers apart (512 samples: ± 2 points), and needs labels;
the noise is a continuous figure of every output value, and needs none.

The rule is that of bit allocation (Shoham and Gersho 1988, Efficient bit allocation for an
arbitrary set of quantizers): errors of layers that are changed independently add up as powers, so
the least total for an overall amount is where every layer's last removed weight has done the same
damage. Each layer's curve is made convex (its lower hull), its pieces are taken in the order of
damage per weight, and the last one in part, until the amount is reached.

Outputs that are ruined have as much noise as signal however much more goes, which would make the
rest of that layer free, and leave nothing of it. So damage counts as growing with the square of
the share at least: what removed parts that add up in phase would do.

Tried with nothing trained, accuracy on test. Zeros in the digits net (98.7 %) at 70 and 80 %
overall: 98.0 and 95.7 %; the same share everywhere 55.3 and 25.8 %, one threshold of magnitude for
all 93.7 and 75.0 %, the same damage of every layer 97.3 and 94.7 %. ResNet-8 (88.1 %) at 40 and
50 %: 82.3 and 74.8 %; in that order 53.8 and 15.7 %, 79.8 and 64.4 %, 74.0 and 48.5 %. Channels of
ResNet-8 by L1, normalization measured again, at 80 % of the MACs, 50 % of them and 50 % of the
parameters: 74.1, 32.0 and 40.8 %; the same share everywhere 67.3, 26.8 and 28.1 %. (Those at 40 and
50 % zeros and at 80 % of the MACs were measured before damage counted as growing; without that,
50 % of the MACs gave 15.1 %.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import RecipeError

Curve = Sequence[tuple[float, float]]
"""(share that goes, SQNR of the outputs in dB) of one layer, the shares rising from above 0."""

Piece = tuple[float, float, float]
"""Of a convex curve: the shares at its two ends, and the damage per share between them."""

GROWTH = 2
"""The power of the share with which damage grows at least, whatever was measured."""

_ENOUGH = 1e-9


def damage(sqnr_db: float) -> float:
    """Noise power over signal power."""
    return float(10 ** (-sqnr_db / 10))


def pieces(curve: Curve) -> list[Piece]:
    """The lower convex hull of a layer's damage, from nothing on: slopes rise, and are not below 0.

    From one share to the next damage counts as growing with `GROWTH` at least.
    """
    points = [(0.0, 0.0)]
    for share, sqnr_db in curve:
        before, least = points[-1]
        grown = least * (share / before) ** GROWTH if before else 0.0
        points.append((share, max(damage(sqnr_db), grown)))
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return [(a[0], b[0], _slope(a, b)) for a, b in itertools.pairwise(hull)]


def shares(
    curves: Mapping[str, Curve], sizes: Mapping[str, int], overall: float
) -> dict[str, float]:
    """What share each layer loses, so that all together lose `overall` with the least damage.

    Args:
        curves: By layer.
        sizes: How many weights (or channels) each of these layers has.
        overall: Share of all of them, below the last share of the curves.

    Returns:
        The share of each layer, 0 to the last of its curve.

    Raises:
        RecipeError: The curves do not reach that far.
    """
    priced = sorted(
        (slope / sizes[name], number, name, high - low)
        for number, (name, curve) in enumerate(curves.items())
        for low, high, slope in pieces(curve)
    )
    found = dict.fromkeys(curves, 0.0)
    left = overall * sum(sizes[name] for name in curves)
    for _, _, name, share in priced:
        taken = min(left, share * sizes[name])
        found[name] += taken / sizes[name]
        left -= taken
    if left > _ENOUGH * sum(sizes.values()):
        most = max(curve[-1][0] for curve in curves.values())
        raise RecipeError(
            f"overall is {overall:g}, and no layer is measured beyond {most:g}",
            f"overall = {most:g} or less",
        )
    return found


def per_channel(curve: Curve, size: int) -> NDArray[np.float64]:
    """What removing a bundle's channels one after the other adds to the damage, each channel.

    As many values as may go: up to the last share of the curve, and never all channels.
    """
    ends = [(high, slope / size) for _, high, slope in pieces(curve)]
    most = min(size - 1, math.floor(size * curve[-1][0]))
    shares = (np.arange(most) + 0.5) / size
    at = np.searchsorted([high for high, _ in ends], shares)
    return np.array([slope for _, slope in ends])[at]


def _slope(low: tuple[float, float], high: tuple[float, float]) -> float:
    return (high[1] - low[1]) / (high[0] - low[0])
