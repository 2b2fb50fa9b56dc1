"""The jobs' pages: rows of the list, and one job with its verdict, place and panels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from qnib.context.known import Sources, iso, not_here, things, ties, whole
from qnib.context.progress import progress_of
from qnib.context.viewer import Viewer, may_see
from qnib.dashboards.findings import job_findings
from qnib.dashboards.panels import panels_of
from qnib.dashboards.placement import placement
from qnib.dashboards.words import group_of, job_status, seconds_between, verdict
from qnib.inventory.facts import Fact
from qnib.inventory.jobs import called, ended
from qnib.model import Ref
from qnib.nodes import unfold

_EVER = datetime.fromtimestamp(0, UTC)

MARGIN = timedelta(seconds=30)
"""What a job's own window shows before its start and after its end: causes come first, effects last."""


def job_rows(
    sources: Sources,
    viewer: Viewer,
    cluster: str,
    *,
    state: str = "all",
    user: str = "",
    limit: int = 200,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """Rows of the job list, newest first: running, then waiting, then finished ones.

    `since`, `until`: only those that had not ended before, and that were submitted by then.
    """
    known, now = things(sources, cluster, "Job"), sources.clock.now()
    found = _matching(known.values(), viewer, cluster, state, user, since, until)
    forgotten = len(found) < limit if since is None else since < sources.facts.remembered(cluster, "Job")
    if forgotten and state in ("all", "finished"):
        older = ended(sources.engine, cluster, since or _EVER, until or now, user=user, limit=limit)
        new = [fact for fact in older if fact.key not in known]
        found += _matching(new, viewer, cluster, state, user, since, until)
    return with_progress(sources, cluster, _in_order(found)[:limit])


def jobs_now(sources: Sources, viewer: Viewer, cluster: str, since: datetime) -> list[Fact]:
    """Jobs that run or wait, that ended after `since`, or ran out of memory in the last week; in the list's order."""
    return _in_order([
        fact
        for fact in _matching(things(sources, cluster, "Job").values(), viewer, cluster)
        if (_time(fact, "end") or since) >= since or _of(fact, "state") == "OUT_OF_MEMORY"
    ])


def _in_order(facts: list[Fact]) -> list[Fact]:
    rank = {"running": 0, "pending": 1, "finished": 2}
    return sorted(facts, key=lambda fact: (rank[group_of(_of(fact, "state"))], -_when(fact).timestamp()))


def _matching(
    facts: Iterable[Fact], viewer: Viewer, cluster: str, state: str = "all", user: str = "",
    since: datetime | None = None, until: datetime | None = None,
) -> list[Fact]:
    return [
        fact
        for fact in facts
        if may_see(viewer, cluster, Ref("Job", fact.key))
        and (state == "all" or group_of(_of(fact, "state")) == state)
        and (not user or _of(fact, "user") == user)
        and (until is None or (_time(fact, "submit") or until) <= until)
        and (since is None or (_time(fact, "end") or since) >= since)
    ]


def with_progress(sources: Sources, cluster: str, facts: list[Fact]) -> list[dict[str, Any]]:
    """Rows of these jobs."""
    now = sources.clock.now()
    started = [
        (fact.key, whole(fact.properties["id"]), start, _time(fact, "end") or now)
        for fact in facts
        if (start := _time(fact, "start"))
    ]
    progress = progress_of(sources, cluster, started)
    return [job_row(fact, now, progress.get(fact.key)) for fact in facts]


def job_row(fact: Fact, now: datetime, progress: dict[str, Any] | None = None) -> dict[str, Any]:
    """One job as the UI's `Job`."""
    known = fact.properties
    state = _of(fact, "state")
    start, end = _time(fact, "start"), _time(fact, "end")
    running = group_of(state) == "running"
    if progress and not running:
        progress = {**progress, "ends": None}
    return {
        "key": fact.key,
        "id": whole(known["id"]),
        "name": _of(fact, "name"),
        "user": _of(fact, "user"),
        "account": _of(fact, "account"),
        "group": _of(fact, "group"),
        "partition": _of(fact, "partition"),
        "state": state,
        "status": job_status(state),
        "reason": _of(fact, "reason"),
        "nodes": _of(fact, "nodes"),
        "node_count": whole(known.get("node_count")),
        "cpus": whole(known.get("cpus")),
        "submit": iso(_time(fact, "submit")),
        "start": iso(start),
        "end": iso(None if running else end),
        "elapsed": seconds_between(start, now if running else end or now) if start else 0.0,
        "limit": known.get("limit"),
        "exit_code": known.get("exit_code"),
        "signal": known.get("signal"),
        "attempt": whole(known.get("attempt") or 1),
        "progress": progress,
    }


def find_job(sources: Sources, cluster: str, job: str) -> Fact:
    """The job with this key, or the newest with this id. Raises NotFound."""
    known = things(sources, cluster, "Job")
    if job in known:
        return known[job]
    same = [fact for fact in known.values() if str(fact.properties.get("id")) == job]
    if not (same := same or called(sources.engine, cluster, job)):
        raise not_here("job", job, cluster, "qnib job list")
    return max(same, key=_when)


def job_page(sources: Sources, viewer: Viewer, cluster: str, job: str) -> dict[str, Any]:
    """Everything the page of one job says, as the UI's `JobPage`."""
    fact = find_job(sources, cluster, job)
    if not may_see(viewer, cluster, Ref("Job", fact.key)):
        raise not_here("job", job, cluster, "qnib job list")
    now = sources.clock.now()
    row = with_progress(sources, cluster, [fact])[0]
    start, end = _time(fact, "start") or _when(fact), _time(fact, "end")
    finished = group_of(row["state"]) == "finished"
    until = (end or now) + MARGIN if finished else now
    scope = {"cluster": cluster, "job": fact.key}
    limits = {"job.memory": float(memory)} if (memory := fact.properties.get("min_memory")) else {}
    return {
        **row,
        "work_dir": _of(fact, "work_dir"),
        "verdict": verdict(row["state"], row["reason"], row["exit_code"], row["signal"], row["elapsed"], row["limit"]),
        "findings": job_findings(row),
        "placement": placement(
            sources, cluster, unfold(row["nodes"]), end if finished else None,
            began=_time(fact, "start"), partition=row["partition"], job=fact.key,
        ),
        "panels": panels_of({"Job"}, "user", scope, limits),
        "window": {"from": iso(start - MARGIN), "until": iso(until)},
        "command": f"qnib job show {row['id']}"
        + ("" if cluster == sources.settings.cluster else f" --cluster {cluster}"),
    }


def jobs_on(sources: Sources, cluster: str, host: str) -> list[dict[str, Any]]:
    """The jobs that have run on a host, newest first, with the interval of each allocation."""
    known, now = things(sources, cluster, "Job"), sources.clock.now()
    found = [tie for tie in ties(sources, cluster, "JOBCLIENT") if tie.target and tie.target.key == host and tie.source]
    found.sort(key=lambda tie: tie.began, reverse=True)
    return [
        {"job": job_row(known[tie.source.key], now), "since": iso(tie.began), "until": iso(tie.until)}
        for tie in found[:100]
        if tie.source and tie.source.key in known
    ]


def _of(fact: Fact, name: str) -> str:
    value = fact.properties.get(name)
    return "" if value is None else str(value)


def _time(fact: Fact, name: str) -> datetime | None:
    value = fact.properties.get(name)
    return datetime.fromisoformat(str(value)) if value else None


def _when(fact: Fact) -> datetime:
    return _time(fact, "start") or _time(fact, "submit") or fact.since
