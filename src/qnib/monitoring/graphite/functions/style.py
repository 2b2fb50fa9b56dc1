"""Functions that say how to draw: who reads numbers draws by himself, so the series pass, named as Graphite does."""

from __future__ import annotations

from dataclasses import replace as altered

import numpy as np

from qnib.monitoring.graphite.functions.line import Lines
from qnib.monitoring.graphite.functions.registry import Context, graphite


@graphite("Graph", "alpha", style=True)
def alpha(seriesList: Lines, alpha: float) -> Lines:
    """How opaque a line is."""
    return seriesList


@graphite("Graph", "color", style=True)
def color(seriesList: Lines, theColor: str) -> Lines:
    """The colour of a line."""
    return seriesList


@graphite("Graph", "lineWidth", style=True)
def line_width(seriesList: Lines, width: float) -> Lines:
    """The width of a line."""
    return seriesList


@graphite("Graph", "dashed", style=True)
def dashed(seriesList: Lines, dashLength: float = 5) -> Lines:
    """A dashed line."""
    return [
        altered(line.tagged(dashed=dashLength), name=f"dashed({line.name}, {dashLength:g})") for line in seriesList
    ]


@graphite("Graph", "drawAsInfinite", style=True)
def draw_as_infinite(seriesList: Lines) -> Lines:
    """A mark where a value is not 0."""
    return [altered(line.tagged(drawAsInfinite=1), name=f"drawAsInfinite({line.name})") for line in seriesList]


@graphite("Graph", "secondYAxis", style=True)
def second_y_axis(seriesList: Lines) -> Lines:
    """Drawn by an axis on the right."""
    return [altered(line.tagged(secondYAxis=1), name=f"secondYAxis({line.name})") for line in seriesList]


@graphite("Graph", "areaBetween", style=True)
def area_between(seriesList: Lines) -> Lines:
    """The area between two series."""
    if len(seriesList) != 2:
        raise ValueError(f"it takes exactly two series, not {len(seriesList)}")
    name = f"areaBetween({seriesList[1].path})"
    return [altered(line.tagged(areaBetween=1), name=name) for line in seriesList]


@graphite("Graph", "stacked")
def stacked(seriesLists: Lines, stackName: str = "__DEFAULT__", *, context: Context) -> Lines:
    """Each series on top of those before it."""
    made = []
    for line in seriesLists:
        under = context.stacks.get(stackName, np.zeros(0))
        size = max(len(under), len(line.values))
        floor, values = np.zeros(size), np.full(size, np.nan)
        floor[: len(under)], values[: len(line.values)] = under, line.values
        context.stacks[stackName] = floor + np.nan_to_num(values, nan=0.0)
        name = f"stacked({line.name})" if stackName == "__DEFAULT__" else line.name
        tagged = line.tagged(stacked=stackName) if stackName == "__DEFAULT__" else line
        made.append(tagged.made(name, (floor + values)[: len(line.values)]))
    return made
