"""Who sends events and points to this server, and how far each host's clock is off."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from qnib.api.read import Start, window
from qnib.api.viewer import Seeing, scope
from qnib.monitoring.senders import points, rejected, senders

router = APIRouter()


@router.get("/api/senders")
def list_senders(
    request: Request, viewer: Seeing, cluster: str = "", start: Start = "", until: str = ""
) -> dict[str, Any]:
    """Per sender, host and listener: events, skew of the clock in seconds, contradictions, rejects, drops.

    `points`: who sent points, by which edge, how many and when last, in whole five minutes; `host`: who is known to
    have that address. `rejected`: what was refused last, by sender and reason.
    """
    parts, name = scope(request, viewer, cluster)
    first, last = window(parts, start, until)
    return {
        "senders": senders(parts.engine, name, first, last, parts.receiver.flood.limited),
        "points": [
            {"host": parts.facts.resolve(name, row["sender"]) or "", **row}
            for row in points(parts.engine, name, first, last)
        ],
        "rejected": rejected(parts.engine, name, first, last),
    }
