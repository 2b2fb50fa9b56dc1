"""Chosen series listed, counted and drawn, and what there is to choose from; never more than a few of it at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from qnib.context.charts import in_octets
from qnib.context.choice import ANY, BY, EVERY, JOB, Choice, Host, chosen, hosts_of, loosely, target
from qnib.context.known import Sources, fold, iso
from qnib.context.membership import Membership
from qnib.domains.paths import natural
from qnib.errors import TooMuch, WrongUse
from qnib.inventory import whereabouts
from qnib.model import Metric
from qnib.monitoring import series
from qnib.monitoring.graphite import within
from qnib.monitoring.graphite.views import whole

MOST_NAMES = 200
"""Names of metrics told at once."""
MOST_DRAWN = 2000
"""Series one chart may be made of …"""
_LINES = 40
"""… and lines it has: of more, those that are least like the others; all are in its band."""


def groups(
    sources: Sources, cluster: str, by: str, text: str, start: datetime, end: datetime, limit: int
) -> dict[str, Any]:
    """What there is to choose from: hosts, partitions, racks, jobs (the newest first) or names of metrics that have
    `text` in them; `{"groups": [{"name", "about"}], "total"}`. Raises WrongUse for another `by`."""
    tree = Membership(sources, cluster)
    if by == "name":
        told = listed(sources, cluster, Choice(text=text), start, end, 0)
        return {"groups": [{"name": one["name"], "about": _about(one)} for one in told["names"]][:limit],
                "total": told["names_total"]}  # fmt: skip
    if by == "host":
        names = [member.host for member in tree.members("by_host", "", ANY, start, end)]
    elif by in BY:
        names = tree.groups(BY[by], ANY, start, end)
    else:
        raise WrongUse(f"Nothing is grouped by {by!r}.", where="by", try_next="use host, partition, rack, job or name.")
    wanted = [name for name in names if text.lower() in name.lower()]
    if by == "job":
        wanted.reverse()
    shown = wanted[:limit]
    about = _jobs(sources, cluster, shown, end) if by == "job" else {}
    if by in ("partition", "rack"):
        own: dict[str, list[str]] = {}
        for member in tree.members(BY[by], ANY, ANY, start, end):
            own.setdefault(member.group, []).append(member.host)
        about = {name: fold(own[name]) for name in shown}
    return {"groups": [{"name": name, "about": about.get(name, "")} for name in shown], "total": len(wanted)}


def listed(
    sources: Sources, cluster: str, choice: Choice, start: datetime, end: datetime, limit: int
) -> dict[str, Any]:
    """Series heard in the window that the choice means: the first `limit` with unit, kind, tags, newest value; how many
    there are in all, and their metrics' names with units, each with how many series it has."""
    hosts = hosts_of(sources, cluster, choice, start, end)
    where, params = chosen(cluster, choice, hosts, start, end)
    counted = sources.engine.rows(
        "SELECT name, anyLast(unit) AS unit, anyLast(mtype) AS mtype, count() AS series, max(last_seen) AS last_seen,"
        f" count() OVER () AS names, sum(count()) OVER () AS total FROM ({where}) GROUP BY name ORDER BY name"
        f" LIMIT {MOST_NAMES}",
        params,
    )
    rows = sources.engine.rows(
        "SELECT series, path, name, tags, unit, mtype, host, last_seen, first_seen, metric"
        f" FROM ({where}) ORDER BY name, length(path), path LIMIT {{limit:UInt32}}",
        {**params, "limit": limit},
    ) if limit else []  # fmt: skip
    values = _newest(sources, rows) | _newest_meant(sources, cluster, rows, hosts or {}, start, end)
    names = [_named(row) for row in counted]
    found = [
        {
            "path": row["path"], "name": row["name"], "unit": row["unit"], "mtype": row["mtype"], "tags": row["tags"],
            "host": row["host"], "source": _source(row["name"]), "first_seen": iso(row["first_seen"]),
            "last_seen": iso(at), "value": value,
        }
        for row in rows
        for at, value in [values.get(row["series"], (row["last_seen"], None))]
    ]  # fmt: skip
    chosen_hosts = {host.name for host in (hosts or {}).values()}
    total, names_total = (counted[0]["total"], counted[0]["names"]) if counted else (0, 0)
    own = _samples(sources, cluster, choice, hosts, start, end) if choice.job else []
    for row in own:
        if row["name"] not in {one["name"] for one in names}:
            names.append(_named({**row, "series": sum(one["name"] == row["name"] for one in own)}))
            names_total += 1
    return {
        "series": [*found, *own[: max(0, limit - len(found))]], "total": total + len(own),
        "names": sorted(names, key=lambda one: natural(one["name"])), "names_total": names_total,
        "hosts": len(chosen_hosts) if hosts is not None else None, "nodes": fold(chosen_hosts),
        "target": target(sources, where, params, choice, names),
    }  # fmt: skip


