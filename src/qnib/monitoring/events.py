"""Reads events as the API shows them, and records QNIB's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from qnib.engine import Engine
from qnib.monitoring.rules import LANES
from qnib.monitoring.syslog import SEVERITIES

observers: list[Callable[[Sequence[Mapping[str, Any]]], None]] = []
"""Of this process: told of QNIB's own events once they are stored; the mirror is one."""

EVENT_COLUMNS = (
    "id, time, received, host, app, severity, kind, message, hint, entities,"
    " CAST(fields, 'Map(String, String)') AS fields, lane, tags"
)
_LIMIT = 200


def event_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `EVENT_COLUMNS` as the UI's EventRow: times as ISO 8601, the id as text."""
    return {
        **row, "id": str(row["id"]), "time": iso(row["time"]), "received": iso(row["received"]),
        "fields": dict(row["fields"]),
    }  # fmt: skip


def search(
    engine: Engine,
    cluster: str,
    start: datetime,
    end: datetime,
    *,
    hosts: Sequence[str] | None = None,
    job: str | int | None = None,
    entity: str | None = None,
    severity: str | None = None,
    kind: str | None = None,
    app: str | None = None,
    q: str | None = None,
    lane: str | None = None,
    around: Sequence[str] = (),
    known: bool = False,
    tags: Sequence[str] = (),
    pattern: int | None = None,
    rule: str = "",
    limit: int = _LIMIT,
    histogram: int = 0,
) -> dict[str, Any]:
    """Events of a window, newest first: ``{events, total, histogram?: {t, count}}``.

    `job`: a job's key or number. `severity`: this one and all that are worse. `kind` and `app`: exact, or a prefix
    that ends with ``*``, or several separated by commas. `q`: words that must all be in the message, in any case.
    `around`: refs; with `job` and `hosts` an event then matches when it is the job's, or names one of these, or comes
    from one of the hosts without being about some other job.
    `known`: only what a rule knows the meaning of. `tags`: each must be its kind, lane, host, app or one of its tags.
    `pattern`: lines no rule knows, of this template. `rule`: those this rule knows.
    `histogram`: into how many buckets to count; `t` is each bucket's start in epoch seconds.
    """
    where, params = _conditions(cluster, start, end, hosts, job, entity, severity, kind, app, q, around)
    if lane:
        where, params = f"{where} AND lane IN {{lanes:Array(String)}}", {**params, "lanes": lane.split(",")}
    if known:
        where += " AND kind != ''"
    if tags:
        where += " AND hasAll(arrayConcat([kind, lane, host, app], tags), {tags:Array(String)})"
        params["tags"] = list(tags)
    if pattern is not None:
        where, params = f"{where} AND pattern = {{pattern:UInt64}} AND empty(rules)", {**params, "pattern": pattern}
    if rule:
        where, params = f"{where} AND has(rules, {{rule:String}})", {**params, "rule": rule}
    rows = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM qnib.events WHERE {where} ORDER BY time DESC, id DESC LIMIT {{limit:UInt32}}",
        {**params, "limit": limit},
    )
    answer: dict[str, Any] = {"events": [event_row(row) for row in rows]}
    if histogram:
        answer["histogram"] = _histogram(engine, where, params, start, end, histogram)
        answer["total"] = sum(answer["histogram"]["count"])
    else:
        answer["total"] = engine.rows(f"SELECT count() AS n FROM qnib.events WHERE {where}", params)[0]["n"]
    return answer


def record(engine: Engine, cluster: str, rows: Sequence[Mapping[str, Any]], *, token: str | None = None) -> int:
    """Store QNIB's own events (a link that came up, a node that went down). Returns how many.

    A row has `time`, `kind` and `message`, and may have `received`, `host`, `app`, `severity`, `fields`, `entities`,
    `hint`, `lane`. The same row twice in one call is two events; the same `token` twice counts once.
    """
    stored = []
    for number, row in enumerate(rows):
        identity = f"{cluster}|{token}|{number}|{row['time'].isoformat()}|{row['kind']}|{row['message']}"
        stored.append(
            {
                "cluster": cluster,
                "id": int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "big"),
                "received": row["time"],
                "sender": "qnib",
                "listener": "qnib",
                "app": "qnib",
                "facility": "user",
                "severity": "notice",
                "lane": LANES.get(row["kind"].partition(".")[0], "other"),
                "rules": [],
                **row,
            }
        )
    count = engine.insert("qnib.events", stored, token=token)
    for tell in observers:
        tell(stored)
    return count


