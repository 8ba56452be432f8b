"""What edgekit offers against a bad layer; only options that there are."""

from __future__ import annotations

from edgekit.compare_types import Compared, Layer

_LADDER = (
    "convert it again with --max-drop (such as 1%): the worst layers are kept in float until the"
    " accuracy holds"
)
_CALIBRATION = (
    "calibrate on samples like those that the model will see (the calib role of --data), and"
    " convert with --max-drop (such as 1%): other ranges are tried, then the worst layers are kept"
    " in float"
)


_OTHER_WEIGHTS = (
    "its weights are not the reference's: convert the reference again; if that does not help, add"
    " --max-drop (such as 1%), which keeps the worst layers in float"
)

_NEXT = {"int4-weight": "int8-weight", "fp16": "fp32"}
"""The precision that loses less than one without calibration; fp16 for all others."""


def suggestion(artifact: Compared, layer: Layer) -> str:
    """What to do about the first bad layer of an artifact."""
    kinds = {cause.kind for cause in layer.causes}
    if artifact.format not in ("tflite", "openvino", "onnx", "tensorrt"):
        return (
            f"edgekit cannot keep '{layer.name}' of this {artifact.format} artifact in float:"
            " exclude it in the tool that quantized it, or convert the float model with edgekit,"
            " --precision int8 and --max-drop"
        )
    if "scaled-channel" in kinds:
        return _OTHER_WEIGHTS
    if artifact.precision not in ("int8", "int16x8", None):
        return f"use --precision {_NEXT.get(artifact.precision, 'fp16')}"
    if kinds & {"range-clipped", "few-levels"}:
        sixteen = ", or use --precision int16x8" if artifact.format == "tflite" else ""
        return _CALIBRATION + sixteen
    return _LADDER
