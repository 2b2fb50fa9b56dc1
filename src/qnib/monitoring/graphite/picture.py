"""Series as a picture of their own, SVG: lines over time with a grid, for a mail or a wiki page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape
from zoneinfo import ZoneInfo

import numpy as np

from qnib.errors import WrongUse
from qnib.monitoring.graphite.functions.line import Line, Lines, Values

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BELOW, ROW = 64, 16, 16, 28, 18
_SMALLEST, _LARGEST = 100, 4000  # pixels
_MOST_DRAWN, _MOST_NAMED = 200, 12
_LONGEST_TEXT = 200
_FAR = 1e300  # what is beyond lies on the edge
_AREAS = ("none", "first", "all", "stacked")
_COLOUR = re.compile(r"[a-zA-Z]{3,20}|#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_HEX = re.compile(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8}")
# Okabe and Ito's colours, which people with colour blindness can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")
_STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 2 * 86_400, 7 * 86_400,
          30 * 86_400, 90 * 86_400, 365 * 86_400)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture looks, by graphite-web's parameters of the same names."""

    width: int = WIDTH
    height: int = HEIGHT
    title: str = ""
    bgcolor: str = "#ffffff"
    fgcolor: str = "#333333"
    hide_legend: bool = False
    area: str = "none"
    low: float | None = None
    high: float | None = None
    zone: str = "UTC"

    @classmethod
    def told(cls, given: Mapping[str, str]) -> Look:
        """From a request's parameters; others are left alone. Raises WrongUse naming the one that is wrong."""
        area = given.get("areaMode", "none").lower()
        if area not in _AREAS:
            raise WrongUse(f"There is no areaMode {area!r}.", where="areaMode", try_next=f"use {', '.join(_AREAS)}.")
        return cls(
            width=int(_number(given, "width", WIDTH, _SMALLEST, _LARGEST)),
            height=int(_number(given, "height", HEIGHT, _SMALLEST, _LARGEST)),
            title=given.get("title", "")[:_LONGEST_TEXT], bgcolor=_colour(given, "bgcolor", "#ffffff"),
            fgcolor=_colour(given, "fgcolor", "#333333"), area=area,
            hide_legend=given.get("hideLegend", "").lower() in {"1", "true", "yes"},
            low=_number(given, "yMin", 0, -math.inf, math.inf) if given.get("yMin") else None,
            high=_number(given, "yMax", 0, -math.inf, math.inf) if given.get("yMax") else None,
            zone=given.get("tz") or "UTC",
        )  # fmt: skip