def _conditions(
    cluster: str, start: datetime, end: datetime, hosts: Sequence[str] | None, job: str | int | None,
    entity: str | None, severity: str | None, kind: str | None, app: str | None, q: str | None, around: Sequence[str],
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    where = ["cluster = {cluster:String}", "time >= {start:DateTime64(6, 'UTC')}", "time < {end:DateTime64(6, 'UTC')}"]
    params: dict[str, Any] = {"cluster": cluster, "start": start, "end": end}
    either = []
    if job is not None and job != "":
        either.append(_of_job(str(job), params))
    if hosts:
        params["hosts"] = list(hosts)
        others = " AND NOT arrayExists(ref -> startsWith(ref, 'Job:'), entities)" if around else ""
        either.append(f"(host IN {{hosts:Array(String)}}{others})")
    if around:
        params["around"] = list(around)
        either.append("hasAny(entities, {around:Array(String)})")
    if either:
        where.append(f"({' OR '.join(either)})" if around else " AND ".join(either))
    if entity:
        where.append("has(entities, {entity:String})")
        params["entity"] = entity
    if severity:
        worse = SEVERITIES[: SEVERITIES.index(severity) + 1] if severity in SEVERITIES else (severity,)
        where.append("severity IN {severities:Array(String)}")
        params["severities"] = list(worse)
    for name, value in (("kind", kind), ("app", app)):
        if value:
            where.append(_one_of(name, value, params))
    for number_, word in enumerate((q or "").split()):
        where.append(f"positionCaseInsensitiveUTF8(message, {{word{number_}:String}}) > 0")
        params[f"word{number_}"] = word
    return " AND ".join(where), params


def _of_job(key: str, params: dict[str, Any]) -> str:
    """A job's events bear its key or number as an entity, its number as a field, or come from its own script."""
    number, at, _ = key.partition("@")
    params |= {"job_app": f"slurm_{number}", "job_number": number, "job_refs": [f"Job:{key}", f"Job:{number}"]}
    either = [
        "app = {job_app:String}",
        "fields['job'] = {job_number:String}",
        "hasAny(entities, {job_refs:Array(String)})",
    ]
    if not at:
        params["job_start"] = f"Job:{number}@"
        either.append("arrayExists(ref -> startsWith(ref, {job_start:String}), entities)")
    return f"({' OR '.join(either)})"


def _one_of(column: str, value: str, params: dict[str, Any]) -> str:
    either = []
    for number, wanted in enumerate(filter(None, value.split(","))):
        name = f"{column}{number}"
        either.append(
            f"startsWith({column}, {{{name}:String}})" if wanted.endswith("*") else f"{column} = {{{name}:String}}"
        )
        params[name] = wanted.removesuffix("*")
    return f"({' OR '.join(either) or '1'})"


def _histogram(
    engine: Engine, where: str, params: Mapping[str, Any], start: datetime, end: datetime, buckets: int
) -> dict[str, list[float] | list[int]]:
    width = (end - start).total_seconds() / buckets
    rows = engine.rows(
        "SELECT least(toUInt32((toFloat64(time) - {first:Float64}) / {width:Float64}), {last:UInt32}) AS bucket,"
        f" count() AS n FROM qnib.events WHERE {where} GROUP BY bucket",
        {**params, "first": start.timestamp(), "width": width, "last": buckets - 1},
    )
    count = [0] * buckets
    for row in rows:
        count[row["bucket"]] = row["n"]
    return {"t": [start.timestamp() + width * n for n in range(buckets)], "count": count}


def iso(at: datetime) -> str:
    """A moment as ISO 8601 with Z."""
    return at.isoformat().replace("+00:00", "Z")
