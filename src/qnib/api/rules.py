"""What the rules make of lines: patterns of those they do not know, the rules themselves, jobs from the log, and
classifying stored events anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from qnib.api.read import Start, moment, window
from qnib.api.viewer import Seeing, scope
from qnib.context.known import iso
from qnib.monitoring.lives import lives
from qnib.monitoring.patterns import patterns
from qnib.nodes import unfold

MOST_PATTERNS = 2000

router = APIRouter()


class Period(BaseModel):
    """JSON body of `POST /api/events/reclassify`; times as everywhere: -7d, epoch seconds, ISO 8601."""

    cluster: str = ""
    start: str
    until: str = "now"


@router.get("/api/events/patterns")
def list_patterns(
    request: Request,
    viewer: Seeing,
    cluster: str = "",
    start: Start = "",
    until: str = "",
    host: str = "",
    app: str = "",
    known: bool = False,
    new: Annotated[str, Query(description="Since when a pattern is new; default: a day before the window's end.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_PATTERNS)] = 100,
) -> dict[str, Any]:
    """Lines no rule knows, by template, the most frequent first; with `known` also those that rules know."""
    parts, name = scope(request, viewer, cluster)
    first, last = window(parts, start or "-1d", until)
    since = moment(new, parts.clock.now(), "new") if new else last - timedelta(days=1)
    hosts = unfold(host)
    answer = patterns(
        parts.engine, name, first, last, new_since=since, hosts=hosts, app=app, known=known, limit=limit
    )  # fmt: skip
    return {**answer, "from": iso(first), "until": iso(last), "new_since": iso(since)}


@router.get("/api/events/rules")
def list_rules(request: Request, viewer: Seeing) -> dict[str, Any]:
    """The rules in force, in the order in which they are tried, and what is wrong with the files."""
    parts, _ = scope(request, viewer, "")
    book = parts.writer.rulebook
    now = book.current()
    return {
        "rules": [
            {
                "name": rule.name, "kind": rule.kind, "app": rule.app, "severity": rule.severity, "match": rule.match,
                "tags": list(rule.tags), "entities": list(rule.entities), "hint": rule.hint, "sample": rule.sample,
                "metrics": [{"name": m.name, "unit": m.unit} for m in rule.metrics], "where": rule.where,
                "site": number < now.site,
            }
            for number, rule in enumerate(now.rules)
        ],
        "since": iso(now.since), "site": now.site, "folder": str(parts.settings.rules_folder), "trouble": book.trouble,
    }  # fmt: skip


@router.get("/api/events/jobs")
def jobs_of_the_log(
    request: Request, viewer: Seeing, cluster: str = "", start: Start = "", until: str = ""
) -> dict[str, Any]:
    """Jobs as slurmctld's log alone tells them: submit, start, end, state."""
    parts, name = scope(request, viewer, cluster)
    first, last = window(parts, start or "-1d", until)
    return {"jobs": lives(parts.engine, name, first, last)}


@router.post("/api/events/reclassify")
def reclassify(request: Request, viewer: Seeing, body: Period) -> dict[str, Any]:
    """Begin to apply the rules in force to the events of a period; the same path by GET says how far it is."""
    parts, name = scope(request, viewer, body.cluster)
    first, last = window(parts, body.start, body.until)
    parts.reclassify.begin(name, first, last)
    return progress(request, viewer)


@router.get("/api/events/reclassify")
def progress(request: Request, viewer: Seeing) -> dict[str, Any]:
    """How far reclassifying is: ``state`` idle, running, done or failed; events looked at of all, and changed ones."""
    parts, _ = scope(request, viewer, "")
    now = parts.reclassify.progress
    return {
        "state": now.state, "cluster": now.cluster, "from": iso(now.start), "until": iso(now.end), "rules": now.rules,
        "total": now.total, "looked_at": now.looked_at, "changed": now.changed, "problem": now.problem,
    }  # fmt: skip
