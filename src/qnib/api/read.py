"""Reads: health, the pages, series, events, jump. All take a viewer, a cluster and a window."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from qnib import __version__, clusters
from qnib.api.viewer import Seeing, offered_token, scope
from qnib.api.viewer import viewer as viewer_of
from qnib.context.around import around_hosts
from qnib.context.charts import chart
from qnib.context.known import iso, whole
from qnib.context.latest import newest
from qnib.dashboards import jobs, jump, nodes, now
from qnib.errors import WrongUse
from qnib.monitoring import events as event_store
from qnib.nodes import unfold

router = APIRouter()

Start = Annotated[str, Query(alias="from")]
RELATIVE = re.compile(r"-(\d+)(s|m|min|h|d|w)")
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
EARLIEST, LATEST = datetime.fromtimestamp(0, UTC), datetime(2200, 1, 1, tzinfo=UTC)
MOST_POINTS = 4000
MOST_EVENTS = 5000


def moment(text: str, now: datetime, name: str) -> datetime:
    """``now``, ``-15m``, epoch seconds, or ISO 8601 (UTC when no zone is given). What lies beyond 1970 or 2200 is
    meant as ever, and is cut there: the engine has no earlier times."""
    if text in {"", "now"}:
        return now
    try:
        if match := RELATIVE.fullmatch(text):
            told = now - timedelta(seconds=min(int(match[1]) * SECONDS[match[2]], now.timestamp()))
        elif text.replace(".", "", 1).isdigit():
            told = datetime.fromtimestamp(float(text), UTC)
        else:
            told = datetime.fromisoformat(text.replace(" ", "+"))
    except (ValueError, OverflowError, OSError) as error:
        raise WrongUse(
            f"{text!r} is no time.", where=name, try_next="write -1h, now, epoch seconds or 2026-11-20T10:00:00Z."
        ) from error
    return min(max(told if told.tzinfo else told.replace(tzinfo=UTC), EARLIEST), LATEST)


def window(parts: Any, start: str, until: str) -> tuple[datetime, datetime]:
    """The window asked for, in order. Raises WrongUse when it ends before it starts."""
    present = parts.clock.now()
    first, last = moment(start or "-1h", present, "from"), moment(until, present, "until")
    if last <= first:
        raise WrongUse("The window ends before it starts.", where=f"from={start} until={until}", try_next="swap them.")
    return first, last


@router.get("/api/health")
def health(request: Request) -> dict[str, Any]:
    """Whether the server is well. Without a token only that; with one also clusters, spool and rejects."""
    parts = request.app.state.qnib
    well: dict[str, Any] = {
        "status": "ok" if parts.writer.healthy else "degraded",
        "version": __version__,
        "time": iso(parts.clock.now()),
    }
    if not offered_token(request):
        return well
    viewer_of(request)
    known = known_clusters(parts)
    row = parts.engine.rows("SELECT count() AS n FROM qnib.rejects")[0]
    book = parts.writer.rulebook
    rules = book.current()
    return {
        **well, "clusters": known, "spool": parts.spool.state(), "rejects": row["n"], "graph": parts.graph.name,
        "mirror": parts.mirror.state(), "rollups": parts.upkeep.state(), "series": parts.writer.known.state(),
        "aggregates": parts.aggregates.health(),
        "rules": {"count": len(rules.rules), "site": rules.site, "since": iso(rules.since), "trouble": book.trouble},
    }  # fmt: skip


def known_clusters(parts: Any) -> list[dict[str, Any]]:
    """Recorded clusters and those data or captures came in for, each with the age of its newest datum in seconds."""
    recorded = [c.name for c in clusters.load_all(parts.settings.clusters)]
    heard = [row["cluster"] for row in parts.engine.rows("SELECT DISTINCT cluster FROM qnib.heard")]
    rows = []
    for name in dict.fromkeys([*recorded, *sorted({*heard, *(name for name, _ in parts.facts.heard())})]):
        last = newest(parts, name)
        rows.append(
            {"name": name, "newest": iso(last), "age": (parts.clock.now() - last).total_seconds() if last else None}
        )
    return rows


@router.get("/api/clusters")
def list_clusters(request: Request, viewer: Seeing) -> dict[str, Any]:
    parts, default = scope(request, viewer, "")
    return {"clusters": known_clusters(parts), "default": default}


@router.get("/api/now")
def now_page(request: Request, viewer: Seeing, cluster: str = "") -> dict[str, Any]:
    parts, name = scope(request, viewer, cluster)
    return now.now_page(parts, viewer, name)


@router.get("/api/jobs")
def list_jobs(
    request: Request,
    viewer: Seeing,
    cluster: str = "",
    state: str = "all",
    user: str = "",
    start: Start = "",
    until: str = "",
    limit: Annotated[int, Query(ge=1, le=5000)] = 200,
) -> dict[str, Any]:
    if state not in {"all", "running", "pending", "finished"}:
        raise WrongUse(
            f"{state!r} is no group of jobs.", where="state", try_next="use running, pending, finished or all."
        )
    parts, name = scope(request, viewer, cluster)
    present = parts.clock.now()
    found = jobs.job_rows(
        parts,
        viewer,
        name,
        state=state,
        user=user,
        limit=limit + 1,
        since=moment(start, present, "from") if start else None,
        until=moment(until, present, "until") if until else None,
    )
    return {"jobs": found[:limit], "more": len(found) > limit, "newest": iso(newest(parts, name))}


@router.get("/api/jobs/{job}")
def one_job(request: Request, viewer: Seeing, job: str, cluster: str = "") -> dict[str, Any]:
    parts, name = scope(request, viewer, cluster)
    return jobs.job_page(parts, viewer, name, job)


@router.get("/api/nodes")
def list_nodes(request: Request, viewer: Seeing, cluster: str = "") -> dict[str, Any]:
    parts, name = scope(request, viewer, cluster)
    return {"nodes": nodes.node_rows(parts, viewer, name), "others": nodes.others(parts, viewer, name)}


@router.get("/api/nodes/{node}")
def one_node(request: Request, viewer: Seeing, node: str, cluster: str = "") -> dict[str, Any]:
    parts, name = scope(request, viewer, cluster)
    return nodes.node_page(parts, viewer, name, node)


@router.get("/api/series")
def one_series(
    request: Request,
    viewer: Seeing,
    metric: str,
    cluster: str = "",
    host: str = "",
    job: str = "",
    port: str = "",
    start: Start = "",
    until: str = "",
    points: Annotated[int, Query(ge=1, le=MOST_POINTS)] = 600,
) -> dict[str, Any]:
    """A metric over a window, reduced in the engine to `points` buckets of min, mean and max."""
    parts, name = scope(request, viewer, cluster)
    if not metric.strip(","):
        raise WrongUse("No metric is named.", where="metric", try_next="name one, as cpu.used, or several with commas.")
    first, last = window(parts, start, until)
    fact = jobs.find_job(parts, name, job) if job else None
    return chart(
        parts,
        name,
        [one for one in metric.split(",") if one],
        hosts=host or (str(fact.properties.get("nodes") or "") if fact else "") or None,
        job=whole(fact.properties["id"]) if fact else None,
        port=port or None,
        start=first,
        end=last,
        points=points,
    )


@router.get("/api/events")
def list_events(
    request: Request,
    viewer: Seeing,
    cluster: str = "",
    start: Start = "",
    until: str = "",
    host: str = "",
    job: str = "",
    entity: str = "",
    severity: str = "",
    kind: str = "",
    lane: str = "",
    app: str = "",
    q: str = "",
    pattern: Annotated[int | None, Query(description="Lines of this pattern of /api/events/patterns.")] = None,
    rule: str = "",
    own: bool = False,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 200,
    histogram: Annotated[int, Query(ge=0, le=1000)] = 0,
) -> dict[str, Any]:
    """Log events, newest first; with `histogram` also their counts in that many buckets.

    Of a job or host also what happened around it: on its hosts, to its adapters and their cables; not so with `own`.
    """
    parts, name = scope(request, viewer, cluster)
    first, last = window(parts, start, until)
    fact = jobs.find_job(parts, name, job) if job else None
    hosts = unfold(host or (str(fact.properties.get("nodes") or "") if fact and not own else ""))
    return event_store.search(
        parts.engine,
        name,
        first,
        last,
        hosts=hosts,
        job=fact.key if fact else None,
        around=around_hosts(parts, name, hosts) if hosts and not own else (),
        entity=entity,
        severity=severity,
        kind=kind,
        lane=lane,
        app=app,
        q=q,
        pattern=pattern,
        rule=rule,
        limit=limit,
        histogram=histogram,
    )


@router.get("/api/jump")
def jump_to(request: Request, viewer: Seeing, cluster: str = "", q: str = "") -> dict[str, Any]:
    parts, name = scope(request, viewer, cluster)
    return {"hits": jump.hits(parts, viewer, name, q)}
