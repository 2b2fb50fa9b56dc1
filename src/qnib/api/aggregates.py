"""Aggregates of events: which are declared and how far they are, and counting their past."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from qnib.api.read import window
from qnib.api.viewer import Seeing, scope

router = APIRouter()


class Past(BaseModel):
    """JSON body of `POST /api/aggregates/backfill`; times as everywhere: -7d, epoch seconds, ISO 8601."""

    name: str
    cluster: str = ""
    start: str
    until: str = "now"


@router.get("/api/aggregates")
def list_aggregates(request: Request, viewer: Seeing, cluster: str = "") -> dict[str, Any]:
    """What events are counted by, as the settings declare it; how many series there are, until when all is counted."""
    parts, name = scope(request, viewer, cluster)
    return {"cluster": name, "aggregates": parts.aggregates.state(name)}


@router.post("/api/aggregates/backfill", status_code=202)
def backfill(request: Request, viewer: Seeing, body: Past) -> dict[str, Any]:
    """Have a time of the past counted, again or for the first time; `waiting` of the list says how far that is."""
    parts, name = scope(request, viewer, body.cluster)
    first, last = window(parts, body.start, body.until)
    return {"cluster": name, "name": body.name, "intervals": parts.aggregates.backfill(body.name, name, first, last)}
