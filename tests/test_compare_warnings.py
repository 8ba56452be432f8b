"""What figures of a comparison mean, for reports written by hand."""

from __future__ import annotations

import pytest

from edgekit import compare_warnings, printing, printing_compare
from edgekit.compare_types import Compared, CompareReport, Layer, LayerReport, OutputDifference
from edgekit.types import DataRef


def report(shipped_db, seen_db, *, first_bad=None, steps=42.0):
    about = Compared("m.onnx", "0" * 64, "onnx", "int8", 9, "onnxruntime")
    layers = (
        Layer("first", "Conv", "first", "name", (1, 8), 60.0, 0.0, 0.1, 1.0),
        Layer("scores", "Gemm", "net/scores", "output", (1, 5), seen_db, 0.0, 0.1, 1.0),
    )
    return CompareReport(
        schema="edgekit.compare/1",
        reference=about,
        artifact=about,
        data=DataRef("d.npz", "0" * 64, "none"),
        outputs=(OutputDifference("scores", "scores", 80, 0.31, 0.1, shipped_db, 0.9),),
        accuracy=None,
        rerun=None,
        layers=LayerReport(32, layers, (), first_bad, 0.31, steps),
    )


def said(found) -> str:
    return " ".join(compare_warnings.warnings(found))


def test_fused_kernels_are_named_where_no_layer_explains_a_poor_output() -> None:
    found = report(25.7, 58.6)
    assert "these layers do not explain output 'scores' (25.7 dB as shipped, 58.6 dB" in said(found)
    assert "the fused kernels that ship do, which differ by up to 0.31" in said(found)
    shown = " ".join(printing.render(printing_compare.compare(found)).split())
    assert "none: these layers do not explain the output, the kernels do" in shown


@pytest.mark.parametrize(
    "found",
    [
        report(25.7, 27.0),
        report(55.0, 70.0),
        report(25.7, 58.6, first_bad="first"),
        report(25.7, 58.6, steps=1.0),
    ],
)
def test_kernels_are_not_blamed_where_layers_or_one_step_tell_it_all(found) -> None:
    assert "do not explain" not in said(found)
