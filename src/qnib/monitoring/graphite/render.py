"""Evaluates targets over the engine and writes the answer as Graphite's json, csv or raw."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from qnib.engine import Engine
from qnib.errors import TooMuch, WrongUse
from qnib.monitoring.graphite.find import by_glob, by_tags, tagged_path
from qnib.monitoring.graphite.functions import Line, Lines, Window, call, consolidated
from qnib.monitoring.graphite.targets import Call, Node, Path, parse
from qnib.monitoring.series import interval

_LOOK_BACK = 600  # seconds in which a series' own interval is looked for when the window is shorter
_MOST_SLOTS = 20_000  # per series; a longer window is read in coarser slots
_MOST_VALUES = 50_000_000  # over all series of one target


def evaluate(engine: Engine, cluster: str, target: str, start: datetime, end: datetime) -> Lines:
    """The series of one target in the window (start, end]. Raises WrongUse and TooMuch."""
    return _evaluate(engine, cluster, parse(target), Window(math.floor(start.timestamp()), math.floor(end.timestamp())))


def _evaluate(engine: Engine, cluster: str, node: Path | Call, window: Window) -> Lines:
    if isinstance(node, Path):
        rows = by_glob(engine, cluster, node.text)
        return _fetch(engine, cluster, rows, [row["path"] for row in rows], node.text, window)
    if node.name == "seriesByTag":
        expressions = [str(arg) for arg in node.args]
        rows = by_tags(engine, cluster, expressions)
        named = ",".join(f"'{expression}'" for expression in expressions)
        return _fetch(engine, cluster, rows, [tagged_path(row) for row in rows], f"seriesByTag({named})", window)

    def value(argument: Node) -> Any:
        return _evaluate(engine, cluster, argument, window) if isinstance(argument, Path | Call) else argument

    named_arguments = {name: value(argument) for name, argument in node.named.items()}
    return call(node.name, [value(argument) for argument in node.args], named_arguments, window)


def _fetch(
    engine: Engine, cluster: str, rows: Sequence[dict[str, Any]], names: Sequence[str], path: str, window: Window
) -> Lines:
    """Points in slots as wide as the series' own interval; the last value of a slot wins, as in whisper."""
    if not rows or window.end <= window.start:
        return []
    ids = [row["series"] for row in rows]
    where = (
        "series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
        " AND time > {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}"
    )
    params: dict[str, Any] = {
        "ids": ids,
        "cluster": cluster,
        "since": _moment(window.start),
        "until": _moment(window.end),
    }
    own = _step(engine, cluster, ids, window)
    step = own * max(1, math.ceil((window.end - window.start) / own / _MOST_SLOTS))
    start = window.start - window.start % step + step
    count = max(1, math.floor((window.end - start) / step) + 1)
    if count * len(ids) > _MOST_VALUES:
        raise TooMuch(
            "The target asks for too many points.", where=path, try_next="ask for fewer series or a shorter time."
        )
    how = "argMax(value, time)" if step == own else "avg(value)"
    table = engine.table(
        f"SELECT series, toUInt32(intDiv(toUnixTimestamp64Milli(time) - {{first:Int64}}, {{step:Int64}})) AS slot,"
        f" {how} AS value FROM qnib.points WHERE {where} AND toUnixTimestamp64Milli(time) >= {{first:Int64}}"
        " GROUP BY series, slot",
        {**params, "first": int(start * 1000), "step": int(step * 1000), "until": _moment(start + count * step)},
    )
    values = np.full((len(ids), count), np.nan)
    if table.num_rows:
        keys = np.array(ids, np.uint64)
        order = np.argsort(keys)
        line = order[np.searchsorted(keys[order], table.column("series").to_numpy())]
        values[line, table.column("slot").to_numpy()] = table.column("value").to_numpy()
    return [
        Line(name, start, step, values[n], {"name": name.partition(";")[0], **row["tags"]}, path)
        for n, (row, name) in enumerate(zip(rows, names, strict=True))
    ]


