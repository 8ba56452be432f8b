"""What each step is expected to buy on a target, said before it is run and checked by bench.

The figures are those of the profile's `[gain]`, each with its source; what no profile knows stays
None and is said to be unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgekit import hardware, manifest, units
from edgekit.errors import UserError
from edgekit.profile_types import Gain, Profile, Technique
from edgekit.recipe_types import (
    ChannelsStep,
    Claim,
    ClusterStep,
    DistillStep,
    FinetuneStep,
    PruneStep,
    QuantizeStep,
    RecipeStep,
    SimplifyStep,
)
from edgekit.types import Precision

FIGURES = ("latency", "raw_size", "zipped_size")
CONVERT, QUANTIZE = "convert", str(QuantizeStep.__struct_config__.tag)
SHARES: dict[Technique, float] = {"channels": 0.5, "prune": 0.8}
"""The share of channels or weights that a profile's figures for a technique hold for."""

_SAID = {"latency": "as fast", "raw_size": "smaller", "zipped_size": "smaller zipped"}
_TRAINED = "by definition: training changes values, neither how many there are nor what is computed"
_DEPENDS = "depends on what is dead in this model; it never makes a model slower or larger"


def claims(steps: Sequence[RecipeStep], profile: Profile | None) -> tuple[Claim, ...]:
    """What a profile's `[gain]` says of each step, in their order.

    Args:
        steps: The steps of a recipe.
        profile: The target; without one nothing is known, and that is what the claims say.
    """
    return tuple(_claim(step, profile) for step in steps)


def with_macs(claim: Claim, before: int, after: int) -> Claim:
    """A claim that also says how many multiply-accumulates went: counted, no latency claim.

    Args:
        claim: What was said of the step before it was run.
        before: Multiply-accumulates of one sample before the step.
        after: Likewise after it.
    """
    return msgspec.structs.replace(claim, macs=before / after)


def of_conversion(source: Path, precision: Precision, target: str) -> tuple[Claim, ...]:
    """The claims for an artifact: those of the model it is made from, and that of its precision.

    The source's claims are looked up anew where it was compressed for another target. What it
    planned or was converted to before gives way to `precision`.

    Args:
        source: The model that is converted, with or without a manifest.
        precision: What the artifact has.
        target: The profile it is made for.

    Raises:
        ProfileError: The target is unknown or invalid.
    """
    profile = hardware.load(target)
    earlier = [claim for claim in _recorded(source) if claim.step not in (QUANTIZE, CONVERT)]
    moved = [anew(claim, profile) for claim in earlier]
    return (*moved, _looked_up(CONVERT, precision, None, profile))


def anew(claim: Claim, profile: Profile) -> Claim:
    """What a claim says for another target; what was counted stays."""
    if claim.target == profile.name:
        return claim
    if claim.technique is None:
        return msgspec.structs.replace(claim, target=profile.name)
    found = _looked_up(claim.step, claim.technique, claim.share, profile)
    return msgspec.structs.replace(found, macs=claim.macs)


def sentences(made: Sequence[Claim]) -> list[str]:
    """One sentence per claim with a target: what is expected, from what, and what is not known."""
    return [f"{_name(claim)}: {_expected(claim)}" for claim in made if claim.target]


def warnings(made: Sequence[Claim]) -> list[str]:
    """One sentence per step that buys nothing on its target, though it is there to buy something.

    Training and lossless simplification promise nothing and are not warned of.
    """
    return [text for claim in made if claim.technique for text in _nothing_bought(claim)]


def between(baseline: Sequence[Claim], candidate: Sequence[Claim]) -> Gain:
    """What is claimed of one artifact against another that was made from the same float model.

    Claims that both have cancel out. A figure is None as soon as one of the remaining steps has
    none; steps that promise no gain count as 1.
    """
    only_before, only_after = _apart(baseline, candidate), _apart(candidate, baseline)
    found = {
        figure: _quotient(
            [getattr(claim, figure) for claim in only_after],
            [getattr(claim, figure) for claim in only_before],
        )
        for figure in FIGURES
        if only_before or only_after
    }
    return Gain(**found)


def counted(baseline: Sequence[Claim], candidate: Sequence[Claim]) -> float | None:
    """The baseline's multiply-accumulates over the candidate's, where every one was counted."""
    only_before, only_after = (
        [claim.macs for claim in _apart(one, other) if claim.technique == "channels"]
        for one, other in ((baseline, candidate), (candidate, baseline))
    )
    return _quotient(only_after, only_before) if only_before or only_after else None


def sources(baseline: Sequence[Claim], candidate: Sequence[Claim]) -> tuple[str, ...]:
    """Where the figures of `between` come from, each text once, with the technique in front."""
    apart = (*_apart(candidate, baseline), *_apart(baseline, candidate))
    texts = (
        f"{_name(claim)}, {_plain(figure)}: {text}"
        for claim in apart
        for figure, text in claim.sources.items()
    )
    return tuple(dict.fromkeys(texts))


