"""Functions that say how a series is to be read on: how it is consolidated, how much of it must be known."""

from __future__ import annotations

from dataclasses import replace as altered

from qnib.monitoring.graphite.functions.line import CONSOLIDATIONS, Lines
from qnib.monitoring.graphite.functions.registry import Context, graphite


@graphite("Special", "consolidateBy")
def consolidate_by(seriesList: Lines, consolidationFunc: str) -> Lines:
    """How points are made fewer when there are more than can be shown: sum, average, min, max, first, last."""
    if consolidationFunc not in CONSOLIDATIONS:
        raise ValueError(f"there are {', '.join(CONSOLIDATIONS)}")
    return [
        altered(
            line.tagged(consolidateBy=consolidationFunc).made(
                f'consolidateBy({line.name},"{consolidationFunc}")', line.values
            ),
            consolidate=consolidationFunc,
        )
        for line in seriesList
    ]


@graphite("Special", "cumulative")
def cumulative(seriesList: Lines) -> Lines:
    """Points are summed up when there are more than can be shown."""
    return consolidate_by(seriesList, "sum")


@graphite("Special", "setXFilesFactor", "xFilesFactor")
def set_xfiles_factor(seriesList: Lines, xFilesFactor: float, *, context: Context) -> Lines:
    """The share of values that must be known for several to become one."""
    context.xff = xFilesFactor
    return [altered(line.tagged(xFilesFactor=xFilesFactor), xff=xFilesFactor) for line in seriesList]
