"""Finds series and reads their numbers, reduced in the engine to the buckets that will be shown.

A counter is read as a rate per second: differences between neighbours, where a lower value than before is a reset
(it then counted that much since). Samples of jobs are read alike, summed over a job's tasks on each host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qnib.clock import Clock
from qnib.domains import all_domains
from qnib.domains.paths import segment
from qnib.engine import Engine
from qnib.engine.values import numbers
from qnib.errors import TooMuch
from qnib.model import Metric
from qnib.monitoring.naming import JOB_PREFIX
from qnib.monitoring.storage.levels import LADDER, Level
from qnib.monitoring.storage.read import figures
from qnib.monitoring.storage.rules import Rule
from qnib.nodes import unfold

MOST_SERIES = 2000
MOST_BUCKETS = 2_000_000
"""Of all series together, that one chart may have."""
_LINES = 8  # more series than this are also summed up as a band
_EXACT = 500_000
"""Points up to which a slot that was written twice counts once; past it, until a merge has seen it, it counts twice."""
_JITTER = 1.5  # a bucket holds this many intervals of a source, so that none stays empty by chance


_LONG = 86_400  # seconds of a window from which on roll-ups are read: of less, the points themselves are few


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers in buckets: `t` their starts in epoch seconds, `mean`, `low`, `high` of shape (keys, t); NaN: empty."""

    keys: list[Any]
    t: NDArray[Any]
    step: float
    mean: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]


@cache
def declared_metrics() -> Mapping[str, Metric]:
    """Every declared metric by its name."""
    return {metric.name: metric for domain in all_domains() for metric in domain.metrics}


def find(
    engine: Engine, cluster: str, name: str, tags: Mapping[str, Sequence[str]] | None = None, limit: int = MOST_SERIES
) -> list[dict[str, Any]]:
    """Series of a metric whose tags have one of the values given, by path: ``series, path, name, tags, unit, mtype,
    last_seen``. Raises TooMuch when more than `limit` match."""
    where, params = ["cluster = {cluster:String}"], {"cluster": cluster, "name": name, "limit": limit + 1}
    having = ["name = {name:String}"]
    for number, (tag, values) in enumerate((tags or {}).items()):
        having.append(f"tags[{{tag{number}:String}}] IN {{values{number}:Array(String)}}")
        params |= {f"tag{number}": tag, f"values{number}": [segment(value) for value in values]}
    rows = engine.rows(
        "SELECT series, path, name, tags, unit, mtype, last_seen FROM qnib.series FINAL"
        f" WHERE {' AND '.join([*where, *having])} ORDER BY path LIMIT {{limit:UInt32}}",
        params,
    )
    if len(rows) > limit:
        raise TooMuch(f"More than {limit} series match.", where=name, try_next="name hosts, a job or a port.")
    return rows


def read(
    engine: Engine,
    cluster: str,
    ids: Sequence[int],
    start: datetime,
    end: datetime,
    points: int,
    *,
    counter: bool = False,
) -> Grid:
    """Points of series in at most `points` buckets, never finer than the series themselves. Keys are the ids.

    Buckets that are long enough are made of roll-ups, and so are those whose points are no longer kept.
    """
    if len(ids) * points > MOST_BUCKETS:
        raise TooMuch(
            f"{len(ids)} series of {points} points are asked for, more than {MOST_BUCKETS} together.", where="points",
            try_next="name hosts, a job or a port, or fewer points.",
        )
    window = (end - start).total_seconds()
    base = max((step for step in LADDER if step <= window / max(1, points) and window >= _LONG), default=0)

    def rolled(base: int) -> Grid:
        return _rolled(engine, cluster, ids, start, end, points, counter, base)

    if base and ids:
        return rolled(base)
    source = (
        "SELECT series AS key, time, value FROM qnib.points {final} WHERE series IN {ids:Array(UInt64)}"
        " AND cluster = {cluster:String} AND time >= {since:DateTime64(3, 'UTC')} AND time < {end:DateTime64(3, 'UTC')}"
    )
    params = {"cluster": cluster, "ids": list(ids)}
    return _reduce(engine, source, params, list(ids), start, end, points, counter, lambda: rolled(LADDER[0]))


