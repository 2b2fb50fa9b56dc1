"""Reads the points of series in slots: how wide these are, which roll-up answers, and which value a slot takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as altered
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from qnib.engine import Engine
from qnib.engine.values import numbers
from qnib.errors import TooMuch
from qnib.monitoring.graphite import within
from qnib.monitoring.graphite.functions import Line, Lines, Window
from qnib.monitoring.graphite.functions.line import Values
from qnib.monitoring.storage import levels
from qnib.monitoring.storage.levels import LADDER, Level
from qnib.monitoring.storage.read import archive_for, figures
from qnib.monitoring.storage.rules import Rule, Rules

_LOOK_BACK = 600  # seconds in which a series' own interval is looked for when the window is shorter
_TELLING = 1000  # points of a series that tell its interval
_MOST_SLOTS = 20_000  # per series; a longer window is read in coarser slots
_EARLY = 4_000_000  # points at most that are read before their intervals are known: 96 MB
_TICK = timedelta(milliseconds=1)  # between two moments a point may have
_BEHIND = 600  # seconds behind a window that may be in its last slot


@dataclass(frozen=True, slots=True)
class _Plan:
    """How some series are read: slots of `step` from `start`, made of a roll-up; without a level, of points."""

    start: float
    step: int
    count: int
    rule: Rule
    level: Level | None
    below: int
    """Step of the slots of points; 0: points as they are."""


def fetch(
    engine: Engine, cluster: str, rows: Sequence[dict[str, Any]], name: Callable[[dict[str, Any]], str], path: str,
    window: Window, now: float, rules: Rules, room: int,
) -> Lines:  # fmt: skip
    """Points in slots: of the archive that whisper would choose, else as wide as each series' own interval; the last
    value of a slot wins, as in whisper."""
    if not rows:
        return []
    kept = {row["series"]: rules.of(str(row["path"])) for row in rows}
    steps = {row["series"]: step for row in rows if (step := rules.interval(str(row["path"])))}
    free = [series for series, rule in kept.items() if not rule.archives]
    early = _early(engine, cluster, free, window) if free else None  # with their intervals: one query, not two
    if untold := [series for series in free if series not in steps]:
        steps |= early.steps(untold, window.end) if early else _steps(engine, cluster, untold, window)
    plans: dict[_Plan, list[int]] = {}
    for series, rule in kept.items():
        if (plan := _plan(rule, steps.get(series, 0), window, now)) is not None:
            plans.setdefault(plan, []).append(series)
    of = {series: plan for plan, ids in plans.items() for series in ids}
    rows = [row for row in rows if row["series"] in of]
    if (asked := sum(of[row["series"]].count for row in rows)) > room:
        raise TooMuch(
            f"The target asks for {asked} points of {len(rows)} series, {room} may be read.",
            where=path, try_next="name fewer series or a shorter time.",
        )
    found: dict[int, Line] = {}
    for plan, ids in plans.items():
        values = early.slots(ids, plan) if early and early.answers(plan) else _slots(engine, cluster, ids, plan, rules)
        found |= {key: Line("", plan.start, plan.step, row) for key, row in zip(ids, values, strict=True)}
    meant = _meant(engine, cluster, rows, of, found)
    return [
        altered(
            found[row["series"]], name=told, path=path, tags={"name": told.partition(";")[0], **row["tags"]},
            values=meant.get(place, found[row["series"]].values),
        )
        for place, row in enumerate(rows)
        for told in [name(row)]
    ]  # fmt: skip


def _meant(
    engine: Engine, cluster: str, rows: Sequence[dict[str, Any]], of: Mapping[int, _Plan], found: Mapping[int, Line]
) -> dict[int, Values]:
    """The values of rows that are meant for a part of the time only, by their place."""
    told: dict[int, Values] = {}
    exact: dict[_Plan, list[int]] = {}
    for place, row in enumerate(rows):
        spans, line, plan = row.get("spans", ()), found[row["series"]], of[row["series"]]
        if within.bounded(spans, line.start, line.end):
            told[place] = within.cut(line.values, line.start, line.step, spans)
            if plan.level is None:
                exact.setdefault(plan, []).append(place)
    for plan, places in exact.items():
        wanted = [(rows[place]["series"], rows[place]["spans"]) for place in places]
        how = _one_value(plan)
        read = within.exactly(engine, cluster, wanted, plan.start, plan.step, plan.count, how)
        told |= dict(zip(places, read, strict=True))
    return told


def _one_value(plan: _Plan) -> str:
    """SQL of what a slot's points become."""
    return "argMax(value, time)" if plan.below >= 0 else "avg(value)"


