"""Functions that make lines of numbers: constants, aggregates, percentiles, clocks."""

from __future__ import annotations

import math
import random

import numpy as np

from qnib.monitoring.graphite.functions.line import Line, Lines, Values, aggregation, percentile, whole
from qnib.monitoring.graphite.functions.registry import Aggregation, Context, Moment, graphite


def level(value: float, context: Context) -> Line:
    """Three points at one height: the window's start, middle and end."""
    window, name = context.window, str(value)
    height = math.nan if value is None else float(value)
    step = max(1, int((window.end - window.start) / 2))
    return Line(name, window.start, step, np.full(3, height), {"name": name}, f"constantLine({name})")


@graphite("Special", "constantLine")
def constant_line(value: float, *, context: Context) -> Lines:
    """A horizontal line at `value`."""
    return [level(value, context)]


@graphite("Calculate", "aggregateLine")
def aggregate_line(
    seriesList: Lines, func: Aggregation = "average", keepStep: bool = False, *, context: Context
) -> Lines:  # fmt: skip
    """A horizontal line at the average, or another aggregate, of each series."""
    how, made = aggregation(func), []
    for line in seriesList:
        value = whole(line.values, how)
        name = f"aggregateLine({line.name}, {'None' if math.isnan(value) else f'{value:g}'})"
        made.append(
            line.made(name, np.full(len(line.values), value)) if keepStep
            else level(value, context).made(name, np.full(3, value))
        )  # fmt: skip
    return made


@graphite("Calculate", "nPercentile")
def n_percentile(seriesList: Lines, n: float) -> Lines:
    """A horizontal line at the n-th percentile of each series."""
    if not n:
        raise ValueError("the percentile is above 0")
    return [
        line.tagged(nPercentile=n).made(f"nPercentile({line.name}, {n:g})", np.full(len(line.values), value))
        for line in seriesList
        if not math.isnan(value := of_series(line, n))
    ]


def of_series(line: Line, n: float) -> float:
    """The n-th percentile of a series; NaN when nothing in it is known."""
    return float(percentile(line.values[:, None], n)[0]) if len(line.values) else math.nan


def _clock(context: Context, step: float) -> Values:
    return np.arange(context.window.start, context.window.end, step)


@graphite("Calculate", "identity")
def identity(name: str, *, context: Context) -> Lines:
    """Each minute's own time, in epoch seconds."""
    return [Line(name, context.window.start, 60, _clock(context, 60), {"name": name}, f'identity("{name}")')]


@graphite("Transform", "time", "timeFunction")
def time(name: str, step: int = 60, *, context: Context) -> Lines:
    """The time itself, in epoch seconds."""
    return [Line(name, context.window.start, step, _clock(context, step), {"name": name}, name)]


@graphite("Transform", "sin", "sinFunction")
def sine(name: str, amplitude: float = 1, step: int = 60, *, context: Context) -> Lines:
    """The sine of the time in seconds."""
    values = np.sin(_clock(context, step)) * amplitude
    return [Line(name, context.window.start, step, values, {"name": name}, name)]


@graphite("Special", "randomWalk", "randomWalkFunction")
def random_walk(name: str, step: int = 60, *, context: Context) -> Lines:
    """A line that goes up and down by chance, to try a dashboard with."""
    moves = [random.random() - 0.5 for _ in _clock(context, step)[1:]]  # noqa: S311 - nothing secret about it
    values = np.concatenate([[0.0], np.cumsum(moves)])
    return [Line(name, context.window.start, step, values, {"name": name}, name)]


@graphite("Graph", "threshold")
def threshold(value: float, label: str | None = None, color: str | None = None, *, context: Context) -> Lines:
    """A horizontal line at `value`, with a name of its own."""
    line = level(value, context)
    return [Line(label or line.name, line.start, line.step, line.values, line.tags, line.path)]


@graphite("Graph", "verticalLine")
def vertical_line(ts: Moment, label: str | None = None, color: str | None = None, *, context: Context) -> Lines:
    """A mark at one moment."""
    at, window = int(context.moment(str(ts))), context.window
    if not window.start <= at <= window.end:
        raise ValueError(f"{ts} lies outside the window")
    name = label or str(label)
    return [Line(name, at, 1, np.ones(1), {"name": name}, name)]


@graphite("Special", "events")
def events(*tags: str, context: Context) -> Lines:
    """How many events bear all these tags, per second; ``*`` means any."""
    start, end = int(context.window.start), int(context.window.end)
    values = np.full(max(0, end - start), np.nan)
    for at in context.happened([] if tags == ("*",) else tags):
        place = int(at) - start
        if 0 <= place < len(values):
            values[place] = 1 if np.isnan(values[place]) else values[place] + 1
    quoted = '", "'.join(tags)
    name = f'events("{quoted}")'
    return [Line(name, start, 1, values, {"name": name}, name, consolidate="sum")]
