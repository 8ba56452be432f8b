"""What a model needs of TensorFlow Lite Micro: its operators, and a program that tests it there."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.converters import c_files, c_text
from edgekit.converters.c_types import Port
from edgekit.errors import ConversionError
from edgekit.tflite_file import Model

TOLERANCE, FLOAT_TOLERANCE = 1.0, 1e-4
"""How far an output may be off: optimised kernels round an integer by one step differently."""
_METHODS = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
"""Where the resolver's method is not the operator's name in camel case."""


def methods(model: Model) -> tuple[str, ...]:
    """The resolver's methods for all operators of a model, sorted.

    Raises:
        ConversionError: One is custom, and TensorFlow Lite Micro does not know it.
    """
    found = set()
    for operator in model.operators():
        if operator.custom:
            raise ConversionError(
                f"the model has the custom operator '{operator.name}', whose kernel --emit c-array"
                " does not know",
                "convert with built-in operators only",
            )
        found.add(f"Add{_camel(operator.name)}")
    return tuple(sorted(found))


def resolver(name: str, origin: str, model: Model) -> str:
    """The header that registers exactly the operators of a model."""
    added, guard = methods(model), f"EDGEKIT_{name.upper()}_RESOLVER_H"
    calls = " ||\n        ".join(f"(resolver.{method}() != kTfLiteOk)" for method in added)
    return "\n".join([
        f"/* {c_text.comment(origin)} */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"',
        "",
        f"#define {name.upper()}_OPERATORS {len(added)}",
        "",
        f"inline TfLiteStatus {name}_add_operators(",
        f"    tflite::MicroMutableOpResolver<{name.upper()}_OPERATORS> &resolver)",
        "{",
        f"    if ({calls}) {{",
        "        return kTfLiteError;",
        "    }",
        "    return kTfLiteOk;",
        "}",
        "",
        f"#endif /* {guard} */",
        "",
    ])  # fmt: skip


def main(name: str, origin: str, inputs: Sequence[Port], outputs: Sequence[Port], stem: str) -> str:
    """A program that runs the golden vectors in TensorFlow Lite Micro: PASS, or FAIL and 1."""
    upper = name.upper()
    copies = [_copy(c_files.golden_name(name, port), n) for n, port in enumerate(inputs)]
    checks = [_check(name, port, number) for number, port in enumerate(outputs)]
    condition = " ||\n            ".join(["(interpreter.Invoke() != kTfLiteOk)", *checks])
    return "\n".join([
        f"/* {c_text.comment(origin)} */",
        f'#include "{stem}_golden.h"',
        f'#include "{stem}_resolver.h"',
        "",
        "#include <cstdio>",
        "#include <cstring>",
        "",
        '#include "tensorflow/lite/micro/micro_interpreter.h"',
        '#include "tensorflow/lite/schema/schema_generated.h"',
        "",
        _DIFFERS,
        "",
        "int main()",
        "{",
        f"    alignas(16) static unsigned char arena[{upper}_ARENA_BYTES];",
        f"    static tflite::MicroMutableOpResolver<{upper}_OPERATORS> resolver;",
        "    int wrong = 0;",
        "",
        f"    if ({name}_add_operators(resolver) != kTfLiteOk) {{",
        f'        std::printf("FAIL: {name}, an operator could not be registered\\n");',
        "        return 1;",
        "    }",
        f"    tflite::MicroInterpreter interpreter(tflite::GetModel({name}_data), resolver, arena,",
        "                                         sizeof arena);",
        "    if (interpreter.AllocateTensors() != kTfLiteOk) {",
        f'        std::printf("FAIL: {name}, an arena of %u bytes is too small\\n",',
        "                    static_cast<unsigned>(sizeof arena));",
        "        return 1;",
        "    }",
        f"    for (int i = 0; i < {upper}_GOLDEN_COUNT; ++i) {{",
        *copies,
        f"        if ({condition}) {{",
        "            ++wrong;",
        "        }",
        "    }",
        f'    std::printf("%s: {name}, %d of %d golden vectors differ, %u bytes of arena used\\n",',
        f'                (wrong == 0) ? "PASS" : "FAIL", wrong, {upper}_GOLDEN_COUNT,',
        "                static_cast<unsigned>(interpreter.arena_used_bytes()));",
        "    return (wrong == 0) ? 0 : 1;",
        "}",
        "",
    ])  # fmt: skip


def _copy(golden: str, number: int) -> str:
    return (
        f"        std::memcpy(interpreter.input({number})->data.raw, {golden}[i],\n"
        f"                    sizeof {golden}[i]);"
    )


def _check(name: str, port: Port, number: int) -> str:
    tolerance = FLOAT_TOLERANCE if port.tensor.dtype == "float32" else TOLERANCE
    return (
        f"differs(interpreter.output({number})->data.raw, {c_files.golden_name(name, port)}[i],\n"
        f"                    {name.upper()}_{port.macro}_SIZE, {tolerance})"
    )


_DIFFERS = """/* Kernels for other processors may round differently: see the last argument below. */
template <typename Value>
static bool differs(const void *found, const Value *golden, int size, double tolerance)
{
    const Value *values = static_cast<const Value *>(found);

    for (int i = 0; i < size; ++i) {
        const double off = static_cast<double>(values[i]) - static_cast<double>(golden[i]);

        if ((off > tolerance) || (off < -tolerance)) {
            return true;
        }
    }
    return false;
}"""


def _camel(name: str) -> str:
    if name in _METHODS:
        return _METHODS[name]
    return "".join(part if part == "2D" else part.capitalize() for part in name.split("_"))
