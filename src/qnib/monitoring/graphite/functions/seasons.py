"""Forecasts: Holt and Winters' method with a season, and the straight line through a series."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qnib.monitoring.graphite.functions.line import Line, Lines, Values, Window
from qnib.monitoring.graphite.functions.registry import Interval, Moment, Source, graphite
from qnib.monitoring.graphite.times import seconds

LEVEL = SEASON = 0.1
"""How much the newest value weighs for the level and for the season, as Graphite has it."""
SLOPE = 0.0035


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was expected at each moment, and how far off the expectation used to be then."""

    line: Line
    expected: Values
    deviation: Values


def _forecasts(source: Source, bootstrap: str, season: str) -> list[Forecast]:
    preview = abs(seconds(bootstrap))
    made = []
    for line in source.since(preview):
        expected, deviation = analysed(line.values, int(abs(seconds(season)) // line.step))
        skip = int(preview // line.step)
        begun = line.made(line.name, line.values[skip:], start=line.start + preview)
        made.append(Forecast(begun, expected[skip:], deviation[skip:]))
    return made


def analysed(values: Values, season: int) -> tuple[Values, Values]:
    """Expected values and deviations, of triple exponential smoothing with a season of so many values."""
    levels: list[float] = []
    slopes: list[float] = []
    seasonal: list[float] = []
    expected: list[float] = []
    deviations: list[float] = []

    def of(past: list[float], at: int) -> float:
        return past[at - season] if at >= season and at - season < len(past) else 0.0

    coming = math.nan
    for at, actual in enumerate(values.tolist()):
        if math.isnan(actual):
            levels.append(math.nan)
            slopes.append(0.0)
            seasonal.append(0.0)
            expected.append(coming)
            deviations.append(0.0)
            coming = math.nan
            continue
        level, slope = (levels[-1], slopes[-1]) if at else (actual, 0.0)
        level = actual if math.isnan(level) else level
        guess = coming if at else actual
        last = of(seasonal, at)
        new = LEVEL * (actual - last) + (1 - LEVEL) * (level + slope)
        slopes.append(SLOPE * (new - level) + (1 - SLOPE) * slope)
        levels.append(new)
        seasonal.append(SEASON * (actual - new) + (1 - SEASON) * last)
        off = abs(actual - (0.0 if math.isnan(guess) else guess))
        deviations.append(SEASON * off + (1 - SEASON) * of(deviations, at))
        expected.append(guess)
        coming = new + slopes[-1] + (of(seasonal, at + 1) if season > 1 else 0.0)
    return np.array(expected), np.array(deviations)


@graphite("Calculate", "holtWintersForecast")
def holt_winters_forecast(
    seriesList: Source, bootstrapInterval: Interval = "7d", seasonality: Interval = "1d"
) -> Lines:  # fmt: skip
    """What was to be expected from a season and a trend."""
    return [
        one.line.tagged(holtWintersForecast=1).made(f"holtWintersForecast({one.line.name})", one.expected)
        for one in _forecasts(seriesList, bootstrapInterval, seasonality)
    ]


@graphite("Calculate", "holtWintersConfidenceBands")
def holt_winters_confidence_bands(
    seriesList: Source, delta: float = 3, bootstrapInterval: Interval = "7d", seasonality: Interval = "1d"
) -> Lines:  # fmt: skip
    """The band in which values were to be expected: its lower and its upper edge."""
    made = []
    for one in _forecasts(seriesList, bootstrapInterval, seasonality):
        for side, sign in (("Lower", -1), ("Upper", 1)):
            name = f"holtWintersConfidence{side}({one.line.name})"
            made.append(one.line.made(name, one.expected + sign * delta * one.deviation))
    return made


@graphite("Calculate", "holtWintersConfidenceArea")
def holt_winters_confidence_area(
    seriesList: Source, delta: float = 3, bootstrapInterval: Interval = "7d", seasonality: Interval = "1d"
) -> Lines:  # fmt: skip
    """The band in which values were to be expected, as an area."""
    bands = holt_winters_confidence_bands(seriesList, delta, bootstrapInterval, seasonality)
    if len(bands) != 2:
        raise ValueError(f"it takes exactly one series, not {len(bands) // 2}")
    name = f"holtWintersConfidenceArea({seriesList.lines()[0].path})"
    return [band.made(name, band.values) for band in bands]


@graphite("Calculate", "holtWintersAberration")
def holt_winters_aberration(
    seriesList: Source, delta: float = 3, bootstrapInterval: Interval = "7d", seasonality: Interval = "1d"
) -> Lines:  # fmt: skip
    """How far values were outside the band in which they were to be expected."""
    edges = holt_winters_confidence_bands(seriesList, delta, bootstrapInterval, seasonality)
    bands = {line.name: line for line in edges}
    made = []
    for line in seriesList.lines():
        lower, upper = (
            np.resize(bands[f"holtWintersConfidence{side}({line.name})"].values, len(line.values))
            for side in ("Lower", "Upper")
        )
        above, below = line.values - upper, line.values - lower
        values = np.where(above > 0, above, np.where(below < 0, below, 0.0))
        made.append(line.tagged(holtWintersAberration=1).made(f"holtWintersAberration({line.name})", values))
    return made


@graphite("Calculate", "linearRegression")
def linear_regression(
    seriesList: Source, startSourceAt: Moment | None = None, endSourceAt: Moment | None = None
) -> Lines:  # fmt: skip
    """The straight line through a series, or through what it was in another window."""
    context = seriesList.context
    window = Window(
        context.moment(startSourceAt) if startSourceAt is not None else context.window.start,
        context.moment(endSourceAt) if endSourceAt is not None else context.window.end,
    )
    made = []
    for source, line in zip(seriesList.lines(window), seriesList.lines(), strict=False):
        known = ~np.isnan(source.values)
        x, y = np.flatnonzero(known).astype(float), source.values[known]
        divisor = len(x) * np.sum(x * x) - np.sum(x) ** 2
        if not divisor:
            continue
        slope = (len(x) * np.sum(x * y) - np.sum(x) * np.sum(y)) / divisor / source.step
        height = (np.sum(x * x) * np.sum(y) - np.sum(x * y) * np.sum(x)) / divisor - slope * source.start
        name = f"linearRegression({line.name}, {int(window.start)}, {int(window.end)})"
        tagged = line.tagged(linearRegressions=f"{int(window.start)}, {int(window.end)}")
        made.append(tagged.made(name, height + line.times * slope))
    return made
