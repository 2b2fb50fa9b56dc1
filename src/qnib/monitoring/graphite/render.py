"""Evaluates targets over the engine and writes the answer as Graphite's json, csv or raw."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as altered
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from qnib.engine import Engine
from qnib.engine.values import numbers
from qnib.errors import TooMuch, WrongUse
from qnib.monitoring import events as event_store
from qnib.monitoring.graphite import within
from qnib.monitoring.graphite.find import by_glob, by_tags, tagged_path
from qnib.monitoring.graphite.functions import Line, Lines, Window, call, consolidated
from qnib.monitoring.graphite.functions.line import Values
from qnib.monitoring.graphite.picture import Look, as_svg
from qnib.monitoring.graphite.targets import Call, Node, Path, parse
from qnib.monitoring.graphite.times import moment
from qnib.monitoring.graphite.views import Tree, by_view, is_view
from qnib.monitoring.graphite.written import datapoints
from qnib.monitoring.storage import levels
from qnib.monitoring.storage.levels import LADDER, Level
from qnib.monitoring.storage.read import archive_for, figures
from qnib.monitoring.storage.rules import WITHOUT, Rule, Rules

_LOOK_BACK = 600  # seconds in which a series' own interval is looked for when the window is shorter
_MOST_SLOTS = 20_000  # per series; a longer window is read in coarser slots
_MOST_VALUES = 10_000_000  # read for one target, and told in one answer: 80 MB, some times over
_MOST_EVENTS = 10_000  # that `events()` counts
_DEEPEST = 60  # evaluations inside each other: functions may write targets themselves


class Reading:
    """The evaluation of one target: the window, what was read already, and what functions told each other."""

    def __init__(
        self, engine: Engine, cluster: str, window: Window, now: datetime, template: Mapping[str, str] | None = None,
        zone: str = "UTC", rules: Rules = WITHOUT, tree: Tree | None = None,
    ) -> None:  # fmt: skip
        self._rules = rules
        self._tree = tree
        self._room = _MOST_VALUES
        self.engine = engine
        self.cluster = cluster
        self.window = window
        self.xff: float | None = None
        self.stacks: dict[str, Any] = {}
        self._now = now
        self._zone = zone
        self._template = dict(template or {})
        self._read: dict[tuple[str, Window], Lines] = {}
        self._depth = 0

    def evaluate(self, target: Node | str | Lines, window: Window | None = None) -> Lines:
        """The series of a target. Raises WrongUse and TooMuch."""
        if isinstance(target, list):
            return target
        tree = parse(target) if isinstance(target, str) else target
        before = self.window
        self.window = window or before
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise WrongUse("Targets lead to targets without end.", where=str(target)[:200], try_next="nest fewer.")
            found = self._evaluate(tree)
        finally:
            self._depth -= 1
            self.window = before
        return found

    def moment(self, text: str) -> float:
        return moment(text, self._now, self._zone).timestamp()

    def happened(self, tags: Sequence[str]) -> Sequence[float]:
        start, end = _moment(self.window.start), _moment(self.window.end)
        found = event_store.search(
            self.engine, self.cluster, start, end, known=True, tags=sorted(tags), limit=_MOST_EVENTS
        )
        return [datetime.fromisoformat(row["time"]).timestamp() for row in found["events"]]

    def _evaluate(self, node: Node) -> Lines:
        if isinstance(node, Path):
            glob = node.text
            return self._series(
                glob, lambda: [*self._viewed(glob), *by_glob(self.engine, self.cluster, glob)],
                lambda row: str(row.get("virtual") or row["path"]),
            )  # fmt: skip
        if not isinstance(node, Call):
            raise WrongUse(f"{node!r} names no series.", where="target", try_next="name a path or call a function.")
        if node.name == "template":
            return self.evaluate(self._filled(node))
        if node.name == "seriesByTag":
            expressions = [str(arg) for arg in node.args]
            named = f"seriesByTag({','.join(repr(expression) for expression in expressions)})"
            return self._series(named, lambda: by_tags(self.engine, self.cluster, expressions), tagged_path)
        made = call(node.name, node.args, node.named, self)
        return made if isinstance(made, list) else list(made)

    def _series(
        self, path: str, find: Callable[[], list[dict[str, Any]]], name: Callable[[dict[str, Any]], str]
    ) -> Lines:
        read = self._read.get((path, self.window))
        if read is None:
            found = find()
            rows = [row for row in found if "series" in row]
            known = Window(self.window.start, min(self.window.end, self._now.timestamp()))
            now = self._now.timestamp()
            read = _fetch(self.engine, self.cluster, rows, name, path, known, now, self._rules, self._room)
            jobs = [row for row in found if "series" not in row]
            read += within.samples(self.engine, self.cluster, jobs, path, known)
            self._room -= sum(len(line.values) for line in read)
            self._read[path, self.window] = read
        return [line if self.xff is None else altered(line, xff=self.xff) for line in read]

    def _viewed(self, glob: str) -> list[dict[str, Any]]:
        """Series of a virtual path, when it is one."""
        if self._tree is None or not is_view(glob):
            return []
        return by_view(
            self.engine, self.cluster, self._tree, glob, _moment(self.window.start), _moment(self.window.end)
        )

    def _filled(self, node: Call) -> Node:
        """``template(f($host), host='c0')`` with its variables put in; those of the request win."""
        told = {str(place): value for place, value in enumerate(node.args[1:], 1)}
        values = {**told, **node.named, **self._template}
        for name, value in values.items():
            if isinstance(value, Path | Call):
                raise WrongUse(
                    "A template takes texts and numbers only.", where=f"template(… {name}=…)", try_next="quote it."
                )
        if not node.args:
            raise WrongUse("The template is empty.", where="template()", try_next="template(target, name='value').")
        return _replaced(node.args[0], {name: str(value) for name, value in values.items()})


def _replaced(node: Node, values: Mapping[str, str]) -> Node:
    if isinstance(node, Call):
        named = {name: _replaced(arg, values) for name, arg in node.named.items()}
        return Call(node.name, [_replaced(arg, values) for arg in node.args], named)
    if not isinstance(node, Path):
        return node
    whole = values.get(node.text[1:]) if node.text.startswith("$") else None
    if whole is not None and re.fullmatch(r"-?\d{1,300}(\.\d+)?", whole):
        return float(whole) if "." in whole else int(whole)
    if whole is not None and not re.fullmatch(r"[\w.*?{}\[\],;=-]+", whole):
        return whole
    text = node.text
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    return Path(text)


def evaluate(
    engine: Engine, cluster: str, target: str, start: datetime, end: datetime, *, now: datetime | None = None,
    template: Mapping[str, str] | None = None, zone: str = "UTC", rules: Rules = WITHOUT, tree: Tree | None = None,
) -> Lines:  # fmt: skip
    """The series of one target in the window (start, end]. Raises WrongUse and TooMuch."""
    window = Window(math.floor(start.timestamp()), math.floor(end.timestamp()))
    found = Reading(engine, cluster, window, now or end, template, zone, rules, tree).evaluate(target)
    return [line for lines in found for line in (lines if isinstance(lines, list) else [lines])]


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


def _fetch(
    engine: Engine, cluster: str, rows: Sequence[dict[str, Any]], name: Callable[[dict[str, Any]], str], path: str,
    window: Window, now: float, rules: Rules, room: int,
) -> Lines:  # fmt: skip
    """Points in slots: of the archive that whisper would choose, else as wide as each series' own interval; the last
    value of a slot wins, as in whisper."""
    if not rows:
        return []
    kept = {row["series"]: rules.of(str(row["path"])) for row in rows}
    steps = {row["series"]: step for row in rows if (step := rules.interval(str(row["path"])))}
    free = [series for series, rule in kept.items() if not rule.archives and series not in steps]
    steps |= _steps(engine, cluster, free, window) if free else {}
    plans: dict[_Plan, list[int]] = {}
    for series, rule in kept.items():
        if (plan := _plan(rule, steps.get(series, 0), window, now)) is not None:
            plans.setdefault(plan, []).append(series)
    of = {series: plan for plan, ids in plans.items() for series in ids}
    rows = [row for row in rows if row["series"] in of]
    if (asked := sum(of[row["series"]].count for row in rows)) > room:
        raise TooMuch(
            f"The target asks for {asked} points of {len(rows)} series, {_MOST_VALUES} may be read for one.",
            where=path, try_next="name fewer series or a shorter time.",
        )
    found: dict[int, Line] = {}
    for plan, ids in plans.items():
        values = _slots(engine, cluster, ids, plan, rules)
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
        params = {"ids": list(ids), "cluster": cluster, "since": _moment(plan.start), "until": _moment(until)}
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
    most = 2 * plan.count * len(ids) + 1000
    table = engine.table(
        "SELECT series, toUInt32(intDiv(toUnixTimestamp64Milli(time) - {first:Int64}, {step:Int64})) AS slot, value"
        " FROM qnib.points FINAL WHERE series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
        " AND time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}"
        f" ORDER BY series, time LIMIT {most}",
        {
            "ids": list(ids), "cluster": cluster, "since": _moment(plan.start), "first": int(plan.start * 1000),
            "until": _moment(plan.start + plan.count * plan.step), "step": int(plan.step * 1000),
        },
    )  # fmt: skip
    if table.num_rows == most:
        return None
    values = np.full((len(ids), plan.count), np.nan)
    if table.num_rows:
        series = numbers(table, "series")
        firsts = np.flatnonzero(np.concatenate([[True], series[1:] != series[:-1]]))
        keys = np.array(ids, np.uint64)
        order = np.argsort(keys)
        lines = order[np.searchsorted(keys[order], series[firsts])]
        line = np.repeat(lines, np.diff(np.append(firsts, len(series))))
        values[line, numbers(table, "slot")] = numbers(table, "value")  # of a slot the last remains
    return values


def _steps(engine: Engine, cluster: str, ids: Sequence[int], window: Window) -> dict[int, int]:
    """Whole seconds between neighbours of each series; a minute when nobody can tell.

    What is within a tenth of the most common one is taken for that: clocks and pauses are not exact.
    """
    gaps = "arrayFilter(gap -> gap > 0, arrayPopFront(arrayDifference(arraySort(groupArray(1000)(millis)))))"
    told = engine.rows(
        f"SELECT series, arrayReduce('quantileExact(0.5)', {gaps}) / 1000 AS seconds FROM ("
        " SELECT series, toUnixTimestamp64Milli(time) AS millis FROM qnib.points"
        " WHERE series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
        " AND time > {since:DateTime64(3, 'UTC')} AND time <= {until:DateTime64(3, 'UTC')}) GROUP BY series",
        {
            "ids": list(ids), "cluster": cluster, "since": _moment(min(window.start, window.end - _LOOK_BACK)),
            "until": _moment(window.end),
        },
    )  # fmt: skip
    known = {row["series"]: max(1, round(row["seconds"])) for row in told if row["seconds"] > 0}
    usual = Counter(known.values()).most_common(1)[0][0] if known else 60
    return {
        key: usual if abs(step - usual) <= usual / 10 else step for key in ids for step in [known.get(key, usual)]
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ── answers ───────────────────────────────────────────────────────────────────────────────────


def fewer(lines: Lines, most: int) -> Lines:
    """At most `most` points per series, in buckets at multiples of their length: a refresh does not jitter."""
    if not lines:
        return lines
    span = max(line.end for line in lines) - min(line.start for line in lines)
    alike: dict[tuple[float, float, int, str, float], list[int]] = {}
    for place, line in enumerate(lines):
        alike.setdefault((line.start, line.step, len(line.values), line.consolidate, line.xff), []).append(place)
    result = list(lines)
    for (start, step, count, how, xff), places in alike.items():
        if most == 1:
            size, lose, nudge = count or 1, 0, 0.0
        elif most >= span / step:
            continue
        else:
            size = math.ceil(span / step / most)
            nudge = size * step + start % step - start % (size * step)
            lose = max(0, int(nudge / step) - 1)
        values = consolidated(np.stack([lines[place].values[lose:] for place in places]), size, how, xff)
        for place, row in zip(places, values, strict=True):
            result[place] = altered(lines[place], start=start + nudge, step=size * step, values=row)
    return result


def as_json(lines: Lines, known: bool = False) -> str:
    """Strict JSON: what is unknown is null, infinity is 1e9999. `known`: without points of which nothing is known."""
    told = [line for line in lines if not known or not np.isnan(line.values).all()]
    parts = []
    for line, points in zip(told, datapoints(told, known), strict=True):
        head = json.dumps({"target": line.name, "tags": {tag: str(value) for tag, value in line.tags.items()}})
        parts.append(f'{head[:-1]}, "datapoints": {points}}}')
    return f"[{', '.join(parts)}]"


def as_rickshaw(lines: Lines) -> str:
    return _strict(
        [{"target": line.name, "datapoints": [{"x": at, "y": v} for v, at in _Points(line).pairs()]} for line in lines]
    )


def as_dygraph(lines: Lines) -> str:
    """A column per series, a row per moment of the first one."""
    labels = ["Time", *(line.name for line in lines)]
    rows: dict[float, list[float | None]] = {}
    for place, line in enumerate(lines, 1):
        for value, at in _Points(line).pairs():
            row = rows.setdefault(at or 0, [(at or 0) * 1000, *([None] * len(lines))])
            row[place] = value
    return _strict({"labels": labels, "data": [rows[at] for at in sorted(rows)]})


def _strict(told: Any) -> str:
    return json.dumps(told).replace("-Infinity", "-1e9999").replace("Infinity", "1e9999")


class _Points:
    def __init__(self, line: Line) -> None:
        self._line = line

    def pairs(self) -> list[list[float | None]]:
        times = (self._line.start + self._line.step * np.arange(len(self._line.values))).astype(np.int64).tolist()
        values = self._line.values.tolist()
        return [[None if math.isnan(value) else value, at] for value, at in zip(values, times, strict=True)]


def as_csv(lines: Lines, zone: str = "UTC") -> str:
    out = io.StringIO()
    clock = UTC if zone == "UTC" else ZoneInfo(zone)
    writer = csv.writer(out)
    for line in lines:
        for value, at in _Points(line).pairs():
            stamp = datetime.fromtimestamp(at or 0, clock).strftime("%Y-%m-%d %H:%M:%S")
            writer.writerow([line.name, stamp, "" if value is None else value])
    return out.getvalue()


def as_raw(lines: Lines) -> str:
    rows = []
    for line in lines:
        values = ",".join("None" if math.isnan(value) else repr(value) for value in line.values.tolist())
        rows.append(f"{line.name},{int(line.start)},{int(line.end)},{int(line.step)}|{values}\n")
    return "".join(rows)


FORMATS = {
    "json": "application/json", "csv": "text/csv", "raw": "text/plain", "dygraph": "application/json",
    "rickshaw": "application/json", "svg": "image/svg+xml",
}  # fmt: skip


def render(
    engine: Engine, cluster: str, targets: Sequence[str], start: datetime, end: datetime, most: int | None, form: str,
    *, now: datetime | None = None, template: Mapping[str, str] | None = None, zone: str = "UTC", known: bool = False,
    rules: Rules = WITHOUT, look: Look | None = None, tree: Tree | None = None,
) -> tuple[str, str]:  # fmt: skip
    """The answer's text and media type. `known`: without points of which nothing is known, in JSON. `tree`: who
    belonged to whom, for virtual paths."""
    if form not in FORMATS:
        raise WrongUse(f"There is no format {form!r}.", where="format", try_next=f"use {', '.join(FORMATS)}.")
    lines: Lines = []
    for target in targets:
        lines += evaluate(
            engine, cluster, target, start, end, now=now, template=template, zone=zone, rules=rules, tree=tree
        )
        if sum(len(line.values) for line in lines) > _MOST_VALUES:
            raise TooMuch(
                f"The targets have more than {_MOST_VALUES} points together.", where=target[:200],
                try_next="ask for fewer targets at once or a shorter time.",
            )
    return _written(lines, form, most, zone, known, look or Look(zone=zone)), FORMATS[form]


def _written(lines: Lines, form: str, most: int | None, zone: str, known: bool, look: Look) -> str:
    match form:
        case "json":
            return as_json(fewer(lines, most) if most else lines, known)
        case "csv":
            return as_csv(lines, zone)
        case "raw":
            return as_raw(lines)
        case "dygraph":
            return as_dygraph(lines)
        case "rickshaw":
            return as_rickshaw(lines)
        case _:  # a point or two for each pixel is all that can be seen
            return as_svg(fewer(lines, min(most or look.width, 2 * look.width)), look)