def _rolled(
    engine: Engine, cluster: str, ids: Sequence[int], start: datetime, end: datetime, points: int, counter: bool,
    base: int,
) -> Grid:  # fmt: skip
    """The same from roll-ups of `base` seconds. A counter's rate is then between the last values of its slots."""
    step = math.ceil((end - start).total_seconds() / max(1, points) / base) * base
    first = math.floor(start.timestamp() / step) * step
    until = first + max(1, math.ceil((end.timestamp() - first) / step)) * step
    rows, params = figures(
        engine, cluster, ids, None, Rule(), Level(base, 0, True, 1), first - (2 * step if counter else 0), until
    )
    own, _ = interval(engine, f"SELECT series AS key, toDateTime64(t, 3, 'UTC') AS time FROM ({rows})", params)
    if own > base and own * _JITTER > step:
        step = math.ceil(own * _JITTER / base) * base
    count = max(1, math.ceil((until - first) / step))
    bucket = "toUInt32(intDiv(toInt64(t) - {first:Int64}, {step:Int64})) AS slot"
    if counter:
        told = f"SELECT series AS key, toDateTime64(t, 3, 'UTC') AS time, last AS value FROM ({rows})"
        sql = (
            f"SELECT key, {bucket}, avg(number) AS mean, min(number) AS low, max(number) AS high FROM"
            f" (SELECT key, number, toUnixTimestamp(time) AS t FROM ({_rates(told)})) WHERE t >= {{first:Int64}}"
            " GROUP BY key, slot"
        )
    else:
        sql = (
            f"SELECT series AS key, {bucket}, sum(f.sum) / sum(f.count) AS mean, min(f.min) AS low, max(f.max) AS high"
            f" FROM ({rows}) AS f GROUP BY key, slot"
        )
    table = engine.table(sql, {**params, "first": first, "step": step})
    return _grid(list(ids), table, "slot", first, step, count)


def read_job(
    engine: Engine, cluster: str, job: int, metric: str, start: datetime, end: datetime, points: int,
    hosts: Sequence[str] | None = None,
) -> Grid:  # fmt: skip
    """A job's samples per host, summed over its tasks. Keys are hosts; `metric` as in job_samples (``cpu``)."""
    window = "time >= {since:DateTime64(3, 'UTC')} AND time < {end:DateTime64(3, 'UTC')}"
    where = f"cluster = {{cluster:String}} AND job = {{job:UInt64}} AND metric = {{metric:String}} AND {window}"
    params: dict[str, Any] = {"cluster": cluster, "job": job, "metric": metric}
    if hosts:
        where += " AND host IN {hosts:Array(String)}"
        params["hosts"] = [segment(host) for host in hosts]
    source = (
        "SELECT host AS key, time, sum(value) AS value FROM qnib.job_samples {final}"
        f" WHERE {where} GROUP BY key, time"
    )
    known = engine.rows(
        f"SELECT DISTINCT host FROM qnib.job_samples WHERE {where} ORDER BY host LIMIT {MOST_SERIES}",
        {**params, "since": start, "end": end},
    )
    return _reduce(engine, source, params, [row["host"] for row in known], start, end, points, False)


