"""Functions that put series into groups by parts of their names or by tags, and make one of each group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace as altered
from typing import Any

import numpy as np

from qnib.monitoring.graphite.functions.combine import together
from qnib.monitoring.graphite.functions.line import Line, Lines, Values, aligned, paths, ratio
from qnib.monitoring.graphite.functions.registry import (
    FUNCTIONS,
    Aggregation,
    Context,
    FunctionName,
    NodeOrTag,
    call,
    graphite,
)  # fmt: skip
from qnib.monitoring.graphite.targets import first_path


def key_of(line: Line, nodes: Iterable[NodeOrTag]) -> str:
    """Segments of the series' path (from 0; negative from the end) and values of tags, joined by dots."""
    path = first_path(line.name) if line.name.endswith(")") else line.name
    segments = path.split(";", 1)[0].split(".")

    def part(node: Any) -> str:
        if isinstance(node, int | float) and node == int(node) and -len(segments) <= node < len(segments):
            return segments[int(node)]
        return str(line.tags.get(str(node), ""))

    return ".".join(part(node) for node in nodes)


def _grouped(lines: Lines, key: Callable[[Line], str]) -> dict[str, Lines]:
    groups: dict[str, Lines] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return groups


def _of_each(groups: dict[str, Lines], callback: str, context: Context) -> Lines:
    """One series per group, by a way to aggregate or by any function of series."""
    made: Lines = []
    for key, lines in groups.items():
        result = call(callback, [lines], {}, context) if callback in FUNCTIONS else together(lines, callback, context)
        made += [altered(line, name=key) for line in result[:1]]
    return made


@graphite("Combine", "groupByNode")
def group_by_node(
    seriesList: Lines, nodeNum: NodeOrTag, callback: Aggregation = "average", *, context: Context
) -> Lines:  # fmt: skip
    """One series per value of a segment of the path."""
    return _of_each(_grouped(seriesList, lambda line: key_of(line, [nodeNum])), callback, context)


@graphite("Combine", "groupByNodes")
def group_by_nodes(seriesList: Lines, callback: Aggregation, *nodes: NodeOrTag, context: Context) -> Lines:
    """One series per combination of segments of the path."""
    return _of_each(_grouped(seriesList, lambda line: key_of(line, nodes)), callback, context)


@graphite("Combine", "groupByTags")
def group_by_tags(seriesList: Lines, callback: Aggregation, *tags: str, context: Context) -> Lines:
    """One series per combination of values of tags."""
    if not tags:
        raise ValueError("it needs at least one tag")
    names = {str(line.tags.get("name", line.name)) for line in seriesList}
    shared = next(iter(names)) if len(names) == 1 else callback

    def key(line: Line) -> str:
        name = str(line.tags.get("name", "")) if "name" in tags else shared
        return ";".join([name, *sorted(f"{tag}={line.tags.get(tag, '')}" for tag in tags if tag != "name")])

    made = _of_each(_grouped(seriesList, key), callback, context)
    return [altered(line, path=line.name, tags=_tags_in(line.name)) for line in made]


def _tags_in(name: str) -> dict[str, str]:
    first, *pairs = name.split(";")
    return {"name": first, **{tag: value for tag, _, value in (pair.partition("=") for pair in pairs)}}


@graphite("Combine", "aggregateWithWildcards")
def aggregate_with_wildcards(seriesList: Lines, func: Aggregation, *positions: int, context: Context) -> Lines:
    """One series of those whose names differ only in the segments named, by a function of your choice."""

    def key(line: Line) -> str:
        return ".".join(part for place, part in enumerate(line.name.split(".")) if place not in positions)

    groups = _grouped(seriesList, key)
    return [altered(line, name=name) for name, lines in groups.items() for line in together(lines, func, context)]


@graphite("Combine", "sumSeriesWithWildcards")
def sum_with_wildcards(seriesList: Lines, *position: int, context: Context) -> Lines:
    """The sum of series whose names differ only in the segments named."""
    return aggregate_with_wildcards(seriesList, "sum", *position, context=context)


@graphite("Combine", "averageSeriesWithWildcards")
def average_with_wildcards(seriesList: Lines, *position: int, context: Context) -> Lines:
    """The mean of series whose names differ only in the segments named."""
    return aggregate_with_wildcards(seriesList, "average", *position, context=context)


@graphite("Combine", "multiplySeriesWithWildcards")
def multiply_with_wildcards(seriesList: Lines, *position: int, context: Context) -> Lines:
    """The product of series whose names differ only in the segments named."""
    return aggregate_with_wildcards(seriesList, "multiply", *position, context=context)


@graphite("Combine", "mapSeries", "map")
def map_series(seriesList: Lines, *mapNodes: NodeOrTag) -> list[Lines]:
    """Series in lists by segments of their path, for `reduceSeries`."""
    return list(_grouped(seriesList, lambda line: key_of(line, mapNodes)).values())


