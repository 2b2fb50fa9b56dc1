"""Compiles declared paths and rules of paths into SQL that names series: ``servers.{host}.cpu.user`` to name and tags.

A declared path says which dotted segment is which tag; rules of paths do it for what others send. What nobody declared
is stored all the same, with its path as its name; a tagged path (``name;tag=value``) brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qnib.engine import Engine
from qnib.engine.values import literal
from qnib.errors import WrongUse
from qnib.model import Metric, PathRule

JOB_PREFIX = "slurm.job."
"""Lines of such paths are samples of jobs: ``slurm.job.{job}.{step}.{task}.{host}.{metric}``."""
_TAG = re.compile(r"\{(\w+)\}")
_PLACE = re.compile(r"\{(\w*)(\*?)(?::([^{}]+))?\}")
_PLACE_IN_NAME = re.compile(r"\{(\w+)\}")


def declared(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that make series, the ones with the fewest tags first: the most particular path wins."""
    series = [metric for metric in metrics if not metric.path.startswith(JOB_PREFIX)]
    return sorted(series, key=lambda metric: metric.path.count("{"))


def tag_positions(metric: Metric) -> dict[str, int]:
    """Which dotted segment (from 1) of the metric's path holds which tag.

    Raises WrongUse when a tag is only a part of its segment: it could not be told from what is around it.
    """
    found: dict[str, int] = {}
    for position, segment in enumerate(metric.path.split("."), 1):
        if tag := _TAG.fullmatch(segment):
            found[tag[1]] = position
        elif "{" in segment:
            raise WrongUse(
                f"Metric {metric.name!r} has a tag inside a segment of its path.",
                where=metric.path,
                try_next="give each tag a dotted segment of its own.",
            )
    return found


def pattern(metric: Metric) -> str:
    """A regular expression that matches the metric's paths and no others."""
    segments = ("[^.;]+" if "{" in part else re.escape(part) for part in metric.path.split("."))
    return f"^{'[.]'.join(segments)}$"


@dataclass(frozen=True, slots=True)
class Reading:
    """A rule of paths, ready to be used: `expression` (RE2) has a group for each place of a tag that is kept."""

    expression: str
    places: Mapping[str, Sequence[int]]
    """By tag the numbers of its groups, from 1."""


def reading(rule: PathRule) -> Reading:
    """Raises WrongUse when the rule's path or name is none, or it does not match its own sample."""
    expression = ""
    places: dict[str, list[int]] = {}
    group = at = 0
    for found in _PLACE.finditer(rule.path):
        tag, many, told = found.groups()
        expression += re.escape(rule.path[at : found.start()])
        at = found.end()
        if many and not tag:
            expression += "(?:[.][^;]*)?" if at == len(rule.path) else "[^;]*"
            continue
        what = told or ("[^;]+" if many else "[^.;]+")
        expression += f"({what})" if tag else f"(?:{what})"
        if tag:
            group += 1
            places.setdefault(tag, []).append(group)
    expression = f"^{expression}{re.escape(rule.path[at:])}$"
    try:
        matched = re.compile(expression)
    except re.error as error:
        raise _wrong(rule, f"it is no expression: {error}") from error
    if matched.groups != group:
        raise _wrong(rule, "an expression in it has groups of its own; write (?:…)")
    if "{" in _PLACE.sub("", rule.path):
        raise _wrong(rule, "a brace is not closed, or a name in braces is not of letters, digits and _")
    if unknown := [name for name in _PLACE_IN_NAME.findall(rule.name) if name not in places]:
        raise _wrong(rule, f"its name uses {', '.join(unknown)}, which its path does not have")
    if not matched.match(rule.sample):
        raise _wrong(rule, f"it does not match its sample {rule.sample!r}")
    return Reading(expression, places)


def named(engine: Engine, columns: str, paths: Sequence[str]) -> list[dict[str, Any]]:
    """What `series_columns` makes of these paths: ``path, name, tags, unit, mtype, host``."""
    sample = f"(SELECT arrayJoin({_array(paths, 'String')}) AS path)"
    return engine.rows(f"SELECT path, name, tags, unit, mtype, host FROM (SELECT *, {columns} FROM {sample})")


