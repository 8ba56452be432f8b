"""What `--preprocess` may say; light, so that a plan can be checked without NumPy."""

from __future__ import annotations

import math

from edgekit.errors import UsageError
from edgekit.types import Preprocess

_FIXED = {
    "none": Preprocess("none"),
    "unit": Preprocess("unit", divide_by=255.0),
    "signed": Preprocess("signed", divide_by=127.5, mean=(1.0,)),
    # The constants of keras.applications.imagenet_utils.preprocess_input, modes torch and caffe.
    "imagenet-torch": Preprocess(
        "imagenet-torch", divide_by=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "imagenet-caffe": Preprocess("imagenet-caffe", mean=(103.939, 116.779, 123.68), bgr=True),
}
NAMES = tuple(_FIXED)
ALLOWED = ", ".join(NAMES) + ", or mean=…,std=… in raw units (mean=123.7:116.8:103.9,std=58.4)"


def parse(text: str) -> Preprocess:
    """Reads the value of `--preprocess`.

    `mean=…,std=…` gives (x − mean)/std in raw units, one value or one per channel, with colons
    between: `mean=123.7:116.8:103.9,std=58.4:57.1:57.4`. What is left out is 0 or 1.

    Raises:
        UsageError: It is none of the allowed values.
    """
    name = text.strip()
    if name in _FIXED:
        return _FIXED[name]
    found: dict[str, tuple[float, ...]] = {}
    for part in name.split(","):
        key, equals, values = part.partition("=")
        if not equals or key.strip() not in {"mean", "std"} or key.strip() in found:
            raise _unknown(text)
        found[key.strip()] = _numbers(values, text)
    mean, std = found.get("mean", ()), found.get("std", ())
    if any(value <= 0 for value in std):
        raise UsageError(f"--preprocess {text}: std must be above 0", f"allowed: {ALLOWED}")
    if len(mean) > 1 and len(std) > 1 and len(mean) != len(std):
        raise UsageError(
            f"--preprocess {text}: mean has {len(mean)} values and std {len(std)}",
            "give both one value, or one per channel",
        )
    return Preprocess(name, mean=mean, std=std)


def _numbers(values: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values.split(":"))
    except ValueError:
        raise _unknown(text) from None
    if not all(math.isfinite(number) for number in numbers):
        raise _unknown(text)
    return numbers


def _unknown(text: str) -> UsageError:
    return UsageError(f"--preprocess {text!r} is not known", f"allowed: {ALLOWED}")
