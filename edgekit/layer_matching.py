"""Which tensor of the reference a tensor of the artifact stands for, through fused operators.

In order of trust: inputs and outputs by name; names that converters keep; the same kind of operator
on matched inputs; the same values. A fused operator stands for the end of a chain (convolution,
batch normalization, activation), and which link that is the values on a few samples say. What
belongs to nothing is said, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from numpy.typing import NDArray

from edgekit.compare_sums import DifferenceSums
from edgekit.compare_types import Matching, Unmatched
from edgekit.layer_forms import Axes, arranged, forms
from edgekit.layer_types import Tap
from edgekit.layer_values import Values

SURE_COSINE = 0.95
"""From here on, equal shapes with such values are taken for the same tensor."""
DOUBTFUL_DB = 6.0
"""Below this, a match by name is given up for one that is better by BETTER_DB."""
BETTER_DB = 15.0
NO_SUCH_SHAPE = "no tensor of the reference has its shape"

NEVER_FUSED = frozenset({"concat", "conv", "deconv", "dense", "maxpool", "mean", "softmax"})
"""Families that begin anew: what comes before them is never fused into them."""

_NUMBERED = re.compile(r"(?<=[A-Za-z])\d+$")
_COPIED = re.compile(r"_\d+$")
Array = NDArray[Any]


class Match(NamedTuple):
    """A pair: positions among the taps of both, and how the artifact's axes are turned."""

    artifact: int
    reference: int
    by: Matching
    axes: Axes


class _Candidate(NamedTuple):
    reference: int
    axes: Axes
    sqnr_db: float
    cosine: float


class Taps(NamedTuple):
    """One model's taps, and their values on a few samples."""

    taps: Sequence[Tap]
    values: Values


