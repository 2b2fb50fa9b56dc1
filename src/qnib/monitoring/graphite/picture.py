"""Series as a picture of their own, SVG: lines over time with a grid, for a mail or a wiki page."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape

import numpy as np

from qnib.monitoring.graphite.functions.line import Line, Lines

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, ROW = 64, 16, 16, 18
_MOST_NAMED = 12
# Okabe and Ito's colours, which people with colour blindness can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")


def as_svg(lines: Lines) -> str:
    """A picture of all series; names below it, and of more than a dozen how many there are."""
    drawn = [line for line in lines if not np.isnan(line.values).all()]
    named = drawn[:_MOST_NAMED]
    bottom = HEIGHT - 28
    height = HEIGHT + ROW * (len(named) + (len(drawn) > len(named)))
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    if not drawn:
        text = "No values in this window." if lines else "No series match."
        out.append(f'<text x="{WIDTH // 2}" y="{HEIGHT // 2}" text-anchor="middle" fill="#555555">{text}</text>')
        return "".join([*out, "</svg>"])
    start, end = min(line.start for line in drawn), max(line.end - line.step for line in drawn)
    low = min(float(np.nanmin(line.values)) for line in drawn)
    high = max(float(np.nanmax(line.values)) for line in drawn)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x(at: float) -> float:
        return LEFT + (at - start) / max(end - start, 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return bottom - (value - low) / ((high - low) or 1) * (bottom - TOP)

    for tick in ticks:
        out.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#e0e0e0"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#333333">{tick:.6g}</text>')
    for at in np.linspace(start, end, 5):
        moment = datetime.fromtimestamp(float(at), UTC)
        shown = moment.strftime("%H:%M" if end - start < 86_400 else "%d %b %H:%M")
        out.append(f'<text x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle" fill="#333333">{shown}</text>')
    for place, line in enumerate(drawn):
        colour = COLOURS[place % len(COLOURS)]
        points = _path(line, x, y)
        out.append(f'<path d="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
    for place, line in enumerate(named):
        at = HEIGHT + ROW * place + 4
        colour = COLOURS[place % len(COLOURS)]
        out.append(f'<rect x="{LEFT}" y="{at - 9}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + 16}" y="{at}" fill="#333333">{escape(line.name)}</text>')
    if len(drawn) > len(named):
        at = HEIGHT + ROW * len(named) + 4
        out.append(f'<text x="{LEFT + 16}" y="{at}" fill="#333333">and {len(drawn) - len(named)} more</text>')
    return "".join([*out, "</svg>"])


def _path(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    parts, pen = [], "M"
    for at, value in zip(line.times.tolist(), line.values.tolist(), strict=True):
        if not math.isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{x(at):.1f} {y(value):.1f}")
        pen = "L"
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers around the values."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    first = math.floor(low / step)
    return [step * number for number in range(first, math.ceil(high / step) + 1)]
