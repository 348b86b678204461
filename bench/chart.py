"""Bar charts as SVG: one bar for each peer, a whisker from the least to the most of the runs, a logarithmic scale."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.figures import Spread

LABELS, PLOT, FIGURES = 250, 380, 90
BAR, GAP, HEADING = 16, 7, 30
FONT = "font-family='system-ui, sans-serif' font-size='12'"
OURS, THEIRS, FLOOR, INK, FAINT = "#00897b", "#90a4ae", "#f9a825", "#263238", "#cfd8dc"


@dataclass(frozen=True, kw_only=True)
class Bar:
    label: str
    spread: Spread
    color: str = THEIRS


@dataclass(frozen=True, kw_only=True)
class Group:
    title: str
    bars: Sequence[Bar]


def drawn(title: str, unit: str, groups: Sequence[Group]) -> str:
    """The chart; with figures above zero only, since the scale is logarithmic."""
    values = [value for group in groups for bar in group.bars for value in bar.spread]
    low = 10 ** math.floor(math.log10(min(values) * 0.8))
    high = 10 ** math.ceil(math.log10(max(values)))
    width = LABELS + PLOT + FIGURES
    height = HEADING + 14 + sum(HEADING + len(group.bars) * (BAR + GAP) for group in groups)

    def x(value: float) -> float:
        return LABELS + PLOT * (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))

    parts = [
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
            f"role='img' aria-label='{escape(title)}' {FONT} fill='{INK}'>"
        ),
        f"<rect width='{width}' height='{height}' rx='6' fill='#fff'/>",
        f"<text x='12' y='20' font-weight='bold'>{escape(title)}</text>",
    ]
    tick = low
    while tick <= high * 1.01:
        at = x(tick)
        parts.append(
            f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{HEADING + 16}' y2='{height - 10}' stroke='{FAINT}'/>"
        )
        parts.append(
            f"<text x='{at:.1f}' y='{HEADING + 10}' text-anchor='middle' font-size='10'>{tick:,g} {unit}</text>"
        )
        tick *= 10
    y: float = HEADING
    for group in groups:
        y += HEADING - 6
        parts.append(f"<text x='12' y='{y}' font-weight='bold'>{escape(group.title)}</text>")
        y += 8
        for bar in group.bars:
            parts += _bar(bar, x, y)
            y += BAR + GAP
        y -= 2
    return "\n".join([*parts, "</svg>", ""])


def _bar(bar: Bar, x: Callable[[float], float], y: float) -> list[str]:
    median, least, most = bar.spread
    middle = y + BAR / 2
    return [
        f"<text x='{LABELS - 8}' y='{middle + 4}' text-anchor='end'>{escape(bar.label)}</text>",
        f"<rect x='{LABELS}' y='{y}' width='{max(x(median) - LABELS, 1):.1f}' height='{BAR}' fill='{bar.color}'/>",
        f"<line x1='{x(least):.1f}' x2='{x(most):.1f}' y1='{middle}' y2='{middle}' stroke='{INK}' stroke-width='1.5'/>",
        f"<text x='{x(max(median, most)) + 6:.1f}' y='{middle + 4}'>{_short(median)}</text>",
    ]


def _short(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