@graphite("Combine", "reduceSeries", "reduce")
def reduce_series(
    seriesLists: list[Lines], reduceFunction: FunctionName, reduceNode: int, *reduceMatchers: str, context: Context
) -> Lines:  # fmt: skip
    """Of each list those whose segment matches, in the order of the matchers, given to a function."""
    found: dict[str, list[Line | None]] = {}
    for line in (line for lines in seriesLists for line in (lines if isinstance(lines, list) else [lines])):
        segments = line.name.split(".")
        if segments[reduceNode] in reduceMatchers:
            name = f"{'.'.join(segments[:reduceNode])}.reduce.{reduceFunction}"
            places = found.setdefault(name, [None] * len(reduceMatchers))
            places[reduceMatchers.index(segments[reduceNode])] = line
    made: Lines = []
    for name, places in found.items():
        if missing := [m for m, line in zip(reduceMatchers, places, strict=True) if line is None]:
            raise ValueError(f"{name} has no series for {', '.join(missing)}")
        result: Lines = call(reduceFunction, [[line] for line in places], {}, context)
        made += [altered(line, name=name) for line in result[:1]]
    return made


@graphite("Combine", "applyByNode")
def apply_by_node(
    seriesList: Lines, nodeNum: int, templateFunction: str, newName: str | None = None, *, context: Context
) -> Lines:  # fmt: skip
    """A target evaluated for every prefix of the names, which stands for ``%`` in it."""
    prefixes = sorted({".".join(line.name.split(".")[: nodeNum + 1]) for line in seriesList})
    made = []
    for prefix in prefixes:
        for line in context.evaluate(templateFunction.replace("%", prefix)):
            name = newName.replace("%", prefix) if newName else line.name
            made.append(altered(line, name=name, path=prefix))
    return made


@graphite("Combine", "weightedAverage")
def weighted_average(seriesListAvg: Lines, seriesListWeight: Lines, *nodes: NodeOrTag, context: Context) -> Lines:
    """The mean of series, each weighted by the series of the other list with the same segments."""
    if len(seriesListAvg) != len(seriesListWeight):
        raise ValueError(f"both lists have as many series, not {len(seriesListAvg)} and {len(seriesListWeight)}")
    weights = {key_of(line, nodes): line for line in seriesListWeight}
    products: Lines = []
    for key, line in {key_of(line, nodes): line for line in seriesListAvg}.items():
        if weight := weights.get(key):
            start, step, rows = aligned([line, weight])
            products.append(Line(f"product({weight.name},{line.name})", start, step, rows[0] * rows[1]))
    if not products:
        return []
    top, below = together(products, "sum", context)[0], together(seriesListWeight, "sum", context)[0]
    start, step, rows = aligned([top, below])
    sides = [",".join(sorted({line.path for line in lines})) for lines in (seriesListAvg, seriesListWeight)]
    name = f"weightedAverage({sides[0]}, {sides[1]}, {','.join(map(str, nodes))})"
    return [Line(name, start, step, ratio(rows[0], rows[1]), {"name": name}, name)]


# ── shares of a whole ─────────────────────────────────────────────────────────────────────────


@graphite("Combine", "asPercent", "pct")
def as_percent(
    seriesList: Lines, total: Lines | float | None = None, *nodes: NodeOrTag
) -> Lines:  # fmt: skip
    """Each series in percent of a total: of all of them, of a number, of one series, or of one per group."""
    if nodes:
        return _of_groups(seriesList, total, nodes)
    if not seriesList:
        return []
    if isinstance(total, list):
        if len(total) == len(seriesList) and len(total) != 1:
            pairs = zip(sorted(seriesList, key=_name), sorted(total, key=_name), strict=True)
            return [_share(line, whole) for line, whole in pairs]
        if len(total) != 1:
            raise ValueError("the total is a number, one series, or as many as there are in the first argument")
        return [_share(line, total[0]) for line in seriesList]
    if total is None:
        whole = _sum(seriesList)
        return [_share(line, whole) for line in seriesList]
    return [
        _percent(line, str(total), line.start, line.step, line.values, np.array(float(total))) for line in seriesList
    ]


def _name(line: Line) -> str:
    return line.name


def _sum(lines: Lines) -> Line:
    start, step, rows = aligned(lines)
    values = np.where(np.all(np.isnan(rows), axis=0), np.nan, np.nansum(rows, axis=0))
    return Line(f"sumSeries({paths(lines)})", start, step, values)


def _share(line: Line, whole: Line) -> Line:
    start, step, rows = aligned([line, whole])
    return _percent(line, whole.name, start, step, rows[0], rows[1])


def _percent(line: Line, of: str, start: float, step: float, part: Values, whole: Values) -> Line:
    name = f"asPercent({line.name},{of})"
    return Line(name, start, step, ratio(part, whole) * 100.0, {"name": name}, name)


def _of_groups(lines: Lines, total: Lines | float | None, nodes: tuple[NodeOrTag, ...]) -> Lines:
    if total is not None and not isinstance(total, list):
        raise ValueError("with nodes the total is None or series")
    groups = _grouped(lines, lambda line: key_of(line, nodes))
    wholes = groups if total is None else _grouped(total, lambda line: key_of(line, nodes))
    made: Lines = []
    for key in dict.fromkeys([*groups, *wholes]):
        found = wholes.get(key, [])
        whole = found[0] if len(found) == 1 else _sum(found) if found else None
        if key not in groups and whole:
            name = f"asPercent(MISSING,{whole.name})"
            made.append(Line(name, whole.start, whole.step, np.full(len(whole.values), np.nan), {"name": name}, name))
        for line in groups.get(key, []):
            nothing = np.full(len(line.values), np.nan)
            made.append(
                _share(line, whole) if whole else _percent(line, "MISSING", line.start, line.step, nothing, nothing)
            )
    return made
