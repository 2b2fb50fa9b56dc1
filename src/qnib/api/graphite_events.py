"""Graphite's HTTP API, the part about events: those of a window, by tags or by the event search, and one by its id.

They are posted in `qnib.api.ingest.graphite_events`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from qnib.api.graphite import Asked, Question, wrapped
from qnib.context.search import Search
from qnib.errors import NotFound
from qnib.monitoring.graphite.times import moment

_MOST_EVENTS = 1000

router = APIRouter()


@router.api_route("/events/get_data", methods=["GET", "POST"])
@router.api_route("/events/get_data/", methods=["GET", "POST"], include_in_schema=False)
async def events(question: Question) -> Response:
    """What happened, oldest first, for annotations: the events of a query of the event search (`query`), and, as
    Graphite has it, those whose tags (posted ones; kind, lane, host, app) include all that are asked for; set=union:
    any of them. Of more than a thousand the newest, and X-Qnib-Cut says that there are others.

    Without a query only what was posted or a rule knows the meaning of.
    """
    start = moment(question.one("from") or "0", question.now)
    end = moment(question.one("until") or "now", question.now) + timedelta(microseconds=1)
    wanted = sorted(set(" ".join(question.all("tags")).split()))
    found = await run_in_threadpool(_annotations, question, wanted, start, end)
    told = json.dumps([_annotation(row) for row in found[:_MOST_EVENTS][::-1]])
    cut = {"X-Qnib-Cut": "yes"} if len(found) > _MOST_EVENTS else {}
    return wrapped(question, told, "application/json", cut)


@router.get("/events/{event}")
@router.get("/events/{event}/", include_in_schema=False)
async def one_event(question: Question, event: int) -> dict[str, Any]:
    """One of them by its id."""
    ever = moment("0", question.now), question.now + timedelta(days=1)
    more = {"more": "id = {id:UInt64}", "id": event}
    found = await run_in_threadpool(_found, question, "kind:*", *ever, more) if 0 <= event < 1 << 64 else []
    if not found:
        raise NotFound(f"There is no event {event}.", where="/events/", try_next="`/events/get_data` lists them.")
    return {**_annotation(found[0]), "when": found[0]["time"]}


def _annotation(row: dict[str, Any]) -> dict[str, Any]:
    """An event as graphite-web tells it. Of a posted one what was posted, and nothing else."""
    when = int(datetime.fromisoformat(row["time"]).timestamp())
    fields = row["fields"]
    if row["app"] == "graphite":
        told = {"what": fields.get("what", row["message"]), "data": fields.get("data", ""),
                "tags": fields.get("tags", "").split()}  # fmt: skip
    else:
        tags = list(filter(None, (row["kind"], row["lane"], row["host"], row["app"], *row["tags"])))
        told = {"what": row["kind"] or row["app"] or "event", "data": row["message"], "tags": tags}
    return {"id": int(row["id"]), "when": when, **told}


def _annotations(question: Asked, tags: list[str], start: datetime, end: datetime) -> list[dict[str, Any]]:
    """The newest first, one more than may be told if there are more."""
    has = "hasAny" if question.one("set") == "union" else "hasAll"
    more = {"more": f"{has}(arrayConcat([kind, lane, host, app], tags), {{tags:Array(String)}})", "tags": tags}
    return _found(question, question.one("query") or "kind:*", start, end, more if tags else {})


def _found(question: Asked, query: str, start: datetime, end: datetime, more: dict[str, Any]) -> list[dict[str, Any]]:
    search = Search(question.parts, question.cluster, query, start, end, lambda text: moment(text, question.now))
    return search.events(_MOST_EVENTS + 1, **more)
