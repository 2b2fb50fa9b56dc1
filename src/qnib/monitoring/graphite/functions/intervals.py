"""Functions that move series along time, cut them, or sum them up per interval."""

from __future__ import annotations

import math
from dataclasses import replace as altered
from datetime import UTC, datetime, timedelta

import numpy as np

from qnib.monitoring.graphite.functions.line import Line, Lines, Values, Window, aggregation, reduced
from qnib.monitoring.graphite.functions.registry import Aggregation, Context, Interval, Moment, Source, graphite
from qnib.monitoring.graphite.times import seconds, unit

_UNALIKE = {"multiply", "avg_zero"}
"""Ways that count what is unknown, so that a bucket must not be padded with it."""


def per_interval(line: Line, how: str, width: float, start: float, end: float) -> Values:
    """Values from `start` on, one per `width` seconds, until `end` is reached."""
    count = max(0, math.ceil((end - start) / width))
    result = np.full(count, np.nan)
    slot = ((line.times - start) // width).astype(int)
    inside = (slot >= 0) & (slot < count)
    slot, values = slot[inside], line.values[inside]
    if not len(slot):
        return result
    used, first, sizes = np.unique(slot, return_index=True, return_counts=True)
    if how in _UNALIKE:
        parts = [values[at : at + size] for at, size in zip(first, sizes, strict=True)]
        made = np.array([reduced(part[:, None], how)[0] for part in parts])
    else:
        rows = np.full((sizes.max(), len(used)), np.nan)
        column = np.repeat(np.arange(len(used)), sizes)
        rows[np.arange(len(slot)) - np.repeat(first, sizes), column] = values
        made = reduced(rows, how)
    known = np.add.reduceat(~np.isnan(values), first)
    made = np.where((known > 0) & (known >= line.xff * width / line.step), made, np.nan)
    result[used] = made
    return result


@graphite("Transform", "summarize")
def summarize(
    seriesList: Lines, intervalString: Interval, func: Aggregation = "sum", alignToFrom: bool = False
) -> Lines:  # fmt: skip
    """One value per interval; intervals begin at whole multiples, or with the window."""
    how, width = aggregation(func), _width(intervalString)
    made = []
    for line in seriesList:
        start = line.start if alignToFrom else line.start - line.start % width
        end = line.end if alignToFrom else line.end - line.end % width + width
        values = per_interval(line, how, width, start, end)
        name = f'summarize({line.name}, "{intervalString}", "{func}"{", true" if alignToFrom else ""})'
        made.append(
            line.tagged(summarize=intervalString, summarizeFunction=func).made(name, values, start=start, step=width)
        )
    return made


@graphite("Transform", "smartSummarize")
def smart_summarize(
    seriesList: Source, intervalString: Interval, func: Aggregation = "sum", alignTo: Interval | bool | None = None
) -> Lines:  # fmt: skip
    """One value per interval, which begin with the window, or at the start of the hour, day, week, month or year."""
    how, width = aggregation(func), _width(intervalString)
    window = seriesList.context.window
    aligned = isinstance(alignTo, str)
    lines = seriesList.lines(Window(_floor(window.start, str(alignTo)), window.end) if aligned else None)
    return [
        line.tagged(smartSummarize=intervalString, smartSummarizeFunction=func).made(
            f'smartSummarize({line.name}, "{intervalString}", "{func}")',
            per_interval(line, how, width, line.start, line.end), step=width,
        )
        for line in lines
    ]  # fmt: skip


def _width(interval: str) -> int:
    width = int(abs(seconds(interval)))
    if not width:
        raise ValueError(f"{interval!r} is no interval")
    return width


def _floor(at: float, to: str) -> float:
    """The start of the year, month … that `at` lies in; ``weeks1`` begin on a Monday, ``weeks7`` on a Sunday."""
    moment = datetime.fromtimestamp(at, UTC)
    kind = unit(to.rstrip("0123456789"))
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match kind:
        case "year":
            return day.replace(month=1, day=1).timestamp()
        case "month":
            return day.replace(day=1).timestamp()
        case "week":
            first = int(to[-1]) if to[-1].isdigit() else 1
            back = (moment.isoweekday() - first) % 7
            return (day - timedelta(days=back)).timestamp()
    size = {"day": 86_400, "hour": 3600, "minute": 60, "second": 1}[kind]
    return at - at % size


@graphite("Transform", "hitcount")
def hit_count(seriesList: Source, intervalString: Interval, alignToInterval: bool = False) -> Lines:
    """Values as rates per second, summed up to how many there were in each interval."""
    width = _width(intervalString)
    window = seriesList.context.window
    told = ", true" if alignToInterval else ""
    if alignToInterval:
        size = 86_400 if width >= 86_400 else 3600 if width >= 3600 else 60 if width >= 60 else 1
        window = Window(window.start - window.start % size, window.end)
    made = []
    for line in seriesList.lines(window):
        end = line.start + ((line.end - line.start) // width + 1) * width if alignToInterval else line.end
        count = math.ceil((end - line.start) / width)
        start = end - count * width
        edges = start + width * np.arange(count + 1)
        values = np.where(_area(line, ~np.isnan(line.values), edges) > 0, _area(line, line.values, edges), np.nan)
        name = f'hitcount({line.name}, "{intervalString}"{told})'
        made.append(line.tagged(hitcount=intervalString).made(name, values, start=start, step=width))
    return made


def _area(line: Line, heights: Values, edges: Values) -> Values:
    """The area under steps, between neighbouring edges."""
    times = np.append(line.times, line.end)
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(heights.astype(float), nan=0.0) * line.step)])
    return np.diff(np.interp(edges, times, sums))


