"""Events searched: newest first with counts over time and facets, followed live, exported, and what is around one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from qnib.api.read import MOST_EVENTS, Start, moment, window
from qnib.api.viewer import Seeing, scope
from qnib.context.nearby import nearby
from qnib.context.search import MOST_ROWS, Search, as_csv, as_json_lines
from qnib.errors import QnibError, WrongUse
from qnib.monitoring.query import explained

router = APIRouter()

HEARTBEAT = 15.0
PACE = 0.5
"""Seconds between two messages of a tail."""
LATE = timedelta(seconds=30)
"""A file may be taken in that much later than another one whose lines came in after its own."""
MOST_AT_ONCE = 200
"""Events of one message of a tail; more than that are counted."""
BACK = timedelta(days=1)
"""A tail tells of what happened within a day, though it may have come in only now."""


def _search(request: Request, viewer: Any, cluster: str, q: str, start: str, until: str) -> Search:
    parts, name = scope(request, viewer, cluster)
    first, last = window(parts, start, until)
    present = parts.clock.now()
    return Search(parts, name, q, first, last, lambda text: moment(text, present, "q"))


@router.get("/api/events/language")
def language(request: Request, viewer: Seeing) -> dict[str, Any]:
    """The fields a query may name, with what they mean and an example each."""
    scope(request, viewer, "")
    return {"fields": explained()}


@router.get("/api/events/search")
def search_events(
    request: Request,
    viewer: Seeing,
    q: str = "",
    cluster: str = "",
    start: Start = "",
    until: str = "",
    limit: Annotated[int, Query(ge=0, le=MOST_EVENTS)] = 200,
    histogram: Annotated[int, Query(ge=0, le=1000)] = 0,
    facets: str = "",
    total: bool = True,
) -> dict[str, Any]:
    """Events of a window that match, newest first, each with host, switches and jobs as they were then.

    With `histogram` their counts in that many buckets, by severity; with `facets` by these fields; `total=false` saves
    counting them.
    """
    found = _search(request, viewer, cluster, q, start, until)
    answer: dict[str, Any] = {"query": str(found.tree), "events": found.events(limit) if limit else []}
    if histogram:
        answer["histogram"] = found.histogram(histogram)
        answer["total"] = sum(answer["histogram"]["count"])
    elif total:
        answer["total"] = found.count()
    if facets:
        answer["facets"] = found.facets([one for one in facets.split(",") if one])
    return answer


@router.get("/api/events/export")
def export_events(
    request: Request,
    viewer: Seeing,
    q: str = "",
    cluster: str = "",
    start: Start = "",
    until: str = "",
    form: Annotated[str, Query(alias="format")] = "jsonl",
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = MOST_ROWS,
) -> StreamingResponse:
    """The same as JSON lines (`jsonl`) or `csv`, newest first. X-Qnib-Total: how many match; X-Qnib-Cut: how many of
    them are left out, 0 for none."""
    if form not in ("jsonl", "csv"):
        raise WrongUse(f"{form!r} is no form of export.", where="format", try_next="use jsonl or csv.")
    found = _search(request, viewer, cluster, q, start, until)
    total = found.count()
    rows: Iterator[dict[str, Any]] = found.rows_of_export(limit)
    text, media = (as_csv(rows), "text/csv") if form == "csv" else (as_json_lines(rows), "application/x-ndjson")
    return StreamingResponse(text, media_type=media, headers={
        "Content-Disposition": f'attachment; filename="events.{form}"', "Cache-Control": "no-store",
        "X-Qnib-Total": str(total), "X-Qnib-Cut": str(max(0, total - limit)),
    })  # fmt: skip


@router.get("/api/events/around")
def around_event(
    request: Request,
    viewer: Seeing,
    event: Annotated[str, Query(alias="id")],
    cluster: str = "",
    time: str = "",
    minutes: Annotated[float, Query(gt=0, le=1440)] = 2,
) -> dict[str, Any]:
    """One event: whose it is in a sentence, and what else happened near it in time and in the graph."""
    parts, name = scope(request, viewer, cluster)
    if not event.isascii() or not event.isdigit() or int(event) >= 1 << 64:
        raise WrongUse(f"{event!r} is no event's id.", where="id", try_next="take it from a search.")
    about = moment(time, parts.clock.now(), "time") if time else None
    return nearby(parts, name, int(event), about, minutes)


@router.get("/api/events/tail")
async def tail_events(request: Request, viewer: Seeing, q: str = "", cluster: str = "") -> StreamingResponse:
    """What matches as it comes in: messages ``events`` (a list, oldest first) and ``more`` (how many were left out)."""
    parts, name = scope(request, viewer, cluster)
    follower = Follower(parts, name, q)
    await run_in_threadpool(follower.new)  # what is there already is not news; and a wrong query is an answer
    return StreamingResponse(
        _tail(parts, name, follower, request), media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )  # fmt: skip


async def _tail(parts: Any, cluster: str, follower: Follower, request: Request) -> AsyncIterator[str]:
    with parts.live.changed(cluster, "events") as news:
        yield "retry: 2000\n\n"
        while not await request.is_disconnected():
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            news.clear()
            try:
                rows, more = await run_in_threadpool(follower.new)
            except QnibError as error:
                yield f"event: error\ndata: {json.dumps(error.as_dict())}\n\n"
                return
            if rows:
                yield f"event: events\ndata: {json.dumps(rows, default=str)}\n\n"
            if more:
                yield f"event: more\ndata: {json.dumps({'count': more})}\n\n"
            await asyncio.sleep(PACE)  # the pace of the stream, not a wait for a condition


class Follower:
    """Remembers what of a query's answers was told, by id: files are not taken in quite in the order they came in."""

    def __init__(self, parts: Any, cluster: str, q: str) -> None:
        self._parts, self._cluster, self._q = parts, cluster, q
        self._floor: datetime = parts.clock.now() - LATE
        self._told: dict[str, datetime] = {}

    def new(self) -> tuple[list[dict[str, Any]], int]:
        """What came in since the last call, oldest first, and how many more there were and are left out."""
        now = self._parts.clock.now()
        since = max(self._floor, now - 2 * LATE)
        found = Search(
            self._parts, self._cluster, self._q, now - BACK, now + BACK, lambda text: moment(text, now, "q")
        )
        only = "received >= {since:DateTime64(6, 'UTC')} AND id NOT IN {told:Array(UInt64)}"
        given = {"since": since, "told": [int(one) for one in self._told]}
        rows = found.events(MOST_AT_ONCE, more=only, **given)
        more = found.count(more=only, **given) - len(rows) if len(rows) == MOST_AT_ONCE else 0
        if more > 0:  # a flood: what is left out now is not told later
            self._floor = now
        self._told = {one: at for one, at in self._told.items() if at >= since}
        self._told |= {row["id"]: datetime.fromisoformat(row["received"]) for row in rows}
        return rows[::-1], max(0, more)
