"""How results look where Python shows them: at a prompt, and as HTML in a notebook.

The data types have no behaviour, and Python asks a class for `__repr__` and notebooks for
`_repr_html_`: so this module puts both on the classes, when a stage is taken from the package
`edgekit`. The command line does not come by here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.check_types import CheckReport
from edgekit.compare_types import CompareReport
from edgekit.inspect_types import InspectReport
from edgekit.manifest_types import Manifest
from edgekit.result_types import BenchReport
from edgekit.types import ModelInfo

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 100


def attach() -> None:
    """Makes every result of a stage show itself as its command prints it."""
    for kind in _RENDERINGS:
        for name, method in (("__repr__", text), ("_repr_html_", html)):
            setattr(kind, name, method)


def text(result: Any) -> str:
    """What the command prints of a result, without the final line break."""
    from edgekit import printing  # noqa: PLC0415 rich is for those who look

    return printing.render(_rendered(result)).rstrip("\n")


def html(result: Any) -> str:
    """The same as HTML: preformatted text with its colours, whatever names a file brings."""
    from rich.console import Console  # noqa: PLC0415 rich is for those who look

    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, markup=False,
        emoji=False, highlight=False, force_jupyter=False,
    )  # fmt: skip
    console.print(_rendered(result))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _rendered(result: Any) -> RenderableType:
    return _RENDERINGS[type(result)](result)


def _bench(report: BenchReport) -> RenderableType:
    from edgekit import printing_bench  # noqa: PLC0415

    return printing_bench.bench(report)


def _check(report: CheckReport) -> RenderableType:
    from edgekit import printing_check  # noqa: PLC0415

    return printing_check.check(report)


def _compare(report: CompareReport) -> RenderableType:
    from edgekit import printing_compare  # noqa: PLC0415

    return printing_compare.compare(report)


def _model(info: ModelInfo) -> RenderableType:
    from edgekit import printing_inspect  # noqa: PLC0415

    return printing_inspect.inspect(InspectReport("edgekit.inspect/1", info))


def _manifest(made: Manifest) -> RenderableType:
    from edgekit import printing, printing_compress, printing_convert  # noqa: PLC0415

    output = Path(made.artifact.path)
    if made.artifact.format == "keras":
        return printing_compress.compress(made, output)
    if made.parity is not None:
        return printing_convert.convert(made, output)
    return printing.facts([("manifest of", str(output)), ("SHA-256", made.artifact.sha256)])


_RENDERINGS: dict[type, Callable[[Any], RenderableType]] = {
    BenchReport: _bench,
    CheckReport: _check,
    CompareReport: _compare,
    Manifest: _manifest,
    ModelInfo: _model,
}
