"""Float .onnx → the .onnx that TensorRT builds an engine of; needs neither TensorRT nor a GPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import onnx

from edgekit.converters import tensorrt_dialect, tensorrt_lint, tensorrt_sparsity
from edgekit.converters.onnx_conversion import Conversion

Converter = partial(Conversion, tensorrt_dialect)


class Linter:
    """Holds given .onnx files against what TensorRT refuses."""

    def lint(self, path: str) -> list[dict[str, Any]]:
        """`inspect_types.Finding`s as plain data; convert settles a batch that may vary."""
        return [msgspec.to_builtins(one) for one in tensorrt_lint.lint(onnx.load(path))]

    def sparse_layers(self, path: str) -> list[str]:
        """The layers whose weights are 2:4 sparse."""
        return list(tensorrt_sparsity.layers(onnx.load(path)))
