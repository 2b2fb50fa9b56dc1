"""Who sends events to this server, and how far each host's clock is off."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from qnib.api.read import window
from qnib.api.viewer import Seeing, must_see
from qnib.monitoring.senders import senders

router = APIRouter()


@router.get("/api/senders")
def list_senders(
    request: Request, viewer: Seeing, cluster: str = "", start: Annotated[str, Query(alias="from")] = "",
    until: str = "",
) -> dict[str, Any]:
    """Per sender, host and listener: events, skew of the clock in seconds, contradictions, rejects, drops."""
    parts = request.app.state.qnib
    name = cluster or parts.settings.cluster
    must_see(viewer, name)
    first, last = window(parts, start, until)
    return {"senders": senders(parts.engine, name, first, last, parts.receiver.flood.limited)}
