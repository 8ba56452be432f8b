"""Which inputs of linear maps can go, and what the remaining weights become, in closed form.

The weights of a layer answer a least-squares problem: they give its outputs from its inputs. Taking
away inputs raises the squared error by a known amount, and the best remaining weights follow from
the inverse of the inputs' second moments (Hassibi and Stork 1993, Second Order Derivatives for
Network Pruning; by groups of weights Kurtic et al. 2023, ZipLM, arXiv 2302.04089). Channels go one
at a time, the cheapest first, all readers of a channel counted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DAMPING = 0.01
"""Of the mean second moment: what holds weights where they were, as far as data does not tell.

On MLPerf Tiny's autoencoder, which is pruned with sounds of one machine and tested on four, 0.1 and
0.001 were each worse (AUC at half of the channels 0.854, 0.872 and 0.865).
"""

INTERCEPT = -1
"""What `Problem.groups` calls the row of the intercept, which has no channel."""
TINY = 1e-9


@dataclass(slots=True)
class Problem:
    """One reader of channels: `weights` (rows, outputs) take its inputs to its outputs.

    Attributes:
        moments: Mean of inputs times inputs, (rows, rows); (rows,) where only squares are known,
            and the weights then stay as they are.
        targets: Mean of inputs times wanted outputs, (rows, outputs).
        weights: The weights as they are; the last row is the intercept's where there is one.
        groups: The channel that each row reads; INTERCEPT for the last row of some.
        scale: Variance of the wanted outputs: errors of several readers are shares of it.
    """

    moments: Array
    targets: Array
    weights: Array
    groups: Array
    scale: float

    @property
    def adjusts(self) -> bool:
        """Whether the remaining weights make up for what goes."""
        return self.moments.ndim == 2


@dataclass(frozen=True, slots=True)
class Chosen:
    """`gone` are channels in the order in which they go; `weights` per problem, full shape.

    `costs` are what each one's end adds to the mean squared errors, as shares of the outputs'
    variances, summed over problems.
    """

    gone: Array
    costs: Array
    weights: list[Array]


def eliminate(problems: Sequence[Problem], candidates: Array, count: int) -> Chosen:
    """Takes `count` channels away.

    Args:
        problems: Every reader of the channels; at least one.
        candidates: The channels that may go, as the problems' `groups` name them.
        count: How many go, fewer than there are.

    Returns:
        Rows of channels that are gone hold zeros.
    """
    states = [_State(problem, candidates) for problem in problems]
    left = np.ones(candidates.size, bool)
    gone, costs = [], []
    for _ in range(count):
        cost = np.where(left, sum(state.costs(left) for state in states), np.inf)
        at = int(np.argmin(cost))
        left[at] = False
        gone.append(at)
        costs.append(float(cost[at]))
        for state in states:
            state.remove(at)
    return Chosen(
        candidates[np.array(gone, np.int64)], np.array(costs), [state.weights for state in states]
    )


class _State:
    """A problem while channels go: the inverse of its moments, and the best weights."""

    def __init__(self, problem: Problem, candidates: Array) -> None:
        self._problem = problem
        self._rows = [np.flatnonzero(problem.groups == group) for group in candidates]
        sizes = np.array([rows.size for rows in self._rows])
        self._by_size = {int(size): np.flatnonzero(sizes == size) for size in np.unique(sizes)}
        self._gone = np.zeros(problem.groups.size, bool)
        if not problem.adjusts:
            self.weights = problem.weights.copy()
            return
        damped = problem.moments + np.diag(_damping(problem))
        self._inverse = np.linalg.inv(damped)
        wanted = problem.targets + _damping(problem)[:, None] * problem.weights
        self.weights = self._inverse @ wanted

    def costs(self, left: Array) -> Array:
        """How much each channel's end would add to the error, as a share of the outputs."""
        found = np.zeros(left.size)
        for size, members in self._by_size.items():
            at = members[left[members]]
            if size and at.size:
                found[at] = self._costs(np.stack([self._rows[one] for one in at]))
        return found / self._problem.scale

    def _costs(self, rows: Array) -> Array:
        """Of channels that are read by equally many rows, [channels, rows]."""
        weights = self.weights[rows]
        if not self._problem.adjusts:
            return np.asarray((self._problem.moments[rows][..., None] * weights**2).sum((1, 2)))
        blocks = self._inverse[rows[:, :, None], rows[:, None, :]]
        return np.asarray((weights * np.linalg.solve(blocks, weights)).sum((1, 2)))

    def remove(self, at: int) -> None:
        rows = self._rows[at]
        if not rows.size:
            return
        if self._problem.adjusts:
            columns = self._inverse[:, rows]
            share = np.linalg.solve(columns[rows], np.hstack([columns.T, self.weights[rows]]))
            size = self._inverse.shape[0]
            self._inverse -= columns @ share[:, :size]
            self.weights -= columns @ share[:, size:]
        self._gone[rows] = True
        self.weights[self._gone] = 0.0


def _damping(problem: Problem) -> Array:
    """Per row; next to nothing for an intercept, which is free."""
    squares = np.diag(problem.moments)
    inputs = problem.groups != INTERCEPT
    return np.where(inputs, DAMPING * squares[inputs].mean() + TINY, TINY)