def match(
    reference: Taps, artifact: Taps, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> tuple[list[Match], list[Unmatched]]:
    """Matches every tap of the artifact that can be matched, in its order.

    Args:
        reference: The one model.
        artifact: The other one.
        inputs: The artifact's input names by the reference's.
        outputs: Likewise.
    """
    matcher = _Matcher(reference, artifact)
    ports = {"input": _reversed(inputs), "output": _reversed(outputs)}
    found: list[Match] = []
    unmatched: list[Unmatched] = []
    for at, tap in enumerate(artifact.taps):
        matched = matcher.match(at, ports)
        if isinstance(matched, str):
            unmatched.append(Unmatched(tap.name, tap.kind, matched))
        else:
            found.append(matched)
    return found, unmatched


class _Matcher:
    def __init__(self, reference: Taps, artifact: Taps) -> None:
        self._reference, self._artifact = reference.taps, artifact.taps
        self._values_of = cache(reference.values.all_of)
        self._found_of = cache(artifact.values.all_of)
        self._matched: dict[int, int] = {}
        self._consumers: dict[int, list[int]] = {}
        self._named: dict[str, list[int]] = {}
        self._fused: dict[str, list[int]] = {}
        for at, tap in enumerate(self._reference):
            for source in tap.inputs:
                self._consumers.setdefault(source, []).append(at)
            for number, name in enumerate(tap.aliases):
                where = self._fused if number and tap.role == "inner" else self._named
                for form in _spellings(name):
                    where.setdefault(form, []).append(at)

    def match(self, at: int, ports: Mapping[str, Mapping[str, str]]) -> Match | str:
        """The match of one tap, or why there is none."""
        tap = self._artifact[at]
        if tap.role in ports and tap.port is not None:
            wanted = ports[tap.role].get(tap.port)
            own = [r for r, one in enumerate(self._reference) if one.port == wanted is not None]
            best = self._best(at, own)
            if best is not None:
                return self._settled(at, best, "input" if tap.role == "input" else "output")
        best, by = self._by_name_or_structure(at)
        if best is None or best.sqnr_db < DOUBTFUL_DB:
            alike = self._alike(at)
            if alike is not None and (best is None or alike.sqnr_db > best.sqnr_db + BETTER_DB):
                best, by = alike, "values"
        if best is None:
            return self._why(at)
        return self._settled(at, best, by)

    def _by_name_or_structure(self, at: int) -> tuple[_Candidate | None, Matching]:
        tap = self._artifact[at]
        spelled = {form for name in tap.aliases for form in _spellings(name)}
        named = [head for form in spelled for head in self._named.get(form, ())]
        best = self._best(at, self._chains(named))
        if best is None:  # the name of something that a fused operator of the reference swallowed
            fused = [head for form in spelled for head in self._fused.get(form, ())]
            best = self._best(at, fused)
            best = best if best is not None and best.sqnr_db >= DOUBTFUL_DB else None
        if best is not None:
            return best, "name"
        return self._best(at, self._chains(self._like(at))), "structure"

    def _like(self, at: int) -> Iterator[int]:
        """Taps of the reference that do the same to what the inputs were matched with.

        Or to what may be fused with that: with noise about, the wrong link of a chain may have been
        the closest.
        """
        tap = self._artifact[at]
        sources = {self._matched[one] for one in tap.inputs if one in self._matched}
        if not sources or len(sources) != len({*tap.inputs}):
            return
        if tap.family == "quantize":
            yield from sources
            return
        chains = [set(self._chains([source])) for source in sources]
        readers = {
            reader for chain in chains for link in chain for reader in self._consumers.get(link, ())
        }
        for candidate in sorted(readers):
            other = self._reference[candidate]
            if other.family == tap.family and all(chain & {*other.inputs} for chain in chains):
                yield candidate

    def _chains(self, heads: Iterable[int]) -> list[int]:
        """Taps, and those that follow each as its only reader: what may be fused with it."""
        found: dict[int, None] = {}
        for head in heads:
            at: int | None = head
            while at is not None and at not in found:
                found[at] = None
                readers = self._consumers.get(at, [])
                at = readers[0] if len(readers) == 1 and self._fuses(at, readers[0]) else None
        return list(found)

    def _fuses(self, at: int, reader: int) -> bool:
        other = self._reference[reader]
        return other.inputs == (at,) and other.family not in NEVER_FUSED

    def _alike(self, at: int) -> _Candidate | None:
        """The tap with the same values, among those that come after the matched inputs."""
        tap = self._artifact[at]
        first = max((self._matched.get(one, -1) for one in tap.inputs), default=-1)
        best = self._best(at, range(first + 1, len(self._reference)))
        return best if best is not None and best.cosine >= SURE_COSINE else None

    def _best(self, at: int, candidates: Iterable[int]) -> _Candidate | None:
        """Of taps of the same shape the one with the closest values; the last of equals."""
        best: _Candidate | None = None
        for candidate in sorted(candidates):
            shape = self._reference[candidate].shape
            for axes in forms(shape, self._artifact[at].shape):
                found = self._compared(at, candidate, axes)
                if found is not None and (best is None or found.sqnr_db >= best.sqnr_db):
                    best = found
        return best

    def _compared(self, at: int, candidate: int, axes: Axes) -> _Candidate | None:
        expected, found = self._values_of(candidate), self._found_of(at)
        if expected.size != found.size:
            return None
        sums = DifferenceSums()
        sums.add(expected, arranged(found, axes, expected.shape))
        return _Candidate(candidate, axes, sums.sqnr_db, sums.cosine or 0.0)

    def _settled(self, at: int, best: _Candidate, by: Matching) -> Match:
        self._matched[at] = best.reference
        return Match(at, best.reference, by, best.axes)

    def _why(self, at: int) -> str:
        shape = self._artifact[at].shape
        if not any(forms(other.shape, shape) for other in self._reference):
            return NO_SUCH_SHAPE
        return "no name or operator leads to a tensor of the reference, and no values are alike"


def _spellings(name: str) -> set[str]:
    """A name as converters write it: with and without the number of an output or a copy.

    Keras 3 numbers every scope of a graph that it traces: model_1/conv_1/Relu for model/conv/Relu.
    """
    plain = name.removesuffix(":0")
    *scopes, last = plain.split("/")
    found = {plain, _NUMBERED.sub("", plain)}
    if scopes and all(_COPIED.search(scope) for scope in scopes):
        found |= {"/".join([*(_COPIED.sub("", scope) for scope in scopes), last])}
    return found


def _reversed(names: Mapping[str, str]) -> dict[str, str]:
    return {own: name for name, own in names.items()}