def _plan(rule: Rule, own: int, window: Window, now: float) -> _Plan | None:
    """None: the window ends before anything is kept."""
    first, last = window.start, window.end
    level = None
    if (oldest := rule.retention) is not None:
        if last < now - oldest:
            return None
        first = max(first, now - oldest)
        archive = archive_for(rule, first, now)
        assert archive is not None  # noqa: S101 - told to the type checker
        below = own = archive.step
        if archive is not rule.archives[0]:
            level = levels.level(rule, own)
    else:
        below = 0
    step = own * max(1, math.ceil((last - first) / own / _MOST_SLOTS))
    if not rule.archives and step != own and (base := max((one for one in LADDER if one <= step), default=0)):
        level, step = levels.level(rule, base), math.ceil(step / base) * base
    start = first - first % step + step
    return _Plan(start, step, max(1, math.floor((last - start) / step) + 1), rule, level, below if step == own else -1)


@dataclass(frozen=True, slots=True)
class _Raw:
    """Points of series as they are, in order of series and time."""

    keys: Values
    """The series that have points, in order."""
    borders: Values
    """Where the points of each of these begin, and the end of the last."""
    millis: Values
    values: Values

    def answers(self, plan: _Plan) -> bool:
        """Whether, read around a window, all is there that a plan needs: what is behind it in its last slot, too."""
        return plan.level is None and plan.below == 0 and plan.step <= _BEHIND

    def steps(self, ids: Sequence[int], end: float) -> dict[int, int]:
        """The interval of each of these, as by `_steps`."""
        asked = set(ids)
        gaps = np.diff(self.millis)
        told: dict[int, float] = {}
        for key, (first, after) in zip(self.keys.tolist(), pairwise(self.borders.tolist()), strict=True):
            mine = gaps[first : min(after, first + _TELLING) - 1]
            mine = mine[(mine > 0) & (self.millis[first + 1 : first + 1 + len(mine)] <= end * 1000)]
            if len(mine) and key in asked:
                told[key] = np.partition(mine, len(mine) // 2)[len(mine) // 2] / 1000
        return _usual(ids, told)

    def slots(self, ids: Sequence[int], plan: _Plan) -> Values:
        """A row per series, a column per slot; of a slot the last point remains."""
        where = np.searchsorted(self.keys, wanted := np.array(ids, np.uint64))
        there = np.flatnonzero(np.append(self.keys, np.uint64(0))[where] == wanted)
        lines = np.full(len(self.keys), -1)
        lines[where[there]] = there
        values = np.full((len(ids), plan.count), np.nan)
        slot = (self.millis - int(plan.start * 1000)) // (plan.step * 1000)
        line = np.repeat(lines, np.diff(self.borders))
        mine = (line >= 0) & (slot >= 0) & (slot < plan.count)
        values.reshape(-1)[(line * plan.count + slot)[mine]] = self.values[mine]
        return values


def _early(engine: Engine, cluster: str, ids: Sequence[int], window: Window) -> _Raw | None:
    """All points in and around a window. None: there are so many, or may be, that they are better reduced while they
    are read."""
    if window.end - window.start > _MOST_SLOTS * 10:
        return None
    since = at_second(min(window.start, window.end - _LOOK_BACK))
    return _raw(engine, cluster, ids, since, at_second(window.end + _BEHIND), _EARLY)


def _raw(
    engine: Engine, cluster: str, ids: Sequence[int], since: datetime, until: datetime, most: int
) -> _Raw | None:
    """The points in (since, until). None: there are `most`, or more."""
    params = {"ids": list(ids), "cluster": cluster, "since": since, "until": until}
    for final in ("", "FINAL"):  # it costs three times as much, and is needed only where a point was written twice
        table = engine.table(
            f"SELECT series, toUnixTimestamp64Milli(time) AS millis, value FROM qnib.points {final}"
            " WHERE series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
            " AND time > {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}"
            f" ORDER BY series, time LIMIT {most}",
            params,
        )
        if table.num_rows == most:
            return None
        if not table.num_rows:
            return _Raw(*(np.empty(0, kind) for kind in (np.uint64, np.int64, np.int64, np.float64)))
        series, millis = numbers(table, "series"), numbers(table, "millis")
        next_one = series[1:] != series[:-1]
        if (next_one | (millis[1:] != millis[:-1])).all():
            break
    borders = np.concatenate([[0], np.flatnonzero(next_one) + 1, [len(series)]])
    return _Raw(series[borders[:-1]], borders, millis, numbers(table, "value"))


def _slots(engine: Engine, cluster: str, ids: Sequence[int], plan: _Plan, rules: Rules) -> Values:
    """A row per series, a column per slot."""
    until = plan.start + plan.count * plan.step
    params: Mapping[str, Any]
    if plan.level is None and not plan.below and (values := _as_they_are(engine, cluster, ids, plan)) is not None:
        return values
    if plan.level is None:
        sql = (
            f"SELECT series, toUInt32(intDiv(toUnixTimestamp64Milli(time) - {{first:Int64}}, {{step:Int64}})) AS slot,"
            f" {_one_value(plan)} AS value FROM qnib.points FINAL WHERE series IN {{ids:Array(UInt64)}}"
            " AND cluster = {cluster:String} AND time >= {since:DateTime64(3, 'UTC')}"
            " AND time < {until:DateTime64(3, 'UTC')} GROUP BY series, slot"
        )
        params = {"ids": list(ids), "cluster": cluster, "since": at_second(plan.start), "until": at_second(until)}
    else:
        sql, params = figures(engine, cluster, ids, rules, plan.rule, plan.level, int(plan.start), int(until))
        enough = levels.known(plan.rule.xff) if plan.rule.archives else "1"
        sql = levels.merged(f"SELECT * FROM ({sql}) WHERE {enough}",
                            "toUInt32(intDiv(t * 1000 - {first:Int64}, {step:Int64}))")  # fmt: skip
        sql = f"SELECT series, slot, {levels.value(plan.rule.method)} AS value FROM ({sql})"
    table = engine.table(sql, {**params, "first": int(plan.start * 1000), "step": int(plan.step * 1000)})
    values = np.full((len(ids), plan.count), np.nan)
    if table.num_rows:
        keys = np.array(ids, np.uint64)
        order = np.argsort(keys)
        line = order[np.searchsorted(keys[order], numbers(table, "series"))]
        values[line, numbers(table, "slot")] = numbers(table, "value")
    return values


def _as_they_are(engine: Engine, cluster: str, ids: Sequence[int], plan: _Plan) -> Values | None:
    """The same of slots as wide as the series' own interval, where grouping would cost five times the reading. None:
    there are many more points than slots."""
    since, until = at_second(plan.start) - _TICK, at_second(plan.start + plan.count * plan.step)
    raw = _raw(engine, cluster, ids, since, until, 2 * plan.count * len(ids) + 1000)
    return None if raw is None else raw.slots(ids, plan)


def _steps(engine: Engine, cluster: str, ids: Sequence[int], window: Window) -> dict[int, int]:
    """Whole seconds between neighbours of each series."""
    gaps = f"arrayFilter(gap -> gap > 0, arrayPopFront(arrayDifference(groupArraySorted({_TELLING})(millis))))"
    told = engine.rows(
        f"SELECT series, arrayReduce('quantileExact(0.5)', {gaps}) / 1000 AS seconds FROM ("
        " SELECT series, toUnixTimestamp64Milli(time) AS millis FROM qnib.points"
        " WHERE series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
        " AND time > {since:DateTime64(3, 'UTC')} AND time <= {until:DateTime64(3, 'UTC')}) GROUP BY series",
        {
            "ids": list(ids), "cluster": cluster, "since": at_second(min(window.start, window.end - _LOOK_BACK)),
            "until": at_second(window.end),
        },
    )  # fmt: skip
    return _usual(ids, {row["series"]: row["seconds"] for row in told})


def _usual(ids: Sequence[int], told: Mapping[int, float]) -> dict[int, int]:
    """Intervals in whole seconds. What is within a tenth of the most common one is taken for that: clocks and pauses
    are not exact; so is what nobody can tell. A minute when nothing is told."""
    known = {key: max(1, round(seconds)) for key, seconds in told.items() if seconds > 0}
    usual = Counter(known.values()).most_common(1)[0][0] if known else 60
    return {
        key: usual if abs(step - usual) <= usual / 10 else step for key in ids for step in [known.get(key, usual)]
    }


def at_second(seconds: float) -> datetime:
    """The moment so many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)
