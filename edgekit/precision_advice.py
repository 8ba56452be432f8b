"""Which other precision to name to a user: only such as the target runs."""

from __future__ import annotations

from edgekit.profile_types import Profile
from edgekit.types import Precision

_WITHOUT_DATA: tuple[Precision, ...] = ("int8-dynamic", "int8-weight", "fp16", "fp32")
_GENTLE: tuple[Precision, ...] = ("int8-weight", "fp16", "fp32")
"""What loses less than integers throughout, in rising order; `--max-drop` tries int16x8 itself."""


def without_data(profile: Profile) -> str:
    """The end of a sentence that names the smallest precision without calibration, or nothing."""
    found = next((one for one in _WITHOUT_DATA if one in profile.precision.supported), None)
    return f", or use --precision {found}" if found else ""


def more_accurate(profile: Profile, tried: Precision) -> str:
    """The beginning of a sentence that names a precision that loses less, or nothing."""
    later = _GENTLE[_GENTLE.index(tried) + 1 :] if tried in _GENTLE else _GENTLE
    found = next((one for one in later if one in profile.precision.supported), None)
    return f"use --precision {found}, " if found else ""
