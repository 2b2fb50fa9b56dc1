"""One series on its way through the functions, and how several become one: NaN stands for what is not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as altered
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` (exclusive) to `end`, epoch seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Line:
    """One series: `values` at `start`, `start + step` … (epoch seconds), NaN where nothing is known."""

    name: str
    start: float
    step: float
    values: Values
    tags: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    """The expression it came from, for the names of what is made of several."""
    consolidate: str = "average"
    xff: float = 0.0
    """The share of values that must be known for several to become one."""

    @property
    def end(self) -> float:
        return self.start + self.step * len(self.values)

    @property
    def times(self) -> Values:
        return self.start + self.step * np.arange(len(self.values))

    def made(self, name: str, values: Values, **other: Any) -> Line:
        """The series a function makes of this one: it is its own expression from now on."""
        return altered(self, name=name, path=name, values=values, **other)

    def tagged(self, **tags: Any) -> Line:
        return altered(self, tags={**self.tags, **tags})


Lines = list[Line]

_ALIASES = {"avg": "average", "total": "sum", "rangeOf": "range", "current": "last"}
AGGREGATIONS = (
    "average", "avg_zero", "median", "sum", "min", "max", "diff", "stddev", "count", "range", "multiply", "last",
)  # fmt: skip
CONSOLIDATIONS = ("average", "avg", "avg_zero", "sum", "min", "max", "first", "last")


def aggregation(told: str, *, series: bool = False) -> str:
    """The name of a way to aggregate; with `series` also as ``sumSeries``. Raises ValueError for an unknown one."""
    name = told.removesuffix("Series") if series else told
    name = _ALIASES.get(name, name)
    if name not in AGGREGATIONS:
        raise ValueError(f"no way to aggregate named {told!r}; there are {', '.join((*AGGREGATIONS, *_ALIASES))}")
    return name


def reduced(rows: Values, how: str) -> Values:
    """Rows (series, times) become one row; where nothing is known it is NaN (a count is 0)."""
    count = np.sum(~np.isnan(rows), axis=0)
    heard = count > 0
    if how == "count":
        return np.asarray(count, float)
    if how == "avg_zero":
        return np.asarray(np.nansum(rows, axis=0) / max(1, len(rows)))
    if how == "multiply":  # of what is partly unknown the product is unknown
        return np.asarray(np.prod(rows, axis=0))
    result = np.full(rows.shape[1], np.nan)
    if not heard.any():
        return result
    known = rows[:, heard]
    if how in {"last", "first"}:
        for row in known if how == "last" else known[::-1]:
            result[heard] = np.where(np.isnan(row), result[heard], row)
        return result
    result[heard] = _KNOWN[how](known)
    return result


def _minus(rows: Values) -> Values:
    return np.asarray(2 * reduced(rows, "first") - np.nansum(rows, axis=0))


_KNOWN: dict[str, Callable[[Values], Values]] = {
    "average": lambda rows: np.nanmean(rows, axis=0),
    "median": lambda rows: np.nanmedian(rows, axis=0),
    "sum": lambda rows: np.nansum(rows, axis=0),
    "min": lambda rows: np.nanmin(rows, axis=0),
    "max": lambda rows: np.nanmax(rows, axis=0),
    "range": lambda rows: np.nanmax(rows, axis=0) - np.nanmin(rows, axis=0),
    "stddev": lambda rows: np.nanstd(rows, axis=0),
    "diff": _minus,
}


def whole(values: Values, how: str) -> float:
    """One number for a whole series; NaN when nothing in it is known."""
    if how in {"sum", "average"}:  # added in order, since names show all digits of it
        known = values[~np.isnan(values)].tolist()
        return sum(known) / (1 if how == "sum" else len(known)) if known else math.nan
    return float(reduced(values[:, None], how)[0])


def decimal(values: Values, digits: int) -> Values:
    """Rounded as decimals are; NumPy's own rounding is one off where a half is not exact."""
    return np.array([round(value, digits) for value in values.tolist()], float)


def enough(rows: Values, xff: float) -> Values:
    """Of which moments enough is known: something, and at least the share `xff`."""
    known = np.sum(~np.isnan(rows), axis=0)
    return np.asarray((known > 0) & (known >= xff * len(rows)))


def consolidated(values: Values, size: int, how: str, xff: float = 0.0) -> Values:
    """Every `size` neighbours as one, by `how`; what is unknown does not count, and too little known is unknown.

    `values` of shape (times,) or (series, times).
    """
    if how not in CONSOLIDATIONS:
        raise ValueError(f"no way to consolidate named {how!r}; there are {', '.join(CONSOLIDATIONS)}")
    if size <= 1:
        return values
    times = values.shape[-1]
    count = math.ceil(times / size)
    padded = np.full((*values.shape[:-1], count * size), np.nan)
    padded[..., :times] = values
    rows = padded.reshape(-1, size).T
    result = reduced(rows, _ALIASES.get(how, how))
    result[~enough(rows, xff)] = np.nan
    result = result.reshape(*values.shape[:-1], count)
    if how == "avg_zero" and (left := times % size):  # the last bucket is shorter
        tail = padded[..., times - left : times]
        result[..., -1] = np.where(np.isnan(result[..., -1]), np.nan, np.nansum(tail, axis=-1) / left)
    return result


def aligned(lines: Sequence[Line]) -> tuple[float, float, Values]:
    """Start, step and a row per series, on the least common step."""
    steps = [max(1, round(line.step)) for line in lines]
    if len({(line.start, line.step, len(line.values)) for line in lines}) == 1:
        return lines[0].start, lines[0].step, np.stack([line.values for line in lines])
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
            values = np.concatenate([np.full(lead, np.nan), values])
            values = consolidated(values, step // own, line.consolidate, line.xff)
        first = int((line.start - start) // step)
        row[first : first + len(values)] = values[: count - first]
    return start, float(step), rows


def paths(lines: Sequence[Line]) -> str:
    """The expressions the series came from, each once, as names of aggregates have them."""
    return ",".join(dict.fromkeys(line.path for line in lines))


def ratio(a: Values, b: Values) -> Values:
    """a / b; unknown where either is, and where b is 0."""
    result = np.full(np.broadcast(a, b).shape, np.nan)
    np.divide(a, b, out=result, where=~np.isnan(a) & ~np.isnan(b) & (b != 0))
    return result


def percentile(rows: Values, n: float, interpolate: bool = False) -> Values:
    """Per column the n-th percentile of what is known, by Graphite's rank ``n / 100 · (known + 1)``."""
    known = np.sum(~np.isnan(rows), axis=0)
    ordered = np.sort(rows, axis=0)
    exact = n / 100.0 * (known + 1)
    rank = np.floor(exact).astype(int)
    rest = exact - rank
    if not interpolate:
        rank = rank + np.ceil(rest).astype(int)
    last = np.maximum(known - 1, 0)
    columns = np.arange(rows.shape[1])
    result = ordered[np.clip(rank - 1, 0, last), columns]
    if interpolate:
        above = ordered[np.clip(rank, 0, last), columns]
        result = np.where(rank >= known, result, result + rest * (above - result))
    return np.where(known > 0, result, np.nan)