def _reduce(
    engine: Engine, source: str, params: Mapping[str, Any], keys: list[Any], start: datetime, end: datetime,
    points: int, counter: bool, otherwise: Callable[[], Grid] | None = None,
) -> Grid:  # fmt: skip
    """`otherwise`: what is read in the place of a window without points."""
    window = (end - start).total_seconds()
    step = window / max(1, points)
    if keys:
        own, rows = interval(engine, source.replace("{final}", ""), {**params, "since": start, "end": end})
        if not rows and otherwise is not None:
            return otherwise()
        step = max(step, math.ceil(own * _JITTER * 10) / 10)
        source = source.replace("{final}", "FINAL" if rows <= _EXACT else "")
    step = max(0.001, round(step, 3))
    # Buckets at multiples of the step: a chart that moves on by a second keeps its buckets
    first = math.floor(start.timestamp() / step) * step
    count = max(1, math.ceil((end.timestamp() - first) / step - 1e-9))
    origin = datetime.fromtimestamp(first, UTC)
    since = origin - timedelta(seconds=max(60.0, 2 * step)) if counter else origin
    bucket = "intDiv(toUnixTimestamp64Milli(time) - {first:Int64}, {step:Int64})"
    if not keys:
        return Grid([], first + step * np.arange(count), step, *(np.empty((0, count)) for _ in range(3)))
    table = engine.table(
        f"SELECT key, toUInt32({bucket}) AS bucket, avg(number) AS mean, min(number) AS low, max(number) AS high"
        f" FROM ({_rates(source) if counter else f'SELECT key, time, value AS number FROM ({source})'})"
        " WHERE toUnixTimestamp64Milli(time) >= {first:Int64} GROUP BY key, bucket",
        {**params, "since": since, "end": end, "first": round(first * 1000), "step": round(step * 1000)},
    )
    return _grid(keys, table, "bucket", first, step, count)


def _grid(keys: list[Any], table: pa.Table, bucket: str, first: float, step: float, count: int) -> Grid:
    shape = (len(keys), count)
    grids = [np.full(shape, np.nan) for _ in range(3)]
    if table.num_rows:
        place = {key: index for index, key in enumerate(keys)}
        line = np.fromiter((place[key] for key in table.column("key").to_pylist()), np.int64, table.num_rows)
        column = np.minimum(numbers(table, bucket), count - 1)
        for grid, name in zip(grids, ("mean", "low", "high"), strict=True):
            grid[line, column] = numbers(table, name)
    return Grid(keys, first + step * np.arange(count), step, *grids)


def _rates(source: str) -> str:
    return f"""
        SELECT key, time, (if(value >= before, value - before, value)) / (millis / 1000) AS number FROM (
            SELECT key, time, value, lagInFrame(value) OVER w AS before,
                toUnixTimestamp64Milli(time) - toUnixTimestamp64Milli(lagInFrame(time) OVER w) AS millis,
                row_number() OVER w AS row
            FROM ({source})
            WINDOW w AS (PARTITION BY key ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        ) WHERE row > 1 AND millis > 0
    """


def interval(engine: Engine, source: str, params: Mapping[str, Any]) -> tuple[float, int]:
    """Seconds between neighbours, as most of the sources send them (0: unknown), and the number of points.

    `source` is a SELECT of ``key, time``. The median is taken over the first thousand points of each.
    """
    gaps = "arrayFilter(gap -> gap > 0, arrayPopFront(arrayDifference(arraySort(groupArray(1000)(millis)))))"
    row = engine.rows(
        "SELECT quantileExactIf(0.5)(arrayReduce('quantileExact(0.5)', gaps), notEmpty(gaps)) / 1000 AS seconds,"
        f" sum(n) AS points, countIf(notEmpty(gaps)) AS known FROM (SELECT {gaps} AS gaps, count() AS n"
        f" FROM (SELECT key, toUnixTimestamp64Milli(time) AS millis FROM ({source})) GROUP BY key)",
        params,
    )[0]
    return (float(row["seconds"]) if row["known"] else 0.0), int(row["points"])


def series_answer(
    engine: Engine,
    clock: Clock,
    cluster: str,
    metric: str,
    *,
    host: str | None = None,
    job: int | None = None,
    port: str | None = None,
    start: datetime,
    end: datetime,
    points: int = 600,
) -> dict[str, Any]:
    """What ``/api/series`` answers (the UI's SeriesAnswer). `host` may be folded: ``compute[0-3]``; `port`: ``SW1/3``.

    A metric that nobody declared is read as gauges; one of jobs (``job.cpu``) needs `job`.
    """
    told = declared_metrics().get(metric)
    hosts = unfold(host) if host else None
    if told and told.path.startswith(JOB_PREFIX):
        return _job_answer(engine, cluster, told, hosts, job, start, end, points)
    tags: dict[str, Sequence[str]] = {}
    if hosts:
        tags["host" if told is None or "{host}" in told.path else "node"] = hosts
    if port:
        node, _, number = port.rpartition("/")
        tags |= {"node": [node], "port": [number]}
    found = find(engine, cluster, metric, tags)
    counter = (told.mtype if told else found[0]["mtype"] if found else "gauge") == "counter"
    grid = read(engine, cluster, [row["series"] for row in found], start, end, points, counter=counter)
    named = labels(metric, [row["tags"] for row in found])
    newest = last_heard(engine, cluster, found)
    unit = told.unit if told else found[0]["unit"] if found else ""
    return answer_of(metric, told, f"{unit}/s" if counter else unit, start, end, grid, newest, named)


