"""Writes docs/reference/graphite.md from the functions' declarations: run it as a module."""

from __future__ import annotations

import sys

from qnib.monitoring.graphite.functions import FUNCTIONS
from qnib.monitoring.graphite.functions.described import described

GRAPHITE_WEB = frozenset(
    """
    aggregate aggregateSeriesLists aggregateWithWildcards applyByNode asPercent averageSeries
    averageSeriesWithWildcards avg countSeries diffSeries diffSeriesLists divideSeries divideSeriesLists group
    groupByNode groupByNodes groupByTags isNonNull map mapSeries maxSeries minSeries multiplySeries
    multiplySeriesLists multiplySeriesWithWildcards pct percentileOfSeries rangeOfSeries reduce reduceSeries
    stddevSeries sum sumSeries sumSeriesLists sumSeriesWithWildcards weightedAverage add absolute compressPeriodicGaps
    delay derivative exp hitcount integral integralByInterval interpolate invert keepLastValue log logit minMax
    nonNegativeDerivative offset offsetToZero perSecond pow powSeries round scale scaleToSeconds sigmoid
    smartSummarize squareRoot summarize timeShift timeSlice timeStack transformNull aggregateLine
    exponentialMovingAverage holtWintersAberration holtWintersConfidenceArea holtWintersConfidenceBands
    holtWintersForecast linearRegression movingAverage movingMax movingMedian movingMin movingSum movingWindow
    nPercentile stdev averageAbove averageBelow averageOutsidePercentile currentAbove currentBelow exclude
    filterSeries grep highest highestAverage highestCurrent highestMax limit lowest lowestAverage lowestCurrent
    maximumAbove maximumBelow minimumAbove minimumBelow mostDeviant removeBetweenPercentile removeEmptySeries unique
    useSeriesAbove removeAbovePercentile removeAboveValue removeBelowPercentile removeBelowValue sortBy sortByMaxima
    sortByMinima sortByName sortByTotal alias aliasByMetric aliasByNode aliasByTags aliasQuery aliasSub legendValue
    upper lower alpha areaBetween color dashed drawAsInfinite lineWidth secondYAxis stacked threshold verticalLine
    cactiStyle changed consolidateBy constantLine events cumulative fallbackSeries identity randomWalk
    randomWalkFunction setXFilesFactor sin sinFunction seriesByTag substr time timeFunction xFilesFactor
    """.split()  # noqa: SIM905 - readable as words
)
"""The names that graphite-web 1.1.10 knows."""

_EVALUATED = {"seriesByTag", "template"}
"""Read by the evaluation itself, since they name series."""


def lacking() -> list[str]:
    """What graphite-web has and we do not."""
    return sorted(GRAPHITE_WEB - set(FUNCTIONS) - _EVALUATED)


def page() -> str:
    """The page as Markdown."""
    groups: dict[str, dict[object, list[str]]] = {}
    for name, function in sorted(FUNCTIONS.items()):
        groups.setdefault(function.group, {}).setdefault(function.make, []).append(name)
    out = [
        "# Graphite's render functions", "",
        "Made from their declarations by `python -m qnib.monitoring.graphite.reference`; `/functions` says the same.",
        "Beside them `seriesByTag('tag=value', …)` finds series by tags and `template(target, name='value')` fills in"
        " variables.", "",
        f"Of the {len(GRAPHITE_WEB)} names of graphite-web 1.1.10 {len(lacking())} are lacking"
        + (f": {', '.join(lacking())}." if lacking() else "."),
        "Those marked * only say how to draw: series pass through them with their names and values.", "",
    ]  # fmt: skip
    for group, functions in sorted(groups.items()):
        out += [f"## {group}", "", "| function | what it gives |", "|---|---|"]
        for names in functions.values():
            function = FUNCTIONS[names[0]]
            params = ", ".join(_param(param) for param in described(function)["params"])
            others = f" (also {', '.join(f'`{name}`' for name in names[1:])})" if names[1:] else ""
            style = " *" if function.style else ""
            out.append(f"| `{names[0]}({params})`{others}{style} | {function.description} |")
        out.append("")
    return "\n".join(out)


def _param(told: dict[str, object]) -> str:
    if told.get("multiple"):
        return f"{told['name']}…"
    return str(told["name"]) if told.get("required") else f"[{told['name']}={told.get('default')}]"


if __name__ == "__main__":
    sys.stdout.write(page())