def _claim(step: RecipeStep, profile: Profile | None) -> Claim:
    kind = str(step.__struct_config__.tag)
    target = profile.name if profile else None
    if isinstance(step, QuantizeStep):
        return _looked_up(kind, step.precision, None, profile)
    if isinstance(step, ChannelsStep):
        share = None if step.ratio == "auto" else step.ratio
        return _looked_up(kind, "channels", share, profile)
    if isinstance(step, PruneStep):
        share = None if step.sparsity == "auto" else step.sparsity
        return _looked_up(kind, "prune", share, profile)
    if isinstance(step, ClusterStep):
        return _looked_up(kind, "cluster", None, profile)
    if isinstance(step, FinetuneStep | DistillStep):
        figures = dict.fromkeys(("latency", "raw_size"), _TRAINED)
        note = "buys accuracy, and by itself neither speed nor size"
        return Claim(kind, None, target, 1.0, 1.0, sources=figures, note=note)
    assert isinstance(step, SimplifyStep), f"{kind} has no rule here"
    return Claim(kind, None, target, note=_DEPENDS)


def _looked_up(
    step: str, technique: Technique, share: float | None, profile: Profile | None
) -> Claim:
    """A step's figures in `[gain]`, or none and the reason."""
    if profile is None:
        note = "nothing is known without a target"
        return Claim(step, technique, None, share=share, note=note)
    made = Claim(step, technique, profile.name, share=share)
    gain = profile.gain.get(technique, Gain())
    holds_for = SHARES.get(technique)
    if holds_for is not None and share != holds_for:
        note = _other_share(technique, share, holds_for, gain)
        return msgspec.structs.replace(made, note=note)
    figures = {figure: getattr(gain, figure) for figure in FIGURES}
    told = {
        figure: profile.sources.get(f"gain.{technique}.{figure}", f"the profile {profile.name}")
        for figure, value in figures.items()
        if value is not None
    }
    unknown = [_plain(figure) for figure, value in figures.items() if value is None]
    note = f"not known: {', '.join(unknown)}" if unknown else ""
    return msgspec.structs.replace(made, **figures, sources=told, note=note)


def _recorded(source: Path) -> tuple[Claim, ...]:
    """The claims of a model's own manifest; none where it is not the file that this describes."""
    try:
        found = manifest.read(source) if source.is_file() else None
    except UserError:
        return ()
    return found.claims if found and manifest.matches(source, found) else ()


def _other_share(technique: Technique, share: float | None, holds_for: float, gain: Gain) -> str:
    what = "channels" if technique == "channels" else "weights"
    asked = "a budget" if share is None else f"{100 * share:g} % of the {what}"
    if gain.latency is None:
        return f"not known for {asked}"
    return (
        f"not known for {asked}: the profile's {units.factor_of(gain.latency)} as fast holds for"
        f" {100 * holds_for:g} %"
    )


def _expected(claim: Claim) -> str:
    known = [
        f"{units.factor_of(value)} {_SAID[figure]} ({claim.sources[figure]})"
        for figure in FIGURES
        if (value := getattr(claim, figure)) is not None and claim.technique
    ]
    where = f"on {claim.target} " if claim.target else ""
    parts = [f"expected {where}{', '.join(known)}"] if known else []
    if claim.note:
        parts.append(claim.note if known or claim.technique is None else f"{where}{claim.note}")
    if claim.macs is not None:
        parts.append(f"multiply-accumulates × {units.significant(1 / claim.macs)}, counted")
    return "; ".join(parts)


def _nothing_bought(claim: Claim) -> Iterator[str]:
    name, where = _name(claim), claim.target
    if claim.latency is not None and claim.latency <= 1:
        yield (
            f"{name} is not expected to make the model faster on {where}"
            f" (latency factor {claim.latency:g}); measure it with edgekit bench"
        )
    if claim.raw_size is not None and claim.raw_size <= 1:
        zipped = claim.zipped_size
        only = f", only the zipped one (factor {zipped:g})" if zipped and zipped > 1 else ""
        yield (
            f"{name} is not expected to make the file smaller on {where}"
            f" (raw size factor {claim.raw_size:g}){only}"
        )


def _apart(these: Sequence[Claim], others: Sequence[Claim]) -> list[Claim]:
    """The claims that only these have; who made them first does not matter."""
    left = [_identity(claim) for claim in others]
    found = []
    for claim in these:
        if _identity(claim) in left:
            left.remove(_identity(claim))
        else:
            found.append(claim)
    return [claim for claim in found if claim.technique is not None or claim.latency is not None]


def _identity(claim: Claim) -> tuple[object, ...]:
    return (claim.technique or claim.step, claim.share, claim.macs)


def _quotient(over: Sequence[float | None], under: Sequence[float | None]) -> float | None:
    if None in over or None in under:
        return None
    return math.prod(value or 1.0 for value in over) / math.prod(value or 1.0 for value in under)


def _name(claim: Claim) -> str:
    return claim.technique or claim.step


def _plain(figure: str) -> str:
    return figure.replace("_", " ")
