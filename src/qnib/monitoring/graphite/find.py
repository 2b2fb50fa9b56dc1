"""Finds series by Graphite's globs and tag expressions, and browses their dotted paths level by level."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from qnib.engine import Engine
from qnib.errors import NO_REGEX, TooMuch, WrongUse
from qnib.monitoring.known import NOTED_SECONDS

MOST_SERIES = 5000
MOST_NODES = 50_000
"""Of one level of the tree."""
_PAGE = 20_000
_EXPRESSION = re.compile(r"\s*([^\s=!~]+)\s*(!=~|=~|!=|=)(.*)", re.DOTALL)
_COLUMNS = "series, path, name, tags"
_TAGS = "arrayConcat(['name'], if(unit != '', ['unit'], []), mapKeys(tags))"


def glob_pattern(glob: str) -> str:
    """A regular expression for ``servers.{a,b}*.cpu.[us]*``; a ``*`` stays inside its dotted segment."""
    out: list[str] = []
    depth = at = 0
    while at < len(glob):
        char = glob[at]
        end = glob.find("]", at + 2)
        if char == "[" and end > 0:
            inside = glob[at + 1 : end]
            out.append(
                "[" + ("^" if inside[0] in "!^" else "") + re.sub(r"([\\\[\]^])", r"\\\1", inside.lstrip("!^")) + "]"
            )
            at = end
        elif char == "{":
            depth += 1
            out.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            out.append(")")
        elif char == "," and depth:
            out.append("|")
        else:
            out.append({"*": "[^.]*", "?": "[^.]"}.get(char) or re.escape(char))
        at += 1
    if depth:
        raise WrongUse("A brace is not closed.", where=glob, try_next="write {a,b}.")
    return _regex("".join(out), glob)


def by_glob(engine: Engine, cluster: str, glob: str) -> list[dict[str, Any]]:
    """Series whose path matches. Raises TooMuch past the limit."""
    params = {"pattern": f"^{glob_pattern(glob)}$", "glob": glob}
    if re.search(r"[*?{}\[\]]", glob):
        return _rows(engine, cluster, "1", params, glob, "match(path, {pattern:String})")
    only = "series = cityHash64({cluster:String}, {glob:String}) AND path = {glob:String}"
    return _rows(engine, cluster, only, params, glob, "path = {glob:String}")


def by_tags(engine: Engine, cluster: str, expressions: Sequence[str]) -> list[dict[str, Any]]:
    """Series whose tags match all expressions: ``name=cpu.used``, ``host=~compute.*``, ``host!=``."""
    where, params = tag_conditions(expressions)
    return _rows(engine, cluster, where, params, ", ".join(expressions))


def tag_conditions(expressions: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """SQL over a series' columns. At least one expression must ask for a value that is not empty."""
    where: list[str] = []
    params: dict[str, Any] = {}
    demanding = False
    for number, expression in enumerate(expressions):
        found = _EXPRESSION.fullmatch(expression)
        if not found:
            raise WrongUse("This is no tag expression.", where=expression, try_next="write tag=value or tag=~regex.")
        tag, operator, value = found.groups()
        column = _column(tag, f"tag{number}")
        params |= {f"tag{number}": tag, f"value{number}": value}
        told = f"{{value{number}:String}}"
        if operator.endswith("~"):
            matches_nothing = re.match(_regex(value, expression), "") is not None
            params[f"value{number}"] = f"^(?:{value})"
            where.append(f"{'NOT ' if operator[0] == '!' else ''}match({column}, {told})")
            demanding |= (operator == "=~") != matches_nothing
        else:
            where.append(f"{column} {'=' if operator == '=' else '!='} {told}")
            demanding |= (operator == "=") == bool(value)
    if not demanding:
        raise WrongUse(
            "At least one expression must ask for a tag that has a value.", where=", ".join(expressions),
            try_next="add name=… .",
        )  # fmt: skip
    return " AND ".join(where), params


def tagged_path(row: dict[str, Any]) -> str:
    """A series' name as Graphite writes tagged ones: ``cpu.used;host=compute0``."""
    return ";".join([row["name"], *(f"{tag}={value}" for tag, value in sorted(row["tags"].items()))])


def level(
    engine: Engine, cluster: str, query: str, start: datetime | None = None, end: datetime | None = None
) -> list[dict[str, Any]]:
    """One level of the tree: ``id`` (path), ``text`` (last segment), ``leaf`` and ``branch``; branches first."""
    depth = query.count(".") + 1 - len(re.findall(r"\.(?=[^{]*\})", query))
    where, of_path = "cluster = {cluster:String}", "position(path, ';') = 0 AND match(path, {pattern:String})"
    params: dict[str, Any] = {"cluster": cluster, "depth": depth, "pattern": f"^{glob_pattern(query)}([.]|$)"}
    if start:
        where += " AND last_seen >= {start:DateTime64(3, 'UTC')}"
        params["start"] = start - timedelta(seconds=NOTED_SECONDS)
    if end:
        where += " AND first_seen <= {end:DateTime64(3, 'UTC')}"
        params["end"] = end
    rows = engine.rows(
        f"""
        SELECT arrayStringConcat(arraySlice(parts, 1, {{depth:UInt32}}), '.') AS id, parts[{{depth:UInt32}}] AS text,
            max(length(parts) = {{depth:UInt32}}) AS leaf, max(length(parts) > {{depth:UInt32}}) AS branch
        FROM (SELECT splitByChar('.', path) AS parts FROM qnib.series FINAL PREWHERE {of_path} WHERE {where})
        WHERE length(parts) >= {{depth:UInt32}} GROUP BY id, text ORDER BY branch DESC, id LIMIT {MOST_NODES + 1}
        """,
        params,
    )
    if len(rows) > MOST_NODES:
        raise TooMuch(f"More than {MOST_NODES} nodes match.", where=query, try_next="narrow the query.")
    return rows