def _wrong(rule: PathRule, why: str) -> WrongUse:
    return WrongUse(
        f"The rule of paths {rule.path!r} is wrong: {why}.", where=rule.where or rule.path,
        try_next="see “Paths and tags” in docs/guides/metrics.md.",
    )


def series_columns(metrics: Sequence[Metric], paths: Sequence[PathRule] = (), site: int = 0) -> str:
    """SQL for ``name, tags, unit, mtype, host`` of a column `path`, for a SELECT.

    The first that matches says what a path means: the site's rules (the first `site` of `paths`), what is declared,
    the domains' rules; a tagged path says it itself, also its unit and mtype.
    """
    known = declared(metrics)
    names, units, mtypes = ([getattr(m, key) for m in known] for key in ("name", "unit", "mtype"))
    tags = [tag_positions(m) for m in known]
    read = [reading(rule) for rule in paths]
    patterns = [*(r.expression for r in read[:site]), *map(pattern, known), *(r.expression for r in read[site:])]
    numbers = [number + (0 if number <= site else len(known)) for number in range(1, len(paths) + 1)]
    by_rule = "".join(
        f"hit = {number}, {_named(rule, one)}, " for number, rule, one in zip(numbers, paths, read, strict=True)
    )
    of_rules = list(zip(numbers, paths, strict=True))
    return f"""
        splitByChar('.', path) AS segments,
        splitByChar(';', path) AS parts,
        arrayMap(part -> splitByChar('=', part, 2), arrayPopFront(parts)) AS pairs,
        toUInt32({f"arrayMin(multiMatchAllIndices(path, {_array(patterns, 'String')}))" if patterns else "0"}) AS hit,
        if(hit > {site} AND hit <= {site + len(known)}, hit - {site}, 0) AS number,
        multiIf({by_rule}number > 0, tuple(
                {_array(names, "String")}[number],
                {_array([list(t) for t in tags], "Array(String)")}[number],
                arrayMap(position -> segments[position],
                         {_array([list(t.values()) for t in tags], "Array(UInt16)")}[number])),
            tuple(parts[1], arrayMap(p -> p[1], pairs), arrayMap(p -> p[2], pairs))) AS named,
        named.1 AS name,
        mapFromArrays(named.2, named.3) AS tags,
        indexOf({_array(names, "String")}, name) AS by_name,
        firstNonDefault({_of_rule(of_rules, "unit")}, {_array(units, "String")}[by_name], tags['unit']) AS unit,
        firstNonDefault({_of_rule(of_rules, "mtype")}, {_array(mtypes, "String")}[by_name],
            if(tags['mtype'] IN {literal(MTYPES)}, tags['mtype'], ''), 'gauge') AS mtype,
        tags['host'] AS host
    """


MTYPES = ["gauge", "counter", "rate", "count"]


def _named(rule: PathRule, read: Reading) -> str:
    """SQL for ``(name, names of tags, their values)`` of a path that the rule matches."""
    groups = f"extractGroups(path, {literal(read.expression)})"

    def value(tag: str) -> str:
        places = read.places[tag]
        if len(places) == 1:
            return f"{groups}[{places[0]}]"
        return f"arrayStringConcat([{', '.join(f'{groups}[{place}]' for place in places)}], '.')"

    in_name = _PLACE_IN_NAME.findall(rule.name)
    pieces = _PLACE_IN_NAME.split(rule.name)  # text and tags, by turns
    name = ", ".join(value(piece) if at % 2 else literal(piece) for at, piece in enumerate(pieces))
    told = {tag: value(tag) for tag in read.places if tag not in in_name}
    told |= {tag: literal(fixed) for tag, fixed in rule.tags.items()}
    keys, values = _array(list(told), "String"), ", ".join(told.values())
    return f"tuple(concat({name}, ''), {keys}, CAST([{values}], 'Array(String)'))"


def _of_rule(rules: Sequence[tuple[int, PathRule]], what: str) -> str:
    """SQL: the unit or mtype that the rule which matches says."""
    told = {number: getattr(rule, what) for number, rule in rules}
    if not told:
        return "''"
    return f"transform(hit, {literal(list(told))}, {_array(list(told.values()), 'String')}, '')"


def _array(values: Sequence[object], kind: str) -> str:
    """A literal that has its type even when it is empty."""
    return f"CAST({literal(list(values))}, 'Array({kind})')"