def _step(engine: Engine, cluster: str, ids: Sequence[int], window: Window) -> int:
    """Whole seconds between neighbours, as most of the series have them; a minute when nobody can tell."""
    source = (
        "SELECT series AS key, time FROM qnib.points WHERE series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
        " AND time > {since:DateTime64(3, 'UTC')} AND time <= {until:DateTime64(3, 'UTC')}"
    )
    since = min(window.start, window.end - _LOOK_BACK)
    seconds, _ = interval(
        engine,
        source,
        {"ids": list(ids), "cluster": cluster, "since": _moment(since), "until": _moment(window.end)},
    )
    return max(1, round(seconds)) if seconds else 60


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ── answers ───────────────────────────────────────────────────────────────────────────────────


def fewer(lines: Lines, most: int) -> Lines:
    """At most `most` points per series, in buckets at multiples of their length: a refresh does not jitter."""
    if not lines:
        return lines
    span = max(line.end for line in lines) - min(line.start for line in lines)
    result = []
    for line in lines:
        if most == 1:
            result.append(_with(line, line.start, max(1, len(line.values)) * line.step, len(line.values) or 1))
            continue
        points = span / line.step
        if most >= points:
            result.append(line)
            continue
        size = math.ceil(points / most)
        width = size * line.step
        nudge = width + line.start % line.step - line.start % width
        lose = max(0, int(nudge / line.step) - 1)
        shorter = Line(line.name, line.start, line.step, line.values[lose:], line.tags, line.path, line.consolidate)
        result.append(_with(shorter, line.start + nudge, width, size))
    return result


def _with(line: Line, start: float, step: float, size: int) -> Line:
    values = consolidated(line.values, size, line.consolidate)
    return Line(line.name, start, step, values, line.tags, line.path, line.consolidate)


def as_json(lines: Lines) -> str:
    """Strict JSON: what is unknown is null, infinity is 1e9999."""
    return json.dumps(
        [
            {"target": line.name, "tags": line.tags, "datapoints": _Points(line).pairs()} for line in lines
        ]
    ).replace("-Infinity", "-1e9999").replace("Infinity", "1e9999")  # fmt: skip


class _Points:
    def __init__(self, line: Line) -> None:
        self._line = line

    def pairs(self) -> list[list[float | None]]:
        times = (self._line.start + self._line.step * np.arange(len(self._line.values))).astype(np.int64).tolist()
        values = self._line.values.tolist()
        return [[None if math.isnan(value) else value, at] for value, at in zip(values, times, strict=True)]


def as_csv(lines: Lines) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    for line in lines:
        for value, at in _Points(line).pairs():
            stamp = datetime.fromtimestamp(at or 0, UTC).strftime("%Y-%m-%d %H:%M:%S")
            writer.writerow([line.name, stamp, "" if value is None else value])
    return out.getvalue()


def as_raw(lines: Lines) -> str:
    rows = []
    for line in lines:
        values = ",".join("None" if math.isnan(value) else repr(value) for value in line.values.tolist())
        rows.append(f"{line.name},{int(line.start)},{int(line.end)},{int(line.step)}|{values}\n")
    return "".join(rows)


FORMATS = {"json": (as_json, "application/json"), "csv": (as_csv, "text/csv"), "raw": (as_raw, "text/plain")}


def render(
    engine: Engine, cluster: str, targets: Sequence[str], start: datetime, end: datetime, most: int | None, form: str
) -> tuple[str, str]:
    """The answer's text and media type."""
    if form not in FORMATS:
        raise WrongUse(f"There is no format {form!r}.", where="format", try_next=f"use {', '.join(FORMATS)}.")
    lines = [line for target in targets for line in evaluate(engine, cluster, target, start, end)]
    write, media = FORMATS[form]
    return write(fewer(lines, most) if most and form == "json" else lines), media
