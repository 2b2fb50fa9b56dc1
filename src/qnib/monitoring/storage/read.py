"""Which step answers a window, and its figures: from the roll-ups, and from points where those are not yet right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from qnib.engine import Engine
from qnib.monitoring.storage import levels
from qnib.monitoring.storage.levels import FOR_GOOD, HOUR, Level
from qnib.monitoring.storage.rules import Archive, Rule, Rules

_MOST_HOURS = 5000  # that changed; past it all is read from points


@dataclass(frozen=True, slots=True)
class Known:
    """How far roll-ups can be believed: below `settled` (seconds) but for these hours since 1970."""

    settled: int
    hours: tuple[int, ...] = ()


def archive_for(rule: Rule, start: float, now: float) -> Archive | None:
    """The finest that reaches back to `start`, else the coarsest; None: points as they are."""
    if not rule.archives:
        return None
    return next((one for one in rule.archives if one.retention >= now - start), rule.archives[-1])


def known(engine: Engine, cluster: str, ids: Sequence[int], rules: Rules | None, since: float, until: float) -> Known:
    """What the roll-ups of these series are worth in a window. Without `rules`: those of `LADDER`, which need none."""
    marks = engine.rows(
        "SELECT argMaxIf(value, number, name = 'settled') AS settled, argMaxIf(value, number, name = 'rules') AS rules,"
        " cityHash64({rules:String}) AS wanted FROM qnib.rollup_marks",
        {"rules": rules.fingerprint if rules else ""},
    )[0]
    if not marks["rules"] or (rules and marks["rules"] != marks["wanted"]):
        return Known(0)
    hours = engine.rows(
        "SELECT DISTINCT hour FROM qnib.changed WHERE cluster IN ('', {cluster:String})"
        " AND (series = 0 OR series IN {ids:Array(UInt64)}) AND hour >= {first:UInt32} AND hour <= {last:UInt32}"
        f" LIMIT {_MOST_HOURS + 1}",
        {"cluster": cluster, "ids": list(ids), "first": max(0, int(since) // HOUR), "last": max(0, int(until) // HOUR)},
    )
    if len(hours) > _MOST_HOURS:
        return Known(0)
    return Known(int(marks["settled"]) * HOUR, tuple(sorted(row["hour"] for row in hours)))


def figures(
    engine: Engine, cluster: str, ids: Sequence[int], rules: Rules | None, rule: Rule, one: Level, since: int,
    until: int,
) -> tuple[str, Mapping[str, Any]]:  # fmt: skip
    """SQL for rows ``series, t`` and the figures of the slots of [since, until), both at slots' borders."""
    told = known(engine, cluster, ids, rules, since - one.step, until + one.step)
    step = one.step
    if step <= HOUR:
        slots: tuple[int, ...] = ()
        right = (
            f"(t + {step} <= {{settled:UInt64}} AND NOT has({{hours:Array(UInt32)}}, toUInt32(intDiv(t, {HOUR})))"
            f" AND NOT has({{hours:Array(UInt32)}}, toUInt32(intDiv(t + {step - 1}, {HOUR}))))"
        )
        around = {hour + near for hour in told.hours for near in ((-1, 0, 1) if HOUR % step else (0,))}
    else:
        slots = tuple({at // step for hour in told.hours for at in (hour * HOUR, hour * HOUR + HOUR - 1)})
        right = f"(t + {step} <= {{settled:UInt64}} AND NOT has({{slots:Array(UInt32)}}, toUInt32(intDiv(t, {step}))))"
        around = {hour for slot in slots for hour in range(slot * step // HOUR, -(-(slot + 1) * step // HOUR))}
    params = {
        "cluster": cluster, "ids": list(ids), "settled": told.settled, "hours": list(told.hours), "slots": list(slots),
        "around": sorted(around), "from": since, "to": until, "fresh": told.settled - told.settled % step,
        "since": datetime.fromtimestamp(since, UTC), "until": datetime.fromtimestamp(until, UTC),
    }  # fmt: skip
    mine = "series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
    stored = (
        f"SELECT series, toUnixTimestamp(time) AS t, {levels.FIGURES}, version FROM qnib.rollups FINAL WHERE {mine}"
        f" AND step = {step} AND time >= {{since:DateTime64(3, 'UTC')}} AND time < {{until:DateTime64(3, 'UTC')}}"
    )
    if told.settled >= until and not told.hours:
        return f"SELECT series, t, {levels.FIGURES} FROM ({stored})", params
    where = (
        f"{mine} AND time >= {{since:DateTime64(3, 'UTC')}} AND time < {{until:DateTime64(3, 'UTC')}}"
        " AND (toUnixTimestamp64Milli(time) >= {fresh:UInt64} * 1000"
        f" OR toUInt32(intDiv(toUnixTimestamp64Milli(time), {HOUR * 1000})) IN {{around:Array(UInt32)}})"
    )
    made = f"SELECT series, slot_t AS t, {levels.FIGURES} FROM ({levels.from_points(rule, one, where)})"
    # Where no points are, what was loaded or outlived them holds
    best = f"multiIf({right} OR version >= {FOR_GOOD}, 2, 0) AS weight"
    both = (
        f"SELECT series, t, {levels.FIGURES}, {best} FROM ({stored})"
        f" UNION ALL SELECT series, t, {levels.FIGURES}, 1 AS weight FROM ({made})"
    )
    chosen = ", ".join(f"argMax(b.{name}, b.weight) AS {name}" for name in levels.FIGURES.split(", "))
    return f"SELECT series, t, {chosen} FROM ({both}) AS b GROUP BY series, t", params
