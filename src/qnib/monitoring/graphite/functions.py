"""Graphite's render functions over NumPy: each takes series and gives series, named as Graphite names them.

A function is one decorated definition; `/functions` and the error for an unknown one are made from the same table.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as altered
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnib.errors import WrongUse
from qnib.monitoring.graphite.targets import first_path


@dataclass(frozen=True, slots=True)
class Line:
    """One series: `values` at `start`, `start + step` … (epoch seconds), NaN where nothing is known."""

    name: str
    start: float
    step: float
    values: NDArray[Any]
    tags: dict[str, str] = field(default_factory=dict)
    path: str = ""
    """The expression it came from, for the names of what is made of several."""
    consolidate: str = "average"

    @property
    def end(self) -> float:
        return self.start + self.step * len(self.values)


@dataclass(frozen=True, slots=True)
class Window:
    start: float
    end: float


Lines = list[Line]


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    group: str
    description: str
    make: Callable[..., Lines]
    params: tuple[inspect.Parameter, ...]


FUNCTIONS: dict[str, Function] = {}

_REDUCE: dict[str, Callable[..., Any]] = {
    "average": np.nanmean, "avg": np.nanmean, "sum": np.nansum, "total": np.nansum, "max": np.nanmax,
    "min": np.nanmin, "median": np.nanmedian,
}  # fmt: skip
CONSOLIDATIONS = (*_REDUCE, "first", "last", "current")


def graphite(group: str, *names: str) -> Callable[[Callable[..., Lines]], Callable[..., Lines]]:
    """Register a function under `names`; the first line of its docstring is shown to people."""

    def register(make: Callable[..., Lines]) -> Callable[..., Lines]:
        params = tuple(p for p in inspect.signature(make).parameters.values() if p.name != "window")
        text = (make.__doc__ or "").strip().partition("\n")[0]
        for name in names:
            FUNCTIONS[name] = Function(name, group, text, make, params)
        return make

    return register


def call(name: str, args: Sequence[Any], named: dict[str, Any], window: Window) -> Lines:
    """Apply a function. Raises WrongUse for an unknown one and for arguments it does not take."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise WrongUse(
            f"There is no function {name!r} here.", where=name, try_next="`/functions` lists those there are.",
        )  # fmt: skip
    extra = {"window": window} if "window" in inspect.signature(function.make).parameters else {}
    try:
        return function.make(*args, **named, **extra)
    except (TypeError, ValueError, IndexError, AttributeError, re.error) as error:
        raise WrongUse(
            f"The arguments of {name} do not fit: {error}.", where=name,
            try_next=f"it takes {', '.join(p.name for p in function.params)}.",
        ) from error  # fmt: skip


def consolidated(values: NDArray[Any], size: int, how: str) -> NDArray[Any]:
    """Every `size` neighbours as one, by `how`; what is unknown does not count, and only unknown gives unknown."""
    padded = np.full(math.ceil(len(values) / size) * size, np.nan)
    padded[: len(values)] = values
    return _down(padded.reshape(-1, size).T, how)


def _down(rows: NDArray[Any], how: str) -> NDArray[Any]:
    """Reduce along the first axis, NaN only where all are."""
    result = np.full(rows.shape[1], np.nan)
    heard = ~np.all(np.isnan(rows), axis=0)
    if how in {"first", "last", "current"}:
        for row in rows if how != "first" else rows[::-1]:
            result = np.where(np.isnan(row), result, row)
        return result
    if how not in _REDUCE:
        raise ValueError(f"no way to consolidate named {how!r}; there are {', '.join(CONSOLIDATIONS)}")
    result[heard] = _REDUCE[how](rows[:, heard], axis=0)
    return result


