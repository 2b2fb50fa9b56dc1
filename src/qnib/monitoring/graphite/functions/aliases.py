"""Functions that change only what a series is called."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace as altered

from qnib.monitoring.graphite.functions.groups import key_of
from qnib.monitoring.graphite.functions.line import Line, Lines, aggregation, whole
from qnib.monitoring.graphite.functions.registry import Aggregation, Context, NodeOrTag, graphite
from qnib.monitoring.graphite.functions.series import expression

_SYSTEMS = {
    "si": [("P", 1000.0**5), ("T", 1000.0**4), ("G", 1000.0**3), ("M", 1000.0**2), ("k", 1000.0)],
    "binary": [("Pi", 1024.0**5), ("Ti", 1024.0**4), ("Gi", 1024.0**3), ("Mi", 1024.0**2), ("Ki", 1024.0)],
}


def named(line: Line, name: str) -> Line:
    return altered(line, name=name)


@graphite("Alias", "alias")
def alias(seriesList: Lines, newName: str) -> Lines:
    """Series with a name of your own."""
    return [named(line, str(newName)) for line in seriesList]


@graphite("Alias", "aliasByNode")
def alias_by_node(seriesList: Lines, *nodes: NodeOrTag) -> Lines:
    """Series named by dotted segments of their path (from 0; negative from the end) or by tags."""
    return [named(line, key_of(line, nodes)) for line in seriesList]


@graphite("Alias", "aliasByTags")
def alias_by_tags(seriesList: Lines, *tags: NodeOrTag) -> Lines:
    """Series named by values of their tags, or by segments of their path."""
    return alias_by_node(seriesList, *tags)


@graphite("Alias", "aliasByMetric")
def alias_by_metric(seriesList: Lines) -> Lines:
    """Series named by the last segment of their path."""
    return substr(seriesList, -1)


@graphite("Alias", "aliasSub")
def alias_sub(seriesList: Lines, search: str, replace: str) -> Lines:
    """Series whose names are changed by a regular expression; ``\\1`` in the replacement is its first group."""
    return [named(line, expression(search).sub(replace, line.name)) for line in seriesList]


@graphite("Alias", "aliasQuery")
def alias_query(seriesList: Lines, search: str, replace: str, newName: str, *, context: Context) -> Lines:
    """Series named by the last value of another, whose name is found by a regular expression; ``%d`` stands for it."""
    made = []
    for line in seriesList:
        query = expression(search).sub(replace, line.name)
        found = context.evaluate(query)
        if not found:
            raise ValueError(f"there is no series {query}")
        if math.isnan(last := whole(found[0].values, "last")):
            raise ValueError(f"{query} has no last value")
        made.append(named(line, newName % last))
    return made


@graphite("Special", "substr")
def substr(seriesList: Lines, start: int = 0, stop: int = 0) -> Lines:
    """Series named by a range of the segments of their path."""
    made = []
    for line in seriesList:
        inner = line.name[line.name.rfind("(") + 1 :].split(")", 1)[0]
        segments = inner.split(".")[int(start) : int(stop) or None]
        made.append(named(line, ".".join(segments).partition(",")[0]))
    return made


@graphite("Alias", "upper")
def upper(seriesList: Lines, *pos: int) -> Lines:
    """Names in capitals, or only their letters at these places."""
    return [named(line, _cased(line.name, pos, str.upper)) for line in seriesList]


@graphite("Alias", "lower")
def lower(seriesList: Lines, *pos: int) -> Lines:
    """Names in small letters, or only their letters at these places."""
    return [named(line, _cased(line.name, pos, str.lower)) for line in seriesList]


def _cased(name: str, places: tuple[int, ...], case: Callable[[str], str]) -> str:
    if not places:
        return case(name)
    wanted = {place + len(name) if place < 0 else place for place in places}
    return "".join(case(letter) if at in wanted else letter for at, letter in enumerate(name))


# ── values in names ───────────────────────────────────────────────────────────────────────────


@graphite("Alias", "legendValue")
def legend_value(seriesList: Lines, *valueTypes: Aggregation) -> Lines:
    """Names with aggregates behind them; a last ``si`` or ``binary`` writes them short."""
    system = valueTypes[-1] if valueTypes and valueTypes[-1] in _SYSTEMS else None
    made = seriesList
    for told in valueTypes[:-1] if system else valueTypes:
        made = [named(line, _with_value(line, told, system)) for line in made]
    return made


def _with_value(line: Line, told: str, system: str | None) -> str:
    try:
        value: float | None = whole(line.values, aggregation(told))
    except ValueError:
        return f"{line.name:<20}{told:<5}{'(?)':<10}" if system else f"{line.name} ({told}: (?))"
    value = None if value is None or math.isnan(value) else value
    if told == "count" and value is not None:
        value = int(value)
    if not system:
        return f"{line.name} ({told}: {value})"
    return f"{line.name:<20}{told:<5}{str(None) if value is None else _short(value, system):<10}"


def _short(value: float, system: str, units: str = "") -> str:
    for prefix, size in _SYSTEMS[system]:
        if abs(value) >= size:
            return f"{value / size:.2f}{' ' if units else ''}{prefix}{units}"
    return f"{value:.2f}{' ' if units else ''}{units}"


@graphite("Special", "cactiStyle")
def cacti_style(seriesList: Lines, system: str | None = None, units: str | None = None) -> Lines:
    """Names in columns with current, greatest and least value, as Cacti shows them."""
    if not seriesList:
        return []

    def text(value: float) -> str:
        if system:
            return _short(value, system, units or "")
        return f"{value:.2f} {units}" if units else f"{value:.2f}"

    def shown(line: Line, how: str) -> str:
        value = whole(line.values, how)
        return "nan" if math.isnan(value) else text(value)

    def width(how: str) -> int:
        values = [whole(line.values, how) for line in seriesList]
        return max(len(text(float(int(3 if math.isnan(v) or not v else v)))) for v in values) + 3

    longest = max(len(line.name) for line in seriesList)
    last, most, least = width("last"), width("max"), width("min")
    return [
        named(
            line,
            f"{line.name:<{longest}} Current:{shown(line, 'last'):<{last}} Max:{shown(line, 'max'):<{most}}"
            f" Min:{shown(line, 'min'):<{least}} ",
        )
        for line in seriesList
    ]
