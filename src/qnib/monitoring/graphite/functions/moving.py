"""Functions over a window that moves along: it begins before the asked one, so that the first value is right, too."""

from __future__ import annotations

import math

import numpy as np

from qnib.monitoring.graphite.functions.line import Line, Lines, Values, aggregation, reduced
from qnib.monitoring.graphite.functions.registry import Aggregation, Source, graphite
from qnib.monitoring.graphite.times import seconds

_AT_ONCE = 4_000_000
"""Values in one block of windows: a day of seconds with windows of an hour would not fit into memory."""

Span = int | str


def _preview(lines: Lines, window: Span) -> float:
    return abs(seconds(window)) if isinstance(window, str) else max(line.step for line in lines) * int(window)


def _points(line: Line, window: Span, preview: float) -> int:
    return int(preview // line.step) if isinstance(window, str) else int(window)


def _quoted(window: Span) -> str:
    return f'"{window}"' if isinstance(window, str) else str(window)


@graphite("Calculate", "movingWindow")
def moving_window(
    seriesList: Source, windowSize: Span, func: Aggregation = "average", xFilesFactor: float | None = None
) -> Lines:  # fmt: skip
    """At each moment a function of the values in the window that ends there."""
    how, now = aggregation(func), seriesList.lines()
    if not now:
        return []
    preview, label = _preview(now, windowSize), f"moving{func.capitalize()}"
    made = []
    for line in seriesList.since(preview):
        size = _points(line, windowSize, preview)
        values = _moving(line.values, size, how, line.xff if xFilesFactor is None else xFilesFactor)
        tagged = line.tagged(**{label: windowSize})
        made.append(
            tagged.made(f"{label}({line.name},{_quoted(windowSize)})", values, start=line.start + preview)
        )
    return made


def _moving(values: Values, size: int, how: str, xff: float) -> Values:
    """For each place after the first `size`: the last `size` values, itself among them, as one."""
    count = max(0, len(values) - size)
    if not count or not size:
        return np.full(count, np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, size)[1:]
    result = np.empty(count)
    block = max(1, _AT_ONCE // size)
    for at in range(0, count, block):
        rows = windows[at : at + block].T
        known = np.sum(~np.isnan(rows), axis=0)
        # Only what is known is handed to the function, so that nothing counts as zero or makes a product unknown.
        if how == "multiply":
            rows = np.where(np.isnan(rows), 1.0, rows)
        one = reduced(rows, "average" if how == "avg_zero" else how)
        result[at : at + block] = np.where((known > 0) & (known >= xff * size), one, np.nan)
    return result


def _moving_as(name: str, func: str, what: str) -> None:
    def move(seriesList: Source, windowSize: Span, xFilesFactor: float | None = None) -> Lines:
        return moving_window(seriesList, windowSize, func, xFilesFactor)

    move.__doc__ = f"{what} of the values in the window that ends at each moment."
    graphite("Calculate", name)(move)


_moving_as("movingAverage", "average", "The mean")
_moving_as("movingMedian", "median", "The median")
_moving_as("movingSum", "sum", "The sum")
_moving_as("movingMin", "min", "The least")
_moving_as("movingMax", "max", "The greatest")


@graphite("Calculate", "exponentialMovingAverage")
def exponential_moving_average(seriesList: Source, windowSize: Span) -> Lines:
    """A mean in which older values count less and less."""
    now = seriesList.lines()
    if not now:
        return []
    preview = _preview(now, windowSize)
    weight = 2.0 / ((int(preview) if isinstance(windowSize, str) else int(windowSize)) + 1)
    made = []
    for line in seriesList.since(preview):
        size = _points(line, windowSize, preview)
        name = f"exponentialMovingAverage({line.name},{_quoted(windowSize)})"
        tagged = line.tagged(exponentialMovingAverage=windowSize)
        made.append(tagged.made(name, _fading(line.values, size, weight), start=line.start + preview))
    return made


def _fading(values: Values, size: int, weight: float) -> Values:
    head = values[:size]
    mean = float(np.nanmean(head)) if np.any(~np.isnan(head)) else 0.0
    result = [round(mean, 6)]
    for value in values[size:].tolist():
        if not math.isnan(value):
            mean = weight * value + (1 - weight) * mean
        result.append(math.nan if math.isnan(value) else round(mean, 6))
    return np.array(result)


@graphite("Calculate", "stdev")
def stdev(seriesList: Lines, points: int, windowTolerance: float = 0.1) -> Lines:
    """The standard deviation of the last `points` values, where enough of them are known."""
    return [
        line.tagged(stdev=points).made(
            f"stdev({line.name},{int(points)})", _deviation(line.values, int(points), windowTolerance)
        )
        for line in seriesList
    ]


def _deviation(values: Values, points: int, tolerance: float) -> Values:
    told = values.tolist()
    result = []
    known = total = squares = 0.0
    for at, value in enumerate(told):
        dropped = told[at - points] if at >= points else math.nan
        if not math.isnan(dropped):
            known, total, squares = known - 1, total - dropped, squares - dropped**2
        if not math.isnan(value):
            known, total, squares = known + 1, total + value, squares + value**2
        spread = known * squares - total**2
        enough = known > 0 and known / points >= tolerance and spread >= 0
        result.append(math.sqrt(spread) / known if enough else math.nan)
    return np.array(result)