def _aligned(lines: Lines) -> tuple[float, float, NDArray[Any]]:
    """Start, step and a row per series, on the least common step."""
    steps = [max(1, round(line.step)) for line in lines]
    step = math.lcm(*steps)
    start = min(
        line.start - line.start % step if step != own else line.start for line, own in zip(lines, steps, strict=True)
    )
    count = max(math.ceil((line.end - start) / step) for line in lines)
    rows = np.full((len(lines), count), np.nan)
    for row, line, own in zip(rows, lines, steps, strict=True):
        values = line.values
        if own != step:
            lead = round((line.start - start) % step / own)
            values = consolidated(np.concatenate([np.full(lead, np.nan), values]), step // own, line.consolidate)
        first = int((line.start - start) // step)
        row[first : first + len(values)] = values[: count - first]
    return start, float(step), rows


def _combine(name: str, how: str, groups: Sequence[Lines]) -> Lines:
    lines = [line for group in groups for line in group]
    if not lines:
        return []
    start, step, rows = _aligned(lines)
    named = f"{name}({','.join(sorted({line.path for line in lines}))})"
    common = {k: v for k, v in lines[0].tags.items() if all(line.tags.get(k) == v for line in lines)}
    tags = {**common, "aggregatedBy": how}
    return [Line(named, start, step, _down(rows, how), {"name": named, **tags}, named, lines[0].consolidate)]


def _each(lines: Lines, label: str, change: Callable[[Line], NDArray[Any]]) -> Lines:
    """Each series changed, and named by `label` with ``{}`` for its old name."""
    return [
        altered(line, name=label.format(line.name), path=label.format(line.name), values=change(line)) for line in lines
    ]


# ── combine ───────────────────────────────────────────────────────────────────────────────────


@graphite("Combine", "sumSeries", "sum")
def sum_series(*seriesLists: Lines) -> Lines:  # noqa: N803
    """The sum of all series at each moment."""
    return _combine("sumSeries", "sum", seriesLists)


@graphite("Combine", "averageSeries", "avg")
def average_series(*seriesLists: Lines) -> Lines:  # noqa: N803
    """The mean of all series at each moment."""
    return _combine("averageSeries", "average", seriesLists)


@graphite("Combine", "maxSeries")
def max_series(*seriesLists: Lines) -> Lines:  # noqa: N803
    """The greatest of all series at each moment."""
    return _combine("maxSeries", "max", seriesLists)


@graphite("Combine", "minSeries")
def min_series(*seriesLists: Lines) -> Lines:  # noqa: N803
    """The least of all series at each moment."""
    return _combine("minSeries", "min", seriesLists)


@graphite("Combine", "group")
def group(*seriesLists: Lines) -> Lines:  # noqa: N803
    """Several lists of series as one."""
    return [line for lines in seriesLists for line in lines]


# ── transform ─────────────────────────────────────────────────────────────────────────────────


@graphite("Transform", "scale")
def scale(seriesList: Lines, factor: float) -> Lines:  # noqa: N803
    """Each value times `factor`."""
    return _each(seriesList, f"scale({{}},{factor:g})", lambda line: line.values * factor)


@graphite("Transform", "offset")
def offset(seriesList: Lines, factor: float) -> Lines:  # noqa: N803
    """Each value plus `factor`."""
    return _each(seriesList, f"offset({{}},{factor:g})", lambda line: line.values + factor)


@graphite("Transform", "absolute")
def absolute(seriesList: Lines) -> Lines:  # noqa: N803
    """Each value without its sign."""
    return _each(seriesList, "absolute({})", lambda line: np.abs(line.values))


def _difference(line: Line) -> NDArray[Any]:
    return np.concatenate([[np.nan], np.diff(line.values)]) if len(line.values) else line.values


def _growth(line: Line, most: float | None, least: float | None) -> NDArray[Any]:
    """What a counter grew by; where it fell, the growth across its greatest value, or nothing when unknown."""
    grown = _difference(line)
    if most is not None:
        wrapped = (most + 1 - (least or 0)) + grown
        grown = np.where((grown < 0) & (line.values <= most), wrapped, grown)
    elif least is not None:
        grown = np.where((grown < 0) & (line.values >= least), line.values - least, grown)
    grown[grown < 0] = np.nan
    return grown


@graphite("Transform", "derivative")
def derivative(seriesList: Lines) -> Lines:  # noqa: N803
    """The difference of each value from the one before."""
    return _each(seriesList, "derivative({})", _difference)


@graphite("Transform", "nonNegativeDerivative")
def non_negative_derivative(
    seriesList: Lines, maxValue: float | None = None, minValue: float | None = None  # noqa: N803
) -> Lines:  # fmt: skip
    """The growth of a counter; nothing where it fell, unless `maxValue` tells where it wraps."""
    return _each(seriesList, "nonNegativeDerivative({})", lambda line: _growth(line, maxValue, minValue))


@graphite("Transform", "perSecond")
def per_second(
    seriesList: Lines, maxValue: float | None = None, minValue: float | None = None  # noqa: N803
) -> Lines:  # fmt: skip
    """The growth of a counter per second."""
    return _each(seriesList, "perSecond({})", lambda line: _growth(line, maxValue, minValue) / line.step)


@graphite("Transform", "keepLastValue")
def keep_last_value(seriesList: Lines, limit: float = math.inf) -> Lines:  # noqa: N803
    """Gaps of at most `limit` values are filled with the value before."""
    return _each(seriesList, "keepLastValue({})", lambda line: _filled(line.values, limit))


def _filled(values: NDArray[Any], limit: float) -> NDArray[Any]:
    result = values.copy()
    known = np.flatnonzero(~np.isnan(values))
    for index, at in enumerate(known):
        until = known[index + 1] if index + 1 < len(known) else len(values)
        if 0 < until - at - 1 <= limit:
            result[at + 1 : until] = values[at]
    return result


# ── filter and sort ───────────────────────────────────────────────────────────────────────────


@graphite("Filter Series", "limit")
def limit_series(seriesList: Lines, n: int) -> Lines:  # noqa: N803
    """The first `n` series."""
    return seriesList[: int(n)]


@graphite("Filter Series", "highestMax")
def highest_max(seriesList: Lines, n: int = 1) -> Lines:  # noqa: N803
    """The `n` series with the greatest maximum."""
    return sorted(seriesList, key=lambda line: -_greatest(line.values))[: int(n)]


def _greatest(values: NDArray[Any]) -> float:
    return float(np.nanmax(values)) if np.any(~np.isnan(values)) else -math.inf


@graphite("Sorting", "sortByName")
def sort_by_name(seriesList: Lines, natural: bool = False, reverse: bool = False) -> Lines:  # noqa: N803
    """Series in the order of their names; `natural`: numbers inside them as numbers."""

    def key(line: Line) -> list[tuple[int, Any]]:
        parts = re.split(r"(\d+)", line.name) if natural else [line.name]
        return [(0, int(part)) if natural and part.isdigit() else (1, part) for part in parts]

    return sorted(seriesList, key=key, reverse=bool(reverse))


# ── names and the rest ────────────────────────────────────────────────────────────────────────


@graphite("Alias", "alias")
def alias(seriesList: Lines, newName: str) -> Lines:  # noqa: N803
    """Series with a name of your own."""
    return [altered(line, name=str(newName)) for line in seriesList]


@graphite("Alias", "aliasByNode", "aliasByTags")
def alias_by_node(seriesList: Lines, *nodes: int | str) -> Lines:  # noqa: N803
    """Series named by dotted segments of their path (from 0; negative from the end) or by tags."""
    return [altered(line, name=".".join(_part(line, node) for node in nodes)) for line in seriesList]


def _part(line: Line, node: Any) -> str:
    if isinstance(node, str) and not re.fullmatch(r"-?\d+", node):
        return line.tags.get(node, "")
    segments = first_path(line.name).partition(";")[0].split(".")
    return segments[int(node)] if -len(segments) <= int(node) < len(segments) else ""


@graphite("Alias", "aliasSub")
def alias_sub(seriesList: Lines, search: str, replace: str) -> Lines:  # noqa: N803
    """Series whose names are changed by a regular expression; ``\\1`` in the replacement is its first group."""
    if len(search) > 1000:
        raise ValueError("the expression is longer than 1000 characters")
    pattern = re.compile(search)
    return [altered(line, name=pattern.sub(replace, line.name)) for line in seriesList]


@graphite("Special", "consolidateBy")
def consolidate_by(seriesList: Lines, consolidationFunc: str) -> Lines:  # noqa: N803
    """How points are made fewer when there are more than can be shown: sum, average, min, max, first, last."""
    if consolidationFunc not in CONSOLIDATIONS:
        raise ValueError(f"there are {', '.join(CONSOLIDATIONS)}")
    label = f'consolidateBy({{}},"{consolidationFunc}")'
    return [
        altered(line, name=label.format(line.name), path=label.format(line.name), consolidate=consolidationFunc)
        for line in seriesList
    ]


@graphite("Special", "constantLine")
def constant_line(value: float, window: Window) -> Lines:
    """A horizontal line at `value`."""
    name, step = str(value), (window.end - window.start) / 2
    return [Line(name, window.start, step, np.full(3, float(value)), {"name": name}, name)]