@graphite("Transform", "timeShift")
def time_shift(seriesList: Source, timeShift: Interval, resetEnd: bool = True, alignDST: bool = False) -> Lines:
    """What was so long ago, drawn as if it were now."""
    shift, window, now = _back(timeShift), seriesList.context.window, seriesList.lines()
    if not now:
        return []
    text = f"-{timeShift}" if timeShift[0].isdigit() else timeShift
    moved = Window(window.start + shift, window.end + shift)
    return [
        altered(line.tagged(timeShift=text), name=f'timeShift({line.name}, "{text}")', start=now[0].start)
        for line in seriesList.lines(moved)
    ]


def _back(interval: str) -> float:
    """Seconds from now; without a sign it is before now."""
    return -seconds(interval) if interval[0].isdigit() else seconds(interval)


@graphite("Transform", "timeStack")
def time_stack(
    seriesList: Source, timeShiftUnit: Interval = "1d", timeShiftStart: int = 0, timeShiftEnd: int = 7
) -> Lines:  # fmt: skip
    """The same window of several days, or other units, over each other."""
    shift, window, now = _back(timeShiftUnit), seriesList.context.window, seriesList.lines()
    if not now:
        return []
    text = f"-{timeShiftUnit}" if timeShiftUnit[0].isdigit() else timeShiftUnit
    made = []
    for turn in range(int(timeShiftStart), int(timeShiftEnd)):
        for line in seriesList.lines(Window(window.start + shift * turn, window.end + shift * turn)):
            name = f"timeShift({line.name}, {text}, {turn})"
            made.append(line.tagged(timeShiftUnit=text, timeShift=turn).made(name, line.values, start=now[0].start))
    return made


@graphite("Transform", "timeSlice")
def time_slice(seriesList: Lines, startSliceAt: Moment, endSliceAt: Moment = "now", *, context: Context) -> Lines:
    """Only what lies between two moments."""
    start, end = int(context.moment(startSliceAt)), int(context.moment(endSliceAt))
    made = []
    for line in seriesList:
        # Counted from the window's start as Graphite does, which may be a step before the first value.
        at = context.window.start + line.step * np.arange(len(line.values))
        values = np.where((at >= start) & (at <= end), line.values, np.nan)
        tagged = line.tagged(timeSliceStart=start, timeSliceEnd=end)
        made.append(altered(tagged, name=f"timeSlice({line.name}, {start}, {end})", values=values))
    return made


@graphite("Transform", "compressPeriodicGaps")
def compress_periodic_gaps(seriesList: Lines) -> Lines:
    """A series that is known only every so often, on that wider step."""
    return [_compressed(line.made(f"compressPeriodicGaps({line.name})", line.values)) for line in seriesList]


def _compressed(line: Line) -> Line:
    values = line.values
    told = np.flatnonzero(~np.isnan(values) & (values != 0))
    told = told[(told > 0) | (np.arange(len(told)) == len(told) - 1)]
    if len(told) < 2:
        return line
    first, gap = int(told[0]), int(told[1] - told[0])
    third = first + 2 * gap
    if gap <= 1 or third > len(values) - 2 or np.isnan(values[third]) or not values[third]:
        return line
    if not (np.isnan(values[third - 1]) and np.isnan(values[third + 1])):
        return line
    start, width = line.start + first * line.step, gap * line.step
    return altered(line, start=start, step=width, values=per_interval(line, "last", width, start, line.end))
