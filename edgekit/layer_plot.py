"""SQNR over depth as an SVG that needs nothing else: a point per layer, the first bad one named."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from edgekit import streams, units
from edgekit.compare_types import Layer, LayerReport
from edgekit.intervals import SQNR_CAP_DB

WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 50
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.line{fill:none;stroke:#2563eb;"
    "stroke-width:1.5}.point{fill:#2563eb}.bad{fill:#dc2626}.note{fill:#dc2626;font-weight:bold}"
)
SHOWN_LETTERS = 60
MOST_DB = 120.0
"""Above it nothing is to be seen: float32 ends near 150 dB."""


def svg(report: LayerReport, title: str) -> str:
    """The plot.

    Args:
        report: The layers, in their order.
        title: What is shown, above the plot.
    """
    low, high = _limits(report.layers)
    points = [
        (_across(at, len(report.layers)), _down(layer.sqnr_db, low, high))
        for at, layer in enumerate(report.layers)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    legend = (
        f'<text x="{LEFT}" y="{HEIGHT - 16}">layers, in the order of computation; SQNR in dB,'
        f" {report.samples} calibration samples</text>"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22">{_text(f"SQNR over depth: {title}")}</text>',
        *_grid(low, high),
        f'<polyline class="line" points="{path}"/>',
        *_points(report, points),
        legend,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _limits(layers: Sequence[Layer]) -> tuple[float, float]:
    """Whole tens around what there is, at least from 0 to 40 dB; equal tensors stand at the top."""
    shown = [_shown(one.sqnr_db) for one in layers if one.sqnr_db < SQNR_CAP_DB] or [0.0]
    low = min(0.0, 10 * (min(shown) // 10))
    return low, max(40.0, 10 * -(-max(shown) // 10))


def _grid(low: float, high: float) -> Iterator[str]:
    step = 10 if high - low <= 100 else 20
    for decibels in range(int(low), int(high) + 1, step):
        y = _down(decibels, low, high)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{decibels}</text>'


def _points(report: LayerReport, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    named = False
    for layer, (x, y) in zip(report.layers, points, strict=True):
        kind = "bad" if layer.bad else "point"
        told = _text(f"{layer.name} ({layer.kind}): {units.decibels(layer.sqnr_db)}")
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="4"'
        yield f'<circle class="{kind}" {place}><title>{told}</title></circle>'
        if layer.bad and not named:
            named = True
            anchor = "end" if x > WIDTH / 2 else "start"
            above = y - 10 if y > HEIGHT / 2 else y + 20
            yield (
                f'<text class="note" x="{x:.1f}" y="{above:.1f}" text-anchor="{anchor}">'
                f"{_text(layer.name)}</text>"
            )


def _shown(sqnr_db: float) -> float:
    return max(-40.0, min(MOST_DB, sqnr_db))


def _across(at: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / max(1, count)


def _down(sqnr_db: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - min(high, _shown(sqnr_db))) / (high - low)


def _text(text: str) -> str:
    """Names come from hostile files: nothing of them is markup."""
    shown = streams.printable(text)
    cut = shown if len(shown) <= SHOWN_LETTERS else f"…{shown[1 - SHOWN_LETTERS :]}"
    return html.escape(cut)