def as_svg(lines: Lines, look: Look) -> str:
    """A picture of the first two hundred series; names of a dozen below it, and how many there are beside them."""
    known = [line for line in lines if np.isfinite(line.values).any()]
    drawn = known[:_MOST_DRAWN]
    named = [] if look.hide_legend else drawn[:_MOST_NAMED]
    more = 0 if look.hide_legend else len(known) - len(named)
    top = TOP + (ROW if look.title else 0)
    bottom = look.height - BELOW
    height = look.height + ROW * (len(named) + bool(more))
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{look.width}" height="{height}"'
        f' viewBox="0 0 {look.width} {height}" font-family="system-ui, sans-serif" font-size="11"'
        f' fill="{look.fgcolor}">',
        f'<rect width="{look.width}" height="{height}" fill="{look.bgcolor}"/>',
    ]
    if look.title:
        out.append(f'<text x="{look.width // 2}" y="{TOP + 4}" text-anchor="middle" font-size="13"'
                   f' font-weight="600">{_text(look.title)}</text>')  # fmt: skip
    if not drawn:
        text = "No values in this window." if lines else "No series match."
        out.append(f'<text x="{look.width // 2}" y="{look.height // 2}" text-anchor="middle">{text}</text>')
        return "".join([*out, "</svg>"])
    start, end = min(line.start for line in drawn), max(line.end - line.step for line in drawn)
    rows = _stacked(drawn) if look.area == "stacked" else [line.values for line in drawn]
    low, high, ticks = _range(rows, look)

    def x(at: float) -> float:
        return LEFT + (at - start) / max(end - start, 1) * (look.width - LEFT - RIGHT)

    def y(value: float) -> float:
        within = min(max(value, low), high)
        return bottom - (within - low) / ((high - low) or 1) * (bottom - top)

    for tick in ticks:
        out.append(f'<path d="M{LEFT} {y(tick):.1f}H{look.width - RIGHT}" stroke="{look.fgcolor}" opacity="0.15"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    for at, shown in _moments(start, end, look):
        out.append(f'<path d="M{x(at):.1f} {top}V{bottom}" stroke="{look.fgcolor}" opacity="0.15"/>')
        out.append(f'<text x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle">{shown}</text>')
    for place, (line, values) in reversed(list(enumerate(zip(drawn, rows, strict=True)))):
        colour = COLOURS[place % len(COLOURS)]
        if look.area in ("all", "stacked") or (look.area == "first" and place == 0):
            ground, cover = y(min(max(0.0, low), high)), 0.9 if look.area == "stacked" else 0.4
            out += [
                f'<path d="{area}" fill="{colour}" opacity="{cover}"/>' for area in _areas(line, values, x, y, ground)
            ]
        out.append(f'<path d="{_path(line, values, x, y)}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
    for place, line in enumerate(named):
        at = look.height + ROW * place + 4
        out.append(f'<rect x="{LEFT}" y="{at - 9}" width="10" height="10" fill="{COLOURS[place % len(COLOURS)]}"/>')
        out.append(f'<text x="{LEFT + 16}" y="{at}">{_text(line.name)}</text>')
    if more:
        at = look.height + ROW * len(named) + 4
        cut = f", {len(drawn)} of them drawn" if len(known) > len(drawn) else ""
        out.append(f'<text x="{LEFT + 16}" y="{at}">and {more} more{cut}</text>')
    return "".join([*out, "</svg>"])


def _stacked(drawn: Lines) -> list[Values]:
    """Each on top of those before it, where they have the same slots; what is unknown adds nothing."""
    sums: dict[tuple[float, float, int], Values] = {}
    rows = []
    for line in drawn:
        slots = line.start, line.step, len(line.values)
        before = sums.get(slots, np.zeros(len(line.values)))
        rows.append(before + line.values)
        sums[slots] = before + np.where(np.isfinite(line.values), line.values, 0)
    return rows


def _range(rows: list[Values], look: Look) -> tuple[float, float, list[float]]:
    finite = [values[np.isfinite(values)] for values in rows]
    low = min(float(values.min()) for values in finite if len(values)) if look.low is None else look.low
    high = max(float(values.max()) for values in finite if len(values)) if look.high is None else look.high
    low, high = max(low, -_FAR), min(high, _FAR)
    if look.area != "none" and look.low is None:
        low = min(low, 0.0)
    if low >= high:
        low, high = (low, low + 1) if look.high is None else (high - 1, high)
    ticks = _ticks(low, high)
    low = min(low, ticks[0]) if look.low is None else low
    high = max(high, ticks[-1]) if look.high is None else high
    return low, high, [tick for tick in ticks if low <= tick <= high]


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers around the values."""
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    first = math.floor(low / step)
    return [step * number for number in range(first, min(math.ceil(high / step), first + 20) + 1)]


def _moments(start: float, end: float, look: Look) -> Iterator[tuple[float, str]]:
    """Round moments of the zone's own clock, as many as there is room for, with what to write there."""
    zone: tzinfo = UTC if look.zone == "UTC" else ZoneInfo(look.zone)
    most = max(2, (look.width - LEFT - RIGHT) // 80)
    step = next((one for one in _STEPS if (end - start) / one <= most), math.ceil((end - start) / most))
    first = datetime.fromtimestamp(start, zone)
    at = first.replace(hour=0, minute=0, second=0, microsecond=0)
    at += timedelta(seconds=(first - at).total_seconds() // step * step)
    while (moment := at.timestamp()) <= end:
        if moment >= start:
            shown = "%d %b" if (at.hour, at.minute, at.second) == (0, 0, 0) else "%H:%M:%S" if step < 60 else "%H:%M"
            yield moment, at.strftime(shown if step < 86_400 or at.year == first.year else "%d %b %Y")
        at += timedelta(seconds=step)  # by the clock on the wall, also where it is put forward or back


def _path(line: Line, values: Values, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    return "".join(_drawn(run, x, y) for run in _runs(line, values))


def _areas(
    line: Line, values: Values, x: Callable[[float], float], y: Callable[[float], float], ground: float
) -> Iterator[str]:
    for run in _runs(line, values):
        yield f"{_drawn(run, x, y)}L{x(run[-1][0]):.1f} {ground:.1f}L{x(run[0][0]):.1f} {ground:.1f}Z"


def _drawn(run: list[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """A run of points; a single one is a short stroke, or it would not be seen."""
    dot = "h0.1" if len(run) == 1 else ""
    return "M" + "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in run) + dot


def _runs(line: Line, values: Values) -> Iterator[list[tuple[float, float]]]:
    """The points that follow one another, without those that are unknown."""
    run: list[tuple[float, float]] = []
    for at, value in zip(line.times.tolist(), values.tolist(), strict=True):
        if math.isfinite(value):
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _text(told: str) -> str:
    """Escaped, without characters that no XML may have, and not endless."""
    plain = "".join(char if char.isprintable() else "�" for char in told)
    return escape(plain if len(plain) <= _LONGEST_TEXT else plain[: _LONGEST_TEXT - 1] + "…")


def _number(given: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = given.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WrongUse(f"{text[:50]!r} is no number.", where=name, try_next="write a number.")
    return min(max(number, least), most)


def _colour(given: Mapping[str, str], name: str, default: str) -> str:
    told = given.get(name) or default
    if not _COLOUR.fullmatch(told):
        raise WrongUse(f"{told[:50]!r} is no colour.", where=name, try_next="write its English name, or FF8800.")
    return f"#{told}" if _HEX.fullmatch(told) else told
