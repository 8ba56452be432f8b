"""Prints a result to stdout: as JSON, or as rich tables that fit the terminal.

Without a terminal the width is fixed and there are no colours, so that logs compare.
"""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterable, Sequence

import msgspec
from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit import streams
from edgekit.types import Dimension, DryRun, TensorSpec

WIDTH_WITHOUT_TERMINAL = 100

Cell = str | Text
Row = Sequence[Cell]


def to_json(result: msgspec.Struct) -> str:
    """A result as `--json` prints it, and as it is written to files."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n"


def show(result: msgspec.Struct, rendered: RenderableType, *, as_json: bool) -> None:
    """Prints a result in the form that was asked for.

    Raises:
        OutputError: stdout cannot be written.
    """
    streams.write_result(to_json(result) if as_json else render(rendered))


def render(rendered: RenderableType) -> str:
    """What rich makes of tables and text, for the stdout of this process."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    sheet = _Sheet()
    console = Console(
        file=sheet,
        width=None if terminal else WIDTH_WITHOUT_TERMINAL,
        force_terminal=terminal,
        no_color=None if terminal else True,
        markup=False,  # a file may be called "[bold]"
        emoji=False,
        highlight=False,
    )
    console.print(rendered, crop=False)  # all but commands fit already
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines()) + "\n"


class _Sheet(io.StringIO):
    """Text that tells rich the encoding of stdout, so that lines are drawn in what it can show."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return (sys.stdout and sys.stdout.encoding) or "utf-8"


def table(columns: Iterable[tuple[str, bool]], rows: Iterable[Row], *, title: str = "") -> Table:
    """A table under a thin line.

    Args:
        columns: Headings, and whether a column holds numbers (set to the right).
        rows: The cells, strings or styled text.
        title: Shown above.
    """
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        title_style="bold",
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    for heading, numeric in columns:
        justify: JustifyMethod = "right" if numeric else "left"
        made.add_column(heading, justify=justify, overflow="fold", no_wrap=numeric)
    for row in rows:
        made.add_row(*(cell(content) for content in row))
    return made


def facts(pairs: Iterable[tuple[str, Cell]]) -> Table:
    """A block of `name  value` lines."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, cell(value))
    return made


def stack(*parts: RenderableType | None) -> Group:
    """Parts below one another, with an empty line between them; None is left out."""
    shown = [part for part in parts if part is not None]
    spaced = [line for part in shown for line in (Text(), part)]  # a Padding would crop commands
    return Group(*spaced[1:])


def command(heading: str, words: Sequence[str]) -> Group:
    """A heading, and a command on one line of its own, however long, for a shell."""
    line = Text(streams.printable(shlex.join(words)), no_wrap=True, overflow="ignore")
    return Group(Text(heading, style="bold"), line)


def warnings(texts: Iterable[str]) -> Group | None:
    """One line per warning; None where there are none."""
    lines = [Text(f"warning: {streams.printable(text)}", style="yellow") for text in texts]
    return Group(*lines) if lines else None


def tensor(spec: TensorSpec) -> str:
    """A tensor in one line: name, shape, dtype and, for integers, what a value means."""
    if spec.scale is None:
        return f"{spec.name} {shape(spec.shape)} {spec.dtype}"
    offset = -(spec.zero_point or 0)
    shifted = f"(q {'+' if offset > 0 else '−'} {abs(offset)})" if offset else "q"
    return f"{spec.name} {shape(spec.shape)} {spec.dtype}, real = {spec.scale:.6g} · {shifted}"


def shape(dimensions: tuple[Dimension, ...]) -> str:
    """A shape, with ? for a size that may vary."""
    return f"[{', '.join('?' if size is None else str(size) for size in dimensions)}]"


def dry_run(plan: DryRun) -> RenderableType:
    """What a command would do."""
    return facts(
        [
            *(("would run", line) for line in plan.runs),
            *(("would write", to) for to in plan.writes),
            *(("expected", sentence) for sentence in plan.expected),
        ]
    )


def two_lines(figure: str, below: str) -> Text:
    """A figure with what qualifies it below."""
    text = cell(figure)
    if below:
        text.append("\n").append(cell(below).plain, style="dim")
    return text


def cell(content: Cell) -> Text:
    """Text that cannot steer the terminal, whatever a model file called its layers."""
    if isinstance(content, Text):
        return content
    return Text("\n".join(streams.printable(line) for line in content.split("\n")))