def last_segment(query: str) -> str:
    """What follows the last dot that is not inside braces."""
    depth = 0
    for at in range(len(query) - 1, -1, -1):
        depth += {"}": 1, "{": -1}.get(query[at], 0)
        if query[at] == "." and depth <= 0:
            return query[at + 1 :]
    return query


def tags(engine: Engine, cluster: str, pattern: str, limit: int) -> list[str]:
    """Names of tags that match a regular expression from their start."""
    rows = engine.rows(
        f"SELECT DISTINCT arrayJoin({_TAGS}) AS tag FROM qnib.series FINAL"
        " WHERE cluster = {cluster:String} AND match(tag, {pattern:String}) ORDER BY tag LIMIT {limit:UInt32}",
        {"cluster": cluster, "pattern": f"^(?:{_regex(pattern)})", "limit": limit},
    )
    return [row["tag"] for row in rows]


def values(engine: Engine, cluster: str, tag: str, pattern: str, limit: int) -> list[tuple[str, int]]:
    """Values of a tag that match a regular expression from their start, each with how many series have it."""
    column = _column(tag, "asked")
    rows = engine.rows(
        f"SELECT {column} AS value, count() AS series FROM qnib.series FINAL WHERE cluster = {{cluster:String}}"
        " AND value != '' AND match(value, {pattern:String}) GROUP BY value ORDER BY value LIMIT {limit:UInt32}",
        {"cluster": cluster, "asked": tag, "pattern": f"^(?:{_regex(pattern)})", "limit": limit},
    )
    return [(row["value"], row["series"]) for row in rows]


def _regex(pattern: str, asked: str = "") -> str:
    """The pattern, when it is a regular expression; `asked` is where it stands."""
    try:
        re.compile(pattern)
    except NO_REGEX as error:
        raise WrongUse(f"The expression is wrong: {error}.", where=asked or pattern, try_next="correct it.") from error
    return pattern


def _column(tag: str, parameter: str) -> str:
    """A tag's value in SQL; the tag's name is handed over as `parameter`. Unit and kind of a series are tags, too."""
    if tag in {"unit", "mtype"}:
        return tag
    return "name" if tag == "name" else f"tags[{{{parameter}:String}}]"


def all_paths(engine: Engine, cluster: str) -> Iterator[list[str]]:
    """Every path there is, in order, some thousands at a time: a million series take no more memory than these."""
    last = ""
    while True:
        rows = engine.rows(
            "SELECT path FROM qnib.series WHERE cluster = {cluster:String} AND path > {last:String} ORDER BY path"
            f" LIMIT {_PAGE}",
            {"cluster": cluster, "last": last},
        )
        if not rows:
            return
        last = rows[-1]["path"]
        yield list(dict.fromkeys(row["path"] for row in rows))  # what is not merged yet is there more than once


def complete_tags(engine: Engine, cluster: str, expressions: Sequence[str], prefix: str, limit: int) -> list[str]:
    """Names of tags that series matching the expressions have, without those already asked about."""
    where, params = tag_conditions(expressions) if expressions else ("1", {})
    used = [found[1] for e in expressions if (found := _EXPRESSION.fullmatch(e))]
    rows = engine.rows(
        f"SELECT DISTINCT arrayJoin({_TAGS}) AS tag FROM qnib.series FINAL WHERE"
        f" cluster = {{cluster:String}} AND {where} AND startsWith(tag, {{prefix:String}})"
        " AND NOT has({used:Array(String)}, tag) ORDER BY tag LIMIT {limit:UInt32}",
        {**params, "cluster": cluster, "prefix": prefix, "used": used, "limit": limit},
    )
    return [row["tag"] for row in rows]


def complete_values(
    engine: Engine, cluster: str, expressions: Sequence[str], tag: str, prefix: str, limit: int
) -> list[str]:
    where, params = tag_conditions(expressions) if expressions else ("1", {})
    column = _column(tag, "asked")
    rows = engine.rows(
        f"SELECT DISTINCT {column} AS value FROM qnib.series FINAL WHERE cluster = {{cluster:String}} AND {where}"
        " AND value != '' AND startsWith(value, {prefix:String}) ORDER BY value LIMIT {limit:UInt32}",
        {**params, "cluster": cluster, "asked": tag, "prefix": prefix, "limit": limit},
    )
    return [row["value"] for row in rows]


def _rows(
    engine: Engine, cluster: str, where: str, params: dict[str, Any], asked: str, of_path: str = "1"
) -> list[dict[str, Any]]:
    """`of_path`: a condition on paths alone, which are the same in all rows of a series that are not yet merged."""
    rows = engine.rows(
        f"SELECT {_COLUMNS} FROM qnib.series FINAL PREWHERE {of_path} WHERE cluster = {{cluster:String}} AND {where}"
        f" ORDER BY path LIMIT {MOST_SERIES + 1}",
        {**params, "cluster": cluster},
    )
    if len(rows) > MOST_SERIES:
        raise TooMuch(f"More than {MOST_SERIES} series match.", where=asked, try_next="narrow the path or the tags.")
    return rows