def last_heard(engine: Engine, cluster: str, found: Sequence[Mapping[str, Any]]) -> datetime | None:
    """When one of these series was last heard: `last_seen` may be some minutes behind."""
    if not found:
        return None
    noted: datetime = max(row["last_seen"] for row in found)
    heard = engine.rows(
        "SELECT maxOrNull(time) AS newest FROM qnib.points WHERE cluster = {cluster:String}"
        " AND series IN {ids:Array(UInt64)} AND time >= {noted:DateTime64(3, 'UTC')}",
        {"cluster": cluster, "ids": [row["series"] for row in found], "noted": noted},
    )[0]["newest"]
    return max(noted, heard) if heard else noted


def _job_answer(
    engine: Engine, cluster: str, metric: Metric, hosts: Sequence[str] | None, job: int | None, start: datetime,
    end: datetime, points: int,
) -> dict[str, Any]:  # fmt: skip
    short = metric.path.rpartition("}.")[2]
    grid = read_job(engine, cluster, job or 0, short, start, end, points, hosts)
    newest = engine.rows(
        "SELECT maxOrNull(time) AS newest FROM qnib.job_samples"
        " WHERE cluster = {cluster:String} AND job = {job:UInt64} AND metric = {metric:String}",
        {"cluster": cluster, "job": job or 0, "metric": short},
    )[0]["newest"]
    named = [(str(key), {"host": str(key), "job": str(job)}) for key in grid.keys]
    return answer_of(metric.name, metric, metric.unit, start, end, grid, newest, named)


def answer_of(
    name: str, metric: Metric | None, unit: str, start: datetime, end: datetime, grid: Grid, newest: datetime | None,
    named: Sequence[tuple[str, Mapping[str, str]]],
) -> dict[str, Any]:  # fmt: skip
    lines = [
        {"name": label, "tags": dict(tags), "mean": _list(mean), "min": _list(low), "max": _list(high)}
        for (label, tags), mean, low, high in zip(named, grid.mean, grid.low, grid.high, strict=True)
    ]
    return {
        "metric": name, "unit": unit, "source": metric.source if metric else "",
        "description": metric.description if metric else "", "from": _iso(start), "until": _iso(end), "step": grid.step,
        "newest": _iso(newest) if newest else None, "series": lines,
        "band": _band(grid.mean) if len(lines) > _LINES else None, "t": np.round(grid.t, 3).tolist(),
    }  # fmt: skip


def _band(mean: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """Over the series: what lies between them in each bucket; empty buckets stay empty."""
    heard = ~np.all(np.isnan(mean), axis=0)
    band: dict[str, Any] = {"min": np.nanmin, "median": np.nanmedian, "max": np.nanmax}
    answer: dict[str, list[float | None]] = {}
    for name, reduce in band.items():
        line = np.full(mean.shape[1], np.nan)
        line[heard] = reduce(mean[:, heard], axis=0)
        answer[name] = _list(line)
    return answer


def labels(metric: str, tags: Sequence[Mapping[str, str]]) -> list[tuple[str, Mapping[str, str]]]:
    """A label for each series: the tags in which they differ; a port as people write it, ``SW1/3``."""
    common = [tag for tag in (tags[0] if tags else {}) if len({t.get(tag) for t in tags}) == 1]
    told = []
    for each in tags:
        if "node" in each and "port" in each:
            told.append((f"{each['node']}/{each['port']}", each))
            continue
        differing = [value for tag, value in each.items() if tag not in common]
        told.append((" ".join(differing) or each.get("host", metric), each))
    return told


def _list(values: NDArray[np.float64]) -> list[float | None]:
    """JSON has no NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
