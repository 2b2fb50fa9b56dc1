"""Functions that make one series of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as altered

import numpy as np

from qnib.monitoring.graphite.functions.line import (
    Line,
    Lines,
    Values,
    aggregation,
    aligned,
    enough,
    paths,
    percentile,
    ratio,
    reduced,
)  # fmt: skip
from qnib.monitoring.graphite.functions.registry import Aggregation, Context, graphite


def together(lines: Lines, func: str, context: Context, xff: float | None = None) -> Lines:
    """One series of all, by `func` (``sum`` or ``sumSeries``); none of none."""
    how = aggregation(func, series=True)
    if not lines:
        return []
    told = func.removesuffix("Series")
    start, step, rows = aligned(lines)
    share = xff if xff is not None else context.xff or 0.0
    values = np.where(enough(rows, share), reduced(rows, how), np.nan)
    name = f"{told}Series({paths(lines)})"
    common = {k: v for k, v in lines[0].tags.items() if all(line.tags.get(k) == v for line in lines)}
    return [Line(name, start, step, values, {"name": name, **common, "aggregatedBy": told}, name, xff=share)]


def flat(lists: Sequence[Lines]) -> Lines:
    return [line for lines in lists for line in lines]


@graphite("Combine", "aggregate")
def aggregate(seriesList: Lines, func: Aggregation, xFilesFactor: float | None = None, *, context: Context) -> Lines:
    """All series as one, by a function of your choice."""
    return together(seriesList, func, context, xFilesFactor)


def _of_all(func: str, about: str, *names: str) -> None:
    def combine(*seriesLists: Lines, context: Context) -> Lines:
        return together(flat(seriesLists), func, context)

    combine.__doc__ = about
    graphite("Combine", *names)(combine)


_of_all("sum", "The sum of all series at each moment.", "sumSeries", "sum")
_of_all("average", "The mean of all series at each moment.", "averageSeries", "avg")
_of_all("max", "The greatest of all series at each moment.", "maxSeries")
_of_all("min", "The least of all series at each moment.", "minSeries")
_of_all("diff", "The first series less all the others.", "diffSeries")
_of_all("stddev", "The standard deviation among all series at each moment.", "stddevSeries")
_of_all("rangeOf", "The greatest less the least of all series at each moment.", "rangeOfSeries")


@graphite("Combine", "multiplySeries")
def multiply_series(*seriesLists: Lines, context: Context) -> Lines:
    """The product of all series, where all are known."""
    lines = flat(seriesLists)
    return lines if len(lines) == 1 else together(lines, "multiply", context)


@graphite("Combine", "countSeries")
def count_series(*seriesLists: Lines, context: Context) -> Lines:
    """How many series there are."""
    lines = flat(seriesLists)
    if not lines:
        half = int((context.window.end - context.window.start) / 2)
        return [Line("0", context.window.start, half, np.zeros(3), {"name": "0"}, "countSeries()")]
    start, step, rows = aligned(lines)
    name = f"countSeries({paths(lines)})"
    return [Line(name, start, step, np.full(rows.shape[1], float(len(rows))), {"name": name}, name)]


@graphite("Combine", "powSeries")
def pow_series(*seriesLists: Lines) -> Lines:
    """The first series to the power of the second, that to the power of the third, and so on."""
    lines = flat(seriesLists)
    if not lines:
        return []
    start, step, rows = aligned(lines)
    values = rows[0]
    for row in rows[1:]:
        values = powered(values, row)
    name = f"powSeries({','.join(line.name for line in lines)})"
    return [Line(name, start, step, values, {"name": name}, name)]


def powered(base: Values, exponent: Values | float) -> Values:
    """base ** exponent; what is no finite real number is unknown."""
    with np.errstate(all="ignore"):
        result = np.power(base, exponent)
    return np.where(np.isfinite(result) & ~np.isnan(base) & ~np.isnan(exponent), result, np.nan)


@graphite("Combine", "percentileOfSeries")
def percentile_of_series(seriesList: Lines, n: float, interpolate: bool = False, *, context: Context) -> Lines:
    """The n-th percentile of all series at each moment."""
    if n <= 0:
        raise ValueError("the percentile is above 0")
    if not seriesList:
        return []
    start, step, rows = aligned(seriesList)
    name = f"percentileOfSeries({seriesList[0].path},{n:g})"
    return [Line(name, start, step, percentile(rows, n, interpolate), {"name": name}, name)]


@graphite("Combine", "group")
def group(*seriesLists: Lines) -> Lines:
    """Several lists of series as one."""
    return flat(seriesLists)


# ── pair by pair ──────────────────────────────────────────────────────────────────────────────


@graphite("Combine", "aggregateSeriesLists")
def aggregate_lists(
    seriesListFirstPos: Lines, seriesListSecondPos: Lines, func: Aggregation,
    xFilesFactor: float | None = None, *, context: Context
) -> Lines:  # fmt: skip
    """Two lists as one, pair by pair, by a function of your choice."""
    result = []
    for first, second in _pairs(seriesListFirstPos, seriesListSecondPos):
        for line in together([first, second], func, context, xFilesFactor):
            made = line.name[: line.name.index("Series(")]
            result.append(altered(line, name=f"{made}Series({first.name},{second.name})"))
    return result


@graphite("Combine", "sumSeriesLists")
def sum_lists(seriesListFirstPos: Lines, seriesListSecondPos: Lines, *, context: Context) -> Lines:
    """Two lists added pair by pair."""
    return aggregate_lists(seriesListFirstPos, seriesListSecondPos, "sum", context=context)


@graphite("Combine", "diffSeriesLists")
def diff_lists(seriesListFirstPos: Lines, seriesListSecondPos: Lines, *, context: Context) -> Lines:
    """The first list less the second, pair by pair."""
    return aggregate_lists(seriesListFirstPos, seriesListSecondPos, "diff", context=context)


@graphite("Combine", "multiplySeriesLists")
def multiply_lists(seriesListFirstPos: Lines, seriesListSecondPos: Lines, *, context: Context) -> Lines:
    """Two lists multiplied pair by pair."""
    return aggregate_lists(seriesListFirstPos, seriesListSecondPos, "multiply", context=context)


@graphite("Combine", "divideSeriesLists")
def divide_lists(dividendSeriesList: Lines, divisorSeriesList: Lines) -> Lines:
    """The first list divided by the second, pair by pair."""
    return [_quotient(a, b) for a, b in _pairs(dividendSeriesList, divisorSeriesList)]


@graphite("Combine", "divideSeries")
def divide_series(dividendSeriesList: Lines, divisorSeries: Lines) -> Lines:
    """Each series divided by one."""
    if not divisorSeries:
        return [
            line.made(f"divideSeries({line.name},MISSING)", np.full(len(line.values), np.nan))
            for line in dividendSeriesList
        ]
    if len(divisorSeries) > 1:
        raise ValueError(f"the divisor is exactly one series, not {len(divisorSeries)}")
    return [_quotient(line, divisorSeries[0]) for line in dividendSeriesList]


def _quotient(a: Line, b: Line) -> Line:
    start, step, rows = aligned([a, b])
    name = f"divideSeries({a.name},{b.name})"
    return Line(name, start, step, ratio(rows[0], rows[1]), {"name": name}, name)


def _pairs(first: Lines, second: Lines) -> list[tuple[Line, Line]]:
    if len(first) != len(second):
        raise ValueError(f"both lists have as many series, not {len(first)} and {len(second)}")
    return list(zip(first, second, strict=True))
