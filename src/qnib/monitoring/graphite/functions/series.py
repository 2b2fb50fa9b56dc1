"""Functions that choose among series, or put them into an order."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence

import numpy as np

from qnib.monitoring.graphite.functions.combine import flat
from qnib.monitoring.graphite.functions.line import Line, Lines, Values, aggregation, percentile, whole
from qnib.monitoring.graphite.functions.registry import Aggregation, Context, graphite

LONGEST = 1000
"""Characters of a regular expression: longer ones are accidents or attacks."""

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_HOLDS_FOR_UNKNOWN = {"!=", "<", "<="}


def expression(pattern: str) -> re.Pattern[str]:
    if len(pattern) > LONGEST:
        raise ValueError(f"the expression is longer than {LONGEST} characters")
    return re.compile(pattern)


@graphite("Filter Series", "filterSeries")
def filter_series(seriesList: Lines, func: Aggregation, operator: str, threshold: float) -> Lines:
    """Series whose aggregate compares with a number as told: = != > >= < <=."""
    how = aggregation(func)
    if operator not in _OPERATORS:
        raise ValueError(f"no comparison {operator!r}; there are {' '.join(_OPERATORS)}")

    def holds(line: Line) -> bool:
        value = whole(line.values, how)
        return operator in _HOLDS_FOR_UNKNOWN if math.isnan(value) else _OPERATORS[operator](value, threshold)

    return [line for line in seriesList if holds(line)]


def _compared(name: str, func: str, operator: str, about: str) -> None:
    def choose(seriesList: Lines, n: float) -> Lines:
        return filter_series(seriesList, func, operator, n)

    choose.__doc__ = about
    graphite("Filter Series", name)(choose)


_compared("maximumAbove", "max", ">", "Series whose greatest value is above `n`.")
_compared("minimumAbove", "min", ">", "Series whose least value is above `n`.")
_compared("maximumBelow", "max", "<=", "Series whose greatest value is at most `n`.")
_compared("minimumBelow", "min", "<=", "Series whose least value is at most `n`.")
_compared("currentAbove", "last", ">", "Series whose last value is above `n`.")
_compared("currentBelow", "last", "<=", "Series whose last value is at most `n`.")
_compared("averageAbove", "average", ">", "Series whose mean is above `n`.")
_compared("averageBelow", "average", "<=", "Series whose mean is at most `n`.")


@graphite("Filter Series", "grep")
def grep(seriesList: Lines, pattern: str) -> Lines:
    """Series whose names match a regular expression."""
    return [line for line in seriesList if expression(pattern).search(line.name)]


@graphite("Filter Series", "exclude")
def exclude(seriesList: Lines, pattern: str) -> Lines:
    """Series whose names do not match a regular expression."""
    return [line for line in seriesList if not expression(pattern).search(line.name)]


@graphite("Filter Series", "limit")
def limit(seriesList: Lines, n: int) -> Lines:
    """The first `n` series."""
    return seriesList[: int(n)]


@graphite("Filter Series", "unique")
def unique(*seriesLists: Lines) -> Lines:
    """Series of which none has the name of another."""
    first: dict[str, Line] = {}
    for line in flat(seriesLists):
        first.setdefault(line.name, line)
    return list(first.values())


@graphite("Filter Series", "removeEmptySeries")
def remove_empty_series(seriesList: Lines, xFilesFactor: float | None = None) -> Lines:
    """Series of which something is known, or at least the share told."""

    def kept(line: Line) -> bool:
        known = int(np.sum(~np.isnan(line.values)))
        return known > 0 and known >= (xFilesFactor or 0) * len(line.values)

    return [line for line in seriesList if kept(line)]


@graphite("Special", "fallbackSeries")
def fallback_series(seriesList: Lines, fallback: Lines) -> Lines:
    """The second list when the first is empty."""
    return seriesList or fallback


@graphite("Filter Series", "useSeriesAbove")
def use_series_above(seriesList: Lines, value: float, search: str, replace: str, *, context: Context) -> Lines:
    """Other series, found by changing the names of those whose greatest value is above `value`."""
    names = [
        expression(search).sub(replace, line.name) for line in seriesList if whole(line.values, "max") > value
    ]
    found = context.evaluate(f"group({','.join(names)})") if names else []
    return [line for line in found if len(line.values)]


@graphite("Filter Series", "averageOutsidePercentile")
def average_outside_percentile(seriesList: Lines, n: float) -> Lines:
    """Series whose mean is among the lowest or the highest."""
    means = np.array([whole(line.values, "average") for line in seriesList])
    low, high = _bounds(means[:, None], n)
    return [line for line, mean in zip(seriesList, means, strict=True) if not low[0] < mean < high[0]]


@graphite("Filter Series", "removeBetweenPercentile")
def remove_between_percentile(seriesList: Lines, n: float) -> Lines:
    """Series that at some moment are among the lowest or the highest."""
    if not seriesList:
        return []
    shortest = min(len(line.values) for line in seriesList)
    rows = np.stack([line.values[:shortest] for line in seriesList])
    low, high = _bounds(rows, n)
    outside = ~((low < rows) & (rows < high))
    return [line for line, row in zip(seriesList, outside, strict=True) if row.any()]


def _bounds(rows: Values, n: float) -> tuple[Values, Values]:
    n = 100 - n if n < 50 else n
    return percentile(rows, 100 - n), percentile(rows, n)


@graphite("Filter Series", "mostDeviant")
def most_deviant(seriesList: Lines, n: int) -> Lines:
    """The `n` series that vary most."""
    told = [line for line in seriesList if np.any(~np.isnan(line.values))]
    return sorted(told, key=lambda line: float(np.nanvar(line.values)), reverse=True)[: int(n)]


# ── in order ──────────────────────────────────────────────────────────────────────────────────


def _ordered(lines: Sequence[Line], func: str, reverse: bool) -> Lines:
    how = aggregation(func)

    def key(line: Line) -> float:
        value = whole(line.values, how)
        return -math.inf if math.isnan(value) else value

    return sorted(lines, key=key, reverse=bool(reverse))


@graphite("Filter Series", "highest")
def highest(seriesList: Lines, n: int = 1, func: Aggregation = "average") -> Lines:
    """The `n` series with the greatest aggregate."""
    return _ordered(seriesList, func, True)[: int(n)]


@graphite("Filter Series", "lowest")
def lowest(seriesList: Lines, n: int = 1, func: Aggregation = "average") -> Lines:
    """The `n` series with the least aggregate."""
    return _ordered(seriesList, func, False)[: int(n)]


def _first(name: str, func: str, reverse: bool, about: str) -> None:
    def choose(seriesList: Lines, n: int = 1) -> Lines:
        return _ordered(seriesList, func, reverse)[: int(n)]

    choose.__doc__ = about
    graphite("Filter Series", name)(choose)


_first("highestAverage", "average", True, "The `n` series with the greatest mean.")
_first("highestCurrent", "current", True, "The `n` series with the greatest last value.")
_first("highestMax", "max", True, "The `n` series with the greatest maximum.")
_first("lowestAverage", "average", False, "The `n` series with the least mean.")
_first("lowestCurrent", "current", False, "The `n` series with the least last value.")


@graphite("Sorting", "sortBy")
def sort_by(seriesList: Lines, func: Aggregation = "average", reverse: bool = False) -> Lines:
    """Series in the order of an aggregate."""
    return _ordered(seriesList, func, reverse)


@graphite("Sorting", "sortByTotal")
def sort_by_total(seriesList: Lines) -> Lines:
    """Series by their sums, the greatest first."""
    return _ordered(seriesList, "sum", True)


@graphite("Sorting", "sortByMaxima")
def sort_by_maxima(seriesList: Lines) -> Lines:
    """Series by their maxima, the greatest first."""
    return _ordered(seriesList, "max", True)


@graphite("Sorting", "sortByMinima")
def sort_by_minima(seriesList: Lines) -> Lines:
    """Series that ever rise above 0, by their minima, the least first."""
    return _ordered([line for line in seriesList if whole(line.values, "max") > 0], "min", False)


@graphite("Sorting", "sortByName")
def sort_by_name(seriesList: Lines, natural: bool = False, reverse: bool = False) -> Lines:
    """Series in the order of their names; `natural`: numbers inside them as numbers."""

    def key(line: Line) -> str:
        return re.sub(r"\d+", lambda number: number[0].zfill(10), line.name) if natural else line.name

    return sorted(seriesList, key=key, reverse=bool(reverse))
