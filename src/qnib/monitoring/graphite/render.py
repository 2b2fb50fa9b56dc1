"""Evaluates targets over the engine and writes the answer as Graphite's json, csv or raw."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as altered
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from qnib.engine import Engine
from qnib.errors import TooMuch, WrongUse
from qnib.monitoring import events as event_store
from qnib.monitoring.graphite import within
from qnib.monitoring.graphite.fetch import at_second, fetch
from qnib.monitoring.graphite.find import by_glob, by_tags, tagged_path
from qnib.monitoring.graphite.functions import Line, Lines, Window, call, consolidated
from qnib.monitoring.graphite.picture import Look, as_svg
from qnib.monitoring.graphite.targets import Call, Node, Path, parse
from qnib.monitoring.graphite.times import moment
from qnib.monitoring.graphite.views import Tree, by_view, is_view
from qnib.monitoring.graphite.written import datapoints
from qnib.monitoring.storage.rules import WITHOUT, Rules

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
        start, end = at_second(self.window.start), at_second(self.window.end)
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
            read = fetch(self.engine, self.cluster, rows, name, path, known, now, self._rules, self._room)
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
            self.engine, self.cluster, self._tree, glob, at_second(self.window.start), at_second(self.window.end)
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
