"""Series only for the time in which they are meant: what a job's host did while it was the job's, and samples of jobs.

Points are cut at the very moment. Of roll-ups, whose slots are longer, only those that lie wholly within are kept: the
others also hold what was not meant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from qnib.engine import Engine
from qnib.monitoring.graphite.functions import Line, Lines, Window
from qnib.monitoring.graphite.functions.line import Values

Spans = Sequence[tuple[float, float]]
_MOST_SLOTS = 20_000  # as of any other series
_GAPS = "arrayFilter(gap -> gap > 0, arrayPopFront(arrayDifference(arraySort(groupArray(1000)(millis)))))"


def bounded(spans: Spans, start: float, end: float) -> bool:
    """Whether a part of [start, end) is not meant."""
    return bool(spans) and not any(since <= start and until >= end for since, until in spans)


def cut(values: Values, start: float, step: float, spans: Spans) -> Values:
    """Slots that lie wholly within one of the spans; the others are unknown."""
    first = start + step * np.arange(len(values))
    kept = np.zeros(len(values), bool)
    for since, until in spans:
        kept |= (first >= since) & (first + step <= until)
    return np.where(kept, values, np.nan)


def exactly(
    engine: Engine, cluster: str, told: Sequence[tuple[int, Spans]], start: float, step: float, count: int, how: str
) -> list[Values]:
    """The points of series within spans, in slots; a row for each. `how`: SQL that makes one value of a slot's."""
    pieces = [(series, since, until, row) for row, (series, spans) in enumerate(told) for since, until in spans]
    joined = _pieces([(piece[0], *piece[1:]) for piece in pieces], "UInt64")
    table = engine.table(
        f"SELECT m.row AS row, {_SLOT} AS slot, {how} AS value FROM"
        " (SELECT series AS key, time, value FROM qnib.points FINAL WHERE series IN {ids:Array(UInt64)}"
        f"  AND cluster = {{cluster:String}} AND {_WINDOW}) AS p {joined[0]} GROUP BY row, slot",
        {**joined[1], **_between(start, step, count), "ids": sorted({one for one, _ in told}), "cluster": cluster},
    )
    return _rows(table, len(told), count)


def samples(engine: Engine, cluster: str, rows: Sequence[Mapping[str, Any]], path: str, window: Window) -> Lines:
    """Samples of jobs, summed over a job's steps and tasks on a host: rows with `job`, `host`, `own`, `spans`,
    `virtual` and `tags` become lines."""
    if not rows:
        return []
    keys = [f"{row['job']} {row['host']} {row['own']}" for row in rows]
    source = (
        "(SELECT concat(toString(job), ' ', host, ' ', metric) AS key, step, task, time, value FROM qnib.job_samples"
        " FINAL WHERE cluster = {cluster:String} AND job IN {jobs:Array(UInt64)} AND host IN {hosts:Array(String)}"
        f" AND metric IN {{metrics:Array(String)}} AND {_WINDOW} AND key IN {{ids:Array(String)}})"
    )
    params: dict[str, Any] = {
        "cluster": cluster, "ids": sorted(set(keys)), "jobs": sorted({int(row["job"]) for row in rows}),
        "hosts": sorted({row["host"] for row in rows}), "metrics": sorted({row["own"] for row in rows}),
    }  # fmt: skip
    own = _step(engine, source, {**params, **_between(window.start, window.end - window.start, 1)})
    step = own * max(1, math.ceil((window.end - window.start) / own / _MOST_SLOTS))
    start = window.start - window.start % step + step
    count = max(1, math.floor((window.end - start) / step) + 1)
    pieces = [(key, *span, at) for at, (key, row) in enumerate(zip(keys, rows, strict=True)) for span in row["spans"]]
    joined, more = _pieces(pieces, "String")
    how = "argMax(value, time)" if step == own else "avg(value)"
    table = engine.table(
        f"SELECT row, slot, sum(number) AS value FROM (SELECT m.row AS row, {_SLOT} AS slot, step, task,"
        f" {how} AS number FROM {source} AS p {joined} GROUP BY row, slot, step, task) GROUP BY row, slot",
        {**params, **more, **_between(start, step, count)},
    )
    return [
        Line(row["virtual"], start, step, values, path=path, tags={"name": row["virtual"], **row["tags"]})
        for row, values in zip(rows, _rows(table, len(rows), count), strict=True)
    ]


# ── inside ────────────────────────────────────────────────────────────────────────────────────

_WINDOW = "time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}"
_SLOT = "toUInt32(intDiv(toUnixTimestamp64Milli(time) - {first:Int64}, {width:Int64}))"


def _between(start: float, step: float, count: int) -> dict[str, Any]:
    return {
        "since": datetime.fromtimestamp(start, UTC), "until": datetime.fromtimestamp(start + step * count, UTC),
        "first": int(start * 1000), "width": int(step * 1000),
    }  # fmt: skip


def _pieces(pieces: Sequence[tuple[Any, float, float, int]], kind: str) -> tuple[str, dict[str, Any]]:
    """A join with what is meant: by key from when until when, and of which row."""
    columns = list(zip(*pieces, strict=True)) or [(), (), (), ()]
    sql = (
        f"INNER JOIN (SELECT r.1 AS key, r.2 AS begins, r.3 AS ends, r.4 AS row FROM (SELECT arrayJoin(arrayZip("
        f"{{keys:Array({kind})}}, {{begins:Array(Int64)}}, {{ends:Array(Int64)}}, {{rows:Array(UInt32)}})) AS r)) AS m"
        " ON p.key = m.key WHERE toUnixTimestamp64Milli(time) >= m.begins AND toUnixTimestamp64Milli(time) < m.ends"
    )
    begins, ends = ([round(at * 1000) for at in columns[place]] for place in (1, 2))
    return sql, {"keys": list(columns[0]), "begins": begins, "ends": ends, "rows": list(columns[3])}


def _rows(table: Any, count: int, slots: int) -> list[Values]:
    values = np.full((count, slots), np.nan)
    if table.num_rows:
        values[table.column("row").to_numpy(), table.column("slot").to_numpy()] = table.column("value").to_numpy()
    return list(values)


def _step(engine: Engine, source: str, params: Mapping[str, Any]) -> int:
    """Whole seconds between samples, as most of them have it; a minute when nobody can tell."""
    rows = engine.rows(
        f"SELECT arrayReduce('quantileExact(0.5)', {_GAPS}) / 1000 AS seconds FROM"
        f" (SELECT key, step, task, toUnixTimestamp64Milli(time) AS millis FROM {source}) GROUP BY key, step, task",
        params,
    )
    known = Counter(max(1, round(row["seconds"])) for row in rows if row["seconds"] and row["seconds"] > 0)
    return known.most_common(1)[0][0] if known else 60
