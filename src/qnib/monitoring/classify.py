"""Classifies parsed lines in SQL: staged lines → staged events → events, points of numbers in them, new templates.

The rules in force stand in the stage's own definition: `hits` is computed as lines are inserted, once for each line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from qnib.engine.values import literal
from qnib.model import EventRule
from qnib.monitoring.documents import POSTED
from qnib.monitoring.rules import event_columns, hits, matched
from qnib.monitoring.syslog import LINE_COLUMNS
from qnib.monitoring.template import template

LINES, EVENTS = "qnib_staging.lines", "qnib_staging.syslog"
KIND = "graphite.event"
"""Of what was posted as an event and no rule knows better."""
MANY = 2000
"""So many lines cost more among others, with other rules, than a statement of their own costs to plan."""
COLUMNS = (
    "cluster", "id", "time", "received", "sender", "listener", "host", "app", "pid", "facility", "severity", "message",
    "kind", "rules", "fields", "entities", "hint", "lane", "tags", "said", "sent", "pattern",
)  # fmt: skip
TYPES = {
    "severity": "LowCardinality(String)", "kind": "LowCardinality(String)", "rules": "Array(LowCardinality(String))",
    "fields": "Map(LowCardinality(String), String)", "entities": "Array(String)", "hint": "LowCardinality(String)",
    "lane": "LowCardinality(String)", "tags": "Array(LowCardinality(String))", "pattern": "UInt64",
}  # fmt: skip
"""The columns that say what the rules make of a line; all others hold what was received."""


def lines_table(rules: Sequence[EventRule], name: str = LINES) -> str:
    """The stage of lines, as these rules see them: CREATE TABLE."""
    return (
        f"CREATE OR REPLACE TABLE {name} ({LINE_COLUMNS}, hits Array(UInt64) MATERIALIZED {hits(rules)})"
        " ENGINE = Memory"
    )


def events_table(name: str = EVENTS) -> str:
    """The stage of events: as they will be stored, and what else their lines give."""
    return f"""CREATE OR REPLACE TABLE {name} (
        cluster LowCardinality(String), id UInt64, time DateTime64(6, 'UTC'), received DateTime64(6, 'UTC'),
        sender LowCardinality(String), listener LowCardinality(String), host String, app String, pid String,
        facility LowCardinality(String), message String, {", ".join(f"{n} {t}" for n, t in TYPES.items())},
        said LowCardinality(String), sent Map(LowCardinality(String), String),
        numbers Array(Tuple(String, Float64)), template String
    ) ENGINE = Memory"""


def matching(name: str = LINES) -> str:
    """Which rules match the same lines, their numbers from 1 as `hits`, and how many `lines`."""
    return f"SELECT hits, count() AS lines FROM {name} WHERE reason = '' AND notEmpty(hits) GROUP BY hits ORDER BY hits"


def classify(
    rules: Sequence[EventRule], found: Collection[Mapping[str, Any]], *, lines: str = LINES, events: str = EVENTS
) -> list[str]:
    """Statements that bring lines into the stage of events: those that no rule matches, and those that some do.

    `found`: the answer of `matching`. A statement does the work of all its rules for each of its lines, and takes the
    longer to plan the more rules it has: lines without a rule need none of that, lines that many others are like
    have a statement of their own.
    """
    many = [row["hits"] for row in found if row["lines"] >= MANY]
    few = [row["hits"] for row in found if row["lines"] < MANY]
    statements = [_classify({}, "empty(hits)", lines, events)]
    for alike, which in [*(([alike], f"hits = {_numbers(alike)}") for alike in many), (few, _other_than(many))]:
        if alike:
            numbered = {number: rules[number - 1] for number in sorted({n for hits in alike for n in hits})}
            statements.append(_classify(numbered, which, lines, events))
    return statements


def _other_than(many: Sequence[Sequence[int]]) -> str:
    return " AND ".join(["notEmpty(hits)", *(f"hits != {_numbers(alike)}" for alike in many)])


def _numbers(hits: Sequence[int]) -> str:
    return f"CAST({literal(list(hits))}, 'Array(UInt64)')"


def _classify(numbered: Mapping[int, EventRule], which: str, lines: str, events: str) -> str:
    first_of_each = "arrayFilter((pair, n) -> indexOf(pairs.1, pair.1) = n, pairs, arrayEnumerate(pairs))"
    shape = f"if(empty(sure), {template('message')}, '')" if numbered else template("message")
    posted = f"listener = {literal(POSTED)}"
    own = "splitByWhitespace(arrayFirst(pair -> pair.1 = 'tags', sent_fields).2)"
    return f"""
        INSERT INTO {events} ({", ".join((*COLUMNS, "numbers", "template"))})
        SELECT cluster, id, time, received, sender, listener, host, app, pid, facility,
            if(rule_severity != '', rule_severity, severity) AS severity, message,
            if(kind = '' AND {posted}, {literal(KIND)}, kind) AS kind, rules,
            CAST({first_of_each if numbered else "pairs"}, 'Map(LowCardinality(String), String)') AS fields,
            entities, hint, lane, if({posted}, arrayDistinct(arrayConcat(tags, {own})), tags) AS tags, said,
            CAST(sent_fields, 'Map(LowCardinality(String), String)') AS sent,
            if(template = '', 0, cityHash64(app, template)) AS pattern, numbers, template
        FROM (
            SELECT *, severity AS said, {event_columns(numbered)}, if({posted}, '', {shape}) AS template,
                arrayConcat(sent_fields, rule_fields, if(startsWith(app, 'slurm_') AND match(app, '^slurm_[0-9]+$'),
                                                         [('job', substring(app, 7))], [])) AS pairs
            FROM (SELECT *, {matched(numbered)} FROM (
                SELECT *, hits FROM {lines} WHERE reason = '' AND {which}
            ))
        )
    """


def store(events: str = EVENTS) -> str:
    """The stage's events into the record."""
    names = ", ".join(COLUMNS)
    return f"INSERT INTO qnib.events ({names}) SELECT {names} FROM {events}"


def patterns(events: str = EVENTS) -> str:
    """Note the templates of lines no rule knows, with when each was first heard."""
    return f"""
        INSERT INTO qnib.patterns (cluster, pattern, app, template, first_seen, last_seen)
        SELECT cluster, pattern, any(app), any(template), min(time), max(time)
        FROM {events} WHERE pattern != 0 GROUP BY cluster, pattern
    """


def numbers(events: str = EVENTS) -> str:
    """The numbers in the stage's events as rows ``cluster, series, path, time, value`` and where from: a subquery."""
    return f"""(
        SELECT cluster, cityHash64(cluster, number.1) AS series, number.1 AS path, toDateTime64(time, 3, 'UTC') AS time,
            number.2 AS value, sender, listener, received
        FROM {events} ARRAY JOIN numbers AS number
    )"""


def points(which: str, events: str = EVENTS) -> str:
    """The numbers in the stage's events into the record of points; `which`: a condition on their series."""
    return f"""
        INSERT INTO qnib.points (cluster, series, time, told)
        SELECT cluster, series, time, value FROM {numbers(events)} WHERE {which}
    """


def fingerprint() -> str:
    """SQL for a hash of all the rules said of an event, stored or staged."""
    return f"cityHash64({', '.join(f'CAST({name}, {literal(kind)})' for name, kind in TYPES.items())})"
