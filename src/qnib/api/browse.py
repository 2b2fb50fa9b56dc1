"""Series chosen by host, partition, rack, job, metric or text: counted, listed and drawn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from qnib.api.read import MOST_POINTS, Start, window
from qnib.api.viewer import Seeing, scope
from qnib.context import browse
from qnib.context.choice import Choice
from qnib.errors import WrongUse

MOST = 1000
"""Rows of one answer."""
SINCE = datetime(1970, 1, 1, tzinfo=UTC)

router = APIRouter()


def choice(
    host: Annotated[str, Query(description="Node set or glob: compute[0-15], compute1*.")] = "",
    partition: str = "",
    rack: str = "",
    job: Annotated[str, Query(description="A job's number, or its key.")] = "",
    name: Annotated[str, Query(description="A metric's name, or a glob: cpu.*.")] = "",
    q: Annotated[str, Query(description="A part of a path or a name.")] = "",
) -> Choice:
    return Choice(host, partition, rack, job, name, q)


Chosen = Annotated[Choice, Depends(choice)]


@router.get("/api/metrics")
def list_series(
    request: Request,
    viewer: Seeing,
    chosen: Chosen,
    cluster: str = "",
    start: Start = "",
    until: str = "",
    limit: Annotated[int, Query(ge=0, le=MOST)] = 200,
) -> dict[str, Any]:
    """Series heard in the window (default: the last day; of a job: whenever it ran): unit, kind, tags, newest value;
    their number, their metrics' names, and what `/render` draws the same with."""
    parts, cluster_name = scope(request, viewer, cluster)
    first, last = window(parts, start or "-1d", until)
    if chosen.job and not start:
        first = SINCE
    return {"cluster": cluster_name, **browse.listed(parts, cluster_name, chosen, first, last, limit)}


@router.get("/api/metrics/groups")
def list_groups(
    request: Request,
    viewer: Seeing,
    by: str,
    cluster: str = "",
    q: Annotated[str, Query(description="A part of a name.")] = "",
    start: Start = "",
    until: str = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 200,
) -> dict[str, Any]:
    """What there is to choose from: hosts, partitions, racks, jobs or names (`by`); the first `limit`, and how many."""
    parts, name = scope(request, viewer, cluster)
    first, last = window(parts, start or "-1d", until)
    return {"cluster": name, "by": by, **browse.groups(parts, name, by, q, first, last, limit)}


@router.get("/api/metrics/chart")
def chart(
    request: Request,
    viewer: Seeing,
    chosen: Chosen,
    cluster: str = "",
    start: Start = "",
    until: str = "",
    points: Annotated[int, Query(ge=1, le=MOST_POINTS)] = 600,
) -> dict[str, Any]:
    """The chosen series of one metric over a window, as `/api/series` has it; counters as rates. By partition, rack or
    job only the time in which a host belonged there."""
    parts, cluster_name = scope(request, viewer, cluster)
    if not chosen.name:
        raise WrongUse("No metric is named.", where="name", try_next="name one, as cpu.used.")
    first, last = window(parts, start, until)
    return browse.drawn(parts, cluster_name, chosen, first, last, points)
