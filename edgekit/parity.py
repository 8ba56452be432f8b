"""How far an artifact's outputs are from its source's, and when that is too far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.chunks import Arrays
from edgekit.errors import ParityError
from edgekit.intervals import sqnr_db
from edgekit.manifest_types import Parity

FLOAT_TOLERANCE = {"fp32": 1e-3, "fp16": 5e-2}
"""Largest difference allowed, relative to the output's largest magnitude.

fp32: reassociated sums; the routes that were measured differ by 1e-7 to 1e-5. fp16: weights carry
11 significant bits (relative 5e-4), which deep networks amplify.
"""
QUANTIZED_MINIMUM_DB = -0.5
"""Below this the error carries more power than the signal: the artifact is broken.

Outputs that all became zero are at exactly 0 dB; the margin keeps rounding from deciding.
"""
QUANTIZED_LOUD_DB = 10.0
VARIES = 0.05
"""Share of an output's largest magnitude by which it has to differ between samples to vary."""


def measure(reference: Arrays, found: Arrays, precision: str, *, real_data: bool) -> Parity:
    """Compares outputs by name.

    Args:
        reference: The source's outputs, arrays of shape [n, …].
        found: The artifact's outputs, likewise, dequantized.
        precision: The artifact's precision, which sets the tolerance.
        real_data: Whether the inputs were the user's samples, or random probes.

    Raises:
        ParityError: An output is missing, has another shape, or is not finite.
    """
    max_abs = max_rel = 0.0
    for name, expected in reference.items():
        actual = _matching(name, expected, found)
        difference = float(np.abs(actual - expected.astype(np.float64)).max(initial=0.0))
        largest = float(np.abs(expected).max(initial=0.0))
        max_abs = max(max_abs, difference)
        max_rel = max(max_rel, difference / largest if largest else difference)
    return Parity(
        samples=len(next(iter(reference.values()))),
        real_data=real_data,
        max_abs=max_abs,
        max_rel=max_rel,
        sqnr_db=worst_sqnr_db(reference, found),
        tolerance=_tolerance(precision),
        agreement=_agreement(reference, found),
        constant=_constant(reference, found),
    )


def judge(parity: Parity, precision: str) -> tuple[str, ...]:
    """Refuses an artifact that does not agree with its source; warns of one that is damaged.

    Raises:
        ParityError: The difference is beyond the tolerance of the precision.
    """
    limit = FLOAT_TOLERANCE.get(precision)
    if limit is not None:
        if parity.max_rel > limit:
            raise ParityError(
                f"the {precision} artifact differs from its source by {parity.max_rel:.2g} of the"
                f" largest output; allowed is {limit:g}",
                "convert with --precision fp32" if precision == "fp16" else "inspect the model",
            )
        return ()
    if parity.constant:
        raise ParityError(
            f"the {precision} artifact gives the same output '{parity.constant}' for every sample,"
            " its source does not",
            "try --precision int16x8, int8-dynamic or fp16, whichever of these the target runs",
        )
    if parity.sqnr_db < QUANTIZED_MINIMUM_DB:
        raise ParityError(
            f"{precision} destroys this model's outputs (SQNR {parity.sqnr_db:.1f} dB: more error"
            " than signal, with every calibration tried)",
            "try --precision int16x8, int8-dynamic or fp16, whichever of these the target runs",
        )
    if parity.sqnr_db < QUANTIZED_LOUD_DB:
        warning = (
            f"{precision} damages this model's outputs: SQNR {parity.sqnr_db:.1f} dB on the"
            " calibration samples with the best calibration found; measure the accuracy (edgekit"
            " bench --data) before you ship it, or convert with --max-drop"
        )
        return (warning,)
    return ()


def worst_sqnr_db(reference: Arrays, found: Arrays) -> float:
    """The lowest signal-to-quantization-noise ratio among the outputs, in decibels."""
    return min(
        sqnr_db(expected, _matching(name, expected, found)) for name, expected in reference.items()
    )


def _matching(name: str, expected: NDArray[np.generic], found: Arrays) -> NDArray[np.float64]:
    if name not in found:
        raise ParityError(
            f"the artifact lost the output '{name}'; it has {sorted(found)}",
            "report it with the output of edgekit inspect",
        )
    actual = found[name]
    if actual.shape != expected.shape:
        raise ParityError(
            f"output '{name}' of the artifact has shape {actual.shape[1:]} per sample, its source"
            f" {expected.shape[1:]}",
            "report it with the output of edgekit inspect",
        )
    if not np.isfinite(actual).all():
        raise ParityError(
            f"output '{name}' of the artifact is not finite on samples its source handles",
            "use --precision fp32; fp16 overflows above 65504",
        )
    return actual.astype(np.float64)


def _constant(reference: Arrays, found: Arrays) -> str | None:
    """An output that stopped answering: constant over samples where the source's clearly varies."""
    for name, expected in reference.items():
        largest = float(np.abs(expected).max(initial=0.0))
        varies = len(expected) > 1 and float(np.ptp(expected, axis=0).max()) > VARIES * largest
        if varies and float(np.ptp(found[name], axis=0).max()) == 0:
            return name
    return None


def _agreement(reference: Arrays, found: Arrays) -> float | None:
    expected = next(iter(reference.values()))
    if len(reference) != 1 or expected.ndim != 2 or expected.shape[1] < 2:
        return None
    actual = next(iter(found.values()))
    return float((expected.argmax(1) == actual.argmax(1)).mean())


def _tolerance(precision: str) -> str:
    if precision in FLOAT_TOLERANCE:
        return f"max_rel <= {FLOAT_TOLERANCE[precision]:g}"
    return f"sqnr_db >= {QUANTIZED_MINIMUM_DB:g}"
