"""Functions that change the values of each series by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from qnib.monitoring.graphite.functions.combine import powered
from qnib.monitoring.graphite.functions.line import Line, Lines, Values, aligned, decimal, whole
from qnib.monitoring.graphite.functions.registry import Context, Interval, graphite
from qnib.monitoring.graphite.times import seconds


def each(lines: Lines, label: str, change: Callable[[Line], Values], **tags: Any) -> Lines:
    """Each series changed, and named by `label` with ``{}`` for its old name."""
    return [line.tagged(**tags).made(label.replace("{}", line.name), change(line)) for line in lines]


def _silent(function: Callable[[Values], Values]) -> Callable[[Line], Values]:
    """What is no finite number is not known."""

    def change(line: Line) -> Values:
        with np.errstate(all="ignore"):
            result = function(line.values)
        return np.where(np.isfinite(result), result, np.nan)

    return change


@graphite("Transform", "scale")
def scale(seriesList: Lines, factor: float) -> Lines:
    """Each value times `factor`."""
    return each(seriesList, f"scale({{}},{float(factor):g})", lambda line: line.values * factor, scale=factor)


@graphite("Transform", "scaleToSeconds")
def scale_to_seconds(seriesList: Lines, seconds: int) -> Lines:
    """Each value as if its interval had so many seconds."""
    label = f"scaleToSeconds({{}},{int(seconds)})"
    return each(
        seriesList, label, lambda line: decimal(line.values * (seconds / line.step), 6), scaleToSeconds=seconds
    )


@graphite("Transform", "add")
def add(seriesList: Lines, constant: float) -> Lines:
    """Each value plus `constant`."""
    return each(seriesList, f"add({{}},{int(constant)})", lambda line: line.values + constant, add=constant)


@graphite("Transform", "offset")
def offset(seriesList: Lines, factor: float) -> Lines:
    """Each value plus `factor`."""
    return each(seriesList, f"offset({{}},{float(factor):g})", lambda line: line.values + factor, offset=factor)


@graphite("Transform", "offsetToZero")
def offset_to_zero(seriesList: Lines) -> Lines:
    """Each series moved so that its least value is 0."""
    return [
        line.tagged(offsetToZero=_known(least)).made(f"offsetToZero({line.name})", line.values - least)
        for line in seriesList
        for least in [whole(line.values, "min")]
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


@graphite("Transform", "absolute")
def absolute(seriesList: Lines) -> Lines:
    """Each value without its sign."""
    return each(seriesList, "absolute({})", lambda line: np.abs(line.values), absolute=1)


@graphite("Transform", "invert")
def invert(seriesList: Lines) -> Lines:
    """One divided by each value."""
    return each(seriesList, "invert({})", lambda line: powered(line.values, -1.0), invert=1)


@graphite("Transform", "pow")
def power(seriesList: Lines, factor: float) -> Lines:
    """Each value to the power of `factor`."""
    return each(
        seriesList, f"pow({{}},{float(factor):g})", lambda line: powered(line.values, float(factor)), pow=factor
    )


@graphite("Transform", "squareRoot")
def square_root(seriesList: Lines) -> Lines:
    """The square root of each value."""
    return each(seriesList, "squareRoot({})", lambda line: powered(line.values, 0.5), squareRoot=1)


@graphite("Transform", "exp")
def exponential(seriesList: Lines) -> Lines:
    """e to the power of each value."""
    return each(seriesList, "exp({})", _silent(np.exp), exp="e")


@graphite("Transform", "log", "logarithm")
def logarithm(seriesList: Lines, base: int | float = 10) -> Lines:
    """The logarithm of each value that is above 0."""

    def change(values: Values) -> Values:
        return np.where(values > 0, np.log(np.where(values > 0, values, 1.0)) / math.log(base), np.nan)

    return each(seriesList, f"log({{}}, {base})", _silent(change), log=base)


@graphite("Transform", "logit")
def logit(seriesList: Lines) -> Lines:
    """log(value / (1 - value)), for shares between 0 and 1."""
    return each(seriesList, "logit({})", _silent(lambda values: np.log(values / (1 - values))), logit="logit")


@graphite("Transform", "sigmoid")
def sigmoid(seriesList: Lines) -> Lines:
    """1 / (1 + exp(-value)), between 0 and 1."""
    return each(seriesList, "sigmoid({})", _silent(lambda values: 1 / (1 + np.exp(-values))), sigmoid="sigmoid")


@graphite("Transform", "round")
def rounded(seriesList: Lines, precision: int | None = None) -> Lines:
    """Each value with so many digits after the point."""
    label = "round({})" if precision is None else f"round({{}},{int(precision):g})"
    digits = int(precision or 0)
    return each(seriesList, label, lambda line: decimal(line.values, digits), round=digits)


@graphite("Transform", "minMax")
def min_max(seriesList: Lines) -> Lines:
    """Each series between 0 (its least value) and 1 (its greatest)."""

    def change(line: Line) -> Values:
        least, most = whole(line.values, "min"), whole(line.values, "max")
        return line.values - least if most == least else (line.values - least) / (most - least)

    return each(seriesList, "minMax({})", change)


@graphite("Transform", "isNonNull")
def is_non_null(seriesList: Lines) -> Lines:
    """1 where a value is known, 0 elsewhere."""
    return each(seriesList, "isNonNull({})", lambda line: (~np.isnan(line.values)).astype(float), isNonNull=1)


@graphite("Transform", "transformNull")
def transform_null(seriesList: Lines, default: float = 0, referenceSeries: Lines | None = None) -> Lines:
    """`default` where a value is not known; with a reference only where that is known."""
    if not referenceSeries:
        label = f"transformNull({{}},{default:g})"
        return each(
            seriesList, label, lambda line: np.where(np.isnan(line.values), default, line.values), transformNull=default
        )

    def change(line: Line) -> Values:
        rows = aligned([line, *referenceSeries])[2]
        known = np.any(~np.isnan(rows[1:]), axis=0)
        return np.where(np.isnan(rows[0]) & known, default, rows[0])

    label = f"transformNull({{}},{default:g},referenceSeries)"
    return each(seriesList, label, change, transformNull=default, referenceSeries=1)


@graphite("Special", "changed")
def changed(seriesList: Lines) -> Lines:
    """1 where a value differs from the one known before, 0 elsewhere."""

    def change(line: Line) -> Values:
        result = np.zeros(len(line.values))
        known = np.flatnonzero(~np.isnan(line.values))
        result[known[1:]] = np.diff(line.values[known]) != 0
        return result

    return each(seriesList, "changed({})", change)


# ── along time ────────────────────────────────────────────────────────────────────────────────


def _difference(values: Values) -> Values:
    return np.concatenate([[np.nan], np.diff(values)]) if len(values) else values


def _growth(line: Line, most: float | None, least: float | None) -> Values:
    """What a counter grew by; where it fell, the growth across its greatest value, or nothing when unknown."""
    values = line.values.copy()
    if most is not None:
        values[values > most] = np.nan
    if least is not None:
        values[values < least] = np.nan
    grown = _difference(values)
    fell = grown < 0
    if most is not None:
        grown[fell] += most + 1 - (least or 0)
    elif least is not None:
        grown[fell] = values[fell] - least
    else:
        grown[fell] = np.nan
    return grown


@graphite("Transform", "derivative")
def derivative(seriesList: Lines) -> Lines:
    """The difference of each value from the one before."""
    return each(seriesList, "derivative({})", lambda line: _difference(line.values), derivative=1)


@graphite("Transform", "nonNegativeDerivative")
def non_negative_derivative(
    seriesList: Lines, maxValue: float | None = None, minValue: float | None = None
) -> Lines:  # fmt: skip
    """The growth of a counter; nothing where it fell, unless `maxValue` tells where it wraps."""
    return each(
        seriesList, "nonNegativeDerivative({})", lambda line: _growth(line, maxValue, minValue),
        nonNegativeDerivative=1,
    )  # fmt: skip


@graphite("Transform", "perSecond")
def per_second(seriesList: Lines, maxValue: float | None = None, minValue: float | None = None) -> Lines:
    """The growth of a counter per second."""
    return each(
        seriesList, "perSecond({})", lambda line: decimal(_growth(line, maxValue, minValue) / line.step, 6),
        perSecond=1,
    )  # fmt: skip


@graphite("Transform", "delay")
def delay(seriesList: Lines, steps: int) -> Lines:
    """Each value so many steps later; a negative number: earlier."""

    def change(line: Line) -> Values:
        size = len(line.values)
        moved = np.full(size, np.nan)
        if steps >= 0:
            moved[min(steps, size) :] = line.values[: max(0, size - steps)]
        else:
            moved[: max(0, size + steps)] = line.values[min(-steps, size) :]
        return moved

    return each(seriesList, f"delay({{}},{int(steps)})", change, delay=steps)


@graphite("Transform", "integral")
def integral(seriesList: Lines) -> Lines:
    """The sum of all values so far."""
    return each(seriesList, "integral({})", lambda line: _sum_so_far(line.values), integral=1)


def _sum_so_far(values: Values) -> Values:
    known = ~np.isnan(values)
    return np.where(known, np.cumsum(np.where(known, values, 0.0)), np.nan)


@graphite("Transform", "integralByInterval")
def integral_by_interval(seriesList: Lines, intervalUnit: Interval, *, context: Context) -> Lines:
    """The sum of all values so far, begun anew with each interval."""
    width = int(abs(seconds(intervalUnit)))

    def change(line: Line) -> Values:
        turn = (line.times - context.window.start) // width
        cuts = np.flatnonzero(np.diff(turn)) + 1
        parts = np.split(np.nan_to_num(line.values, nan=0.0), cuts)
        return np.concatenate([np.cumsum(part) for part in parts]) if len(line.values) else line.values

    label = f"integralByInterval({{}},'{intervalUnit}')"
    return each(seriesList, label, change, integralByInterval=intervalUnit)


@graphite("Transform", "keepLastValue")
def keep_last_value(seriesList: Lines, limit: float = math.inf) -> Lines:
    """Gaps of at most `limit` values are filled with the value before."""

    def change(line: Line) -> Values:
        filled = line.values.copy()
        for first, until in _gaps(line.values):
            if first and until - first <= limit:
                filled[first:until] = line.values[first - 1]
        return filled

    return each(seriesList, "keepLastValue({})", change)


@graphite("Transform", "interpolate")
def interpolate(seriesList: Lines, limit: float = math.inf) -> Lines:
    """Gaps of at most `limit` values are filled along a straight line."""

    def change(line: Line) -> Values:
        filled, size = line.values.copy(), len(line.values)
        for first, until in _gaps(line.values):
            if first and until < size and until - first <= limit:
                a, b = line.values[first - 1], line.values[until]
                filled[first:until] = a + np.arange(1, until - first + 1) * (b - a) / (until - first + 1)
        return filled

    return each(seriesList, "interpolate({})", change)


def _gaps(values: Values) -> list[tuple[int, int]]:
    """Runs of what is not known: the first of each, and the place after its last."""
    edges = np.diff(np.concatenate([[0], np.isnan(values).astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
