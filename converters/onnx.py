"""Float .onnx → .onnx for ONNX Runtime.

int8 is static Q/DQ that its CPU kernels fuse, int8-dynamic its own operators.
"""

from __future__ import annotations

from functools import partial

from edgekit.converters import onnx_dialect
from edgekit.converters.onnx_conversion import Conversion

Converter = partial(Conversion, onnx_dialect)