def drawn(
    sources: Sources, cluster: str, choice: Choice, start: datetime, end: datetime, points: int
) -> dict[str, Any]:
    """The UI's `SeriesAnswer` of the chosen series of one metric, each only for the time in which it is meant; `total`:
    how many there are, where not all are lines. Raises TooMuch."""
    if choice.job and choice.name.startswith(JOB):
        return _drawn_samples(sources, cluster, choice, start, end, points)
    hosts = hosts_of(sources, cluster, choice, start, end)
    where, params = chosen(cluster, choice, hosts, start, end)
    rows = sources.engine.rows(
        f"SELECT series, path, name, tags, unit, mtype, host, last_seen FROM ({where}) ORDER BY length(path), path"
        f" LIMIT {MOST_DRAWN + 1}",
        params,
    )
    if len(rows) > MOST_DRAWN:
        raise TooMuch(
            f"More than {MOST_DRAWN} series are chosen for one chart.", where=choice.name,
            try_next="choose a rack, a partition or hosts.",
        )
    told = series.declared_metrics().get(choice.name)
    counter = (told.mtype if told else rows[0]["mtype"] if rows else "gauge") == "counter"
    fewer = max(60, min(points, series.MOST_BUCKETS // max(1, len(rows))))
    grid = series.read(sources.engine, cluster, [row["series"] for row in rows], start, end, fewer, counter=counter)
    for place, row in enumerate(rows):
        spans = (hosts or {}).get(row["host"], EVERY).spans
        if within.bounded(spans, start.timestamp(), end.timestamp()):
            for values in (grid.mean, grid.low, grid.high):
                values[place] = within.cut(values[place], grid.t[0], grid.step, spans)
    unit = told.unit if told else " / ".join(sorted({row["unit"] for row in rows if row["unit"]}))
    newest = series.last_heard(sources.engine, cluster, rows)
    answer = series.answer_of(
        choice.name, told, f"{unit}/s" if counter else unit, start, end, grid, newest,
        series.labels(choice.name, [row["tags"] for row in rows]),
    )  # fmt: skip
    return in_octets(_fewer({**answer, "over": _over(hosts, end)}, grid))


# ── inside ────────────────────────────────────────────────────────────────────────────────────

def _newest(sources: Sources, rows: Sequence[Mapping[str, Any]]) -> dict[int, tuple[datetime | None, float | None]]:
    """By series when it was last heard, and what it said."""
    if not rows:
        return {}
    told = sources.engine.rows(
        "SELECT series, max(time) AS at, argMax(value, time) AS value FROM qnib.points"
        " WHERE series IN {ids:Array(UInt64)} AND time >= {noted:DateTime64(3, 'UTC')} GROUP BY series",
        {"ids": [row["series"] for row in rows], "noted": min(row["last_seen"] for row in rows)},
    )
    return {row["series"]: (row["at"], row["value"]) for row in told}


def _newest_meant(
    sources: Sources, cluster: str, rows: Sequence[Mapping[str, Any]], hosts: Mapping[str, Host], start: datetime,
    end: datetime,
) -> dict[int, tuple[datetime | None, float | None]]:  # fmt: skip
    """The same of those that are meant only until some time before the window ends: the newest of that time."""
    told = [
        (int(row["series"]), spans) for row in rows
        if (spans := hosts.get(row["host"], EVERY).spans) and max(until for _, until in spans) < end.timestamp()
    ]  # fmt: skip
    if not told:
        return {}
    first = math.floor(max(start.timestamp(), min(since for _, spans in told for since, _ in spans)))
    long = math.ceil(end.timestamp()) - first
    at, value = (
        within.exactly(sources.engine, cluster, told, first, long, 1, how)
        for how in ("toUnixTimestamp64Milli(max(time)) / 1000", "argMax(value, time)")
    )
    return {
        series: (None, None) if np.isnan(t[0]) else (datetime.fromtimestamp(float(t[0]), UTC), float(v[0]))
        for (series, _), t, v in zip(told, at, value, strict=True)
    }


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    metric = series.declared_metrics().get(row["name"])
    return {
        "name": row["name"], "unit": metric.unit if metric else row["unit"], "mtype": row["mtype"],
        "series": row["series"], "description": metric.description if metric else "", "source": _source(row["name"]),
        "last_seen": row["last_seen"] if isinstance(row["last_seen"], str) else iso(row["last_seen"]),
    }  # fmt: skip


def _source(name: str) -> str:
    metric = series.declared_metrics().get(name)
    return metric.source if metric else ""


def _about(one: Mapping[str, Any]) -> str:
    return f"{one['unit'] or 'no unit'}, {one['series']} series"


def _jobs(sources: Sources, cluster: str, numbers: Sequence[str], end: datetime) -> dict[str, str]:
    """Who ran a job where, in a few words; of a number that came twice the last."""
    same = whereabouts.jobs_numbered(sources.engine, cluster, numbers)
    keys = {number: own[-1][1] for number, own in same.items()}
    facts = whereabouts.job_facts(sources.engine, cluster, keys.values())
    told = {number: facts.get(key, {}) for number, key in keys.items()}
    return {
        number: " ".join(str(one[part]) for part in ("name", "user", "nodes") if one.get(part))
        for number, one in told.items()
    }


def _fewer(answer: dict[str, Any], grid: series.Grid) -> dict[str, Any]:
    """Of many series the lines that are least like the others; the band tells of all."""
    if len(answer["series"]) <= _LINES:
        return answer
    with np.errstate(all="ignore"):
        heard = ~np.all(np.isnan(grid.mean), axis=0)
        middle = np.nanmedian(grid.mean[:, heard], axis=0)
        far = np.nan_to_num(np.nanmean(np.abs(grid.mean[:, heard] - middle), axis=1), nan=-1.0)
    kept = sorted(np.argsort(-far, kind="stable")[:_LINES].tolist())
    return {**answer, "series": [answer["series"][place] for place in kept], "total": len(answer["series"])}


# ── samples of jobs ───────────────────────────────────────────────────────────────────────────


def _numbers(sources: Sources, cluster: str, choice: Choice, start: datetime, end: datetime) -> set[str]:
    """Of the jobs that are meant."""
    jobs = Membership(sources, cluster).groups("by_job", whole(choice.job), start, end)
    return {job.partition("@")[0] for job in jobs}


def _samples(
    sources: Sources, cluster: str, choice: Choice, hosts: Mapping[str, Host] | None, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """What the chosen jobs' own cgroups used, a row for each job, host and metric."""
    numbers = _numbers(sources, cluster, choice, start, end)
    pattern = f"^{loosely(choice.name)}$" if choice.name else ""
    rows = sources.engine.rows(
        "SELECT toString(job) AS number, host, metric, min(time) AS first_seen, max(time) AS last_seen,"
        " argMax(value, time) AS newest FROM (SELECT job, host, metric, time, sum(value) AS value FROM qnib.job_samples"
        " WHERE cluster = {cluster:String} AND job IN {jobs:Array(UInt64)} AND host IN {hosts:Array(String)}"
        " AND time >= {start:DateTime64(3, 'UTC')} AND time <= {end:DateTime64(3, 'UTC')}"
        f" AND match(concat('{JOB}', metric), {{name:String}})"
        " AND positionCaseInsensitiveUTF8(concat('job.', metric), {text:String})"
        " GROUP BY job, host, metric, time) GROUP BY number, host, metric ORDER BY number, host, metric LIMIT 5000",
        {"cluster": cluster, "jobs": sorted(int(one) for one in numbers if one.isdigit()), "hosts": sorted(hosts or ()),
         "start": start, "end": end, "name": pattern, "text": choice.text},
    ) if numbers else []  # fmt: skip
    declared: Mapping[str, Metric] = series.declared_metrics()
    return [
        {
            "path": f"by_job.{row['number']}.{row['host']}.{JOB}{row['metric']}", "name": name,
            "unit": declared[name].unit if name in declared else "", "mtype": "gauge",
            "tags": {"host": row["host"], "job": row["number"]}, "host": row["host"], "source": _source(name),
            "first_seen": iso(row["first_seen"]), "last_seen": iso(row["last_seen"]), "value": row["newest"],
        }
        for row in rows
        for name in [f"{JOB}{row['metric']}"]
    ]  # fmt: skip


def _drawn_samples(
    sources: Sources, cluster: str, choice: Choice, start: datetime, end: datetime, points: int
) -> dict[str, Any]:
    numbers = _numbers(sources, cluster, choice, start, end)
    if len(numbers) != 1:
        raise WrongUse(
            f"{len(numbers)} jobs are meant, a chart of a job's own numbers is of one.", where=choice.job,
            try_next="name one job.",
        )
    hosts = hosts_of(sources, cluster, choice, start, end)
    answer = series.series_answer(
        sources.engine, sources.clock, cluster, choice.name, host=",".join(sorted(hosts or ())) or None,
        job=int(numbers.pop()), start=start, end=end, points=points,
    )  # fmt: skip
    return {**answer, "over": _over(hosts, end)}


def _over(hosts: Mapping[str, Host] | None, end: datetime) -> bool:
    """Whether what is meant ended before the window does."""
    spans = [span for host in (hosts or {}).values() for span in host.spans or ((0.0, float("inf")),)]
    return bool(spans) and all(until < end.timestamp() for _, until in spans)
