"""Numbers brought by people, lines of carbon and a Graphite's history, by the way of the spool; series taken away."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from qnib import clusters
from qnib.api.viewer import Seeing, scope
from qnib.clock import micros
from qnib.errors import TooLarge, Unavailable
from qnib.monitoring.frames import Origin, block
from qnib.monitoring.loads import LISTENER
from qnib.monitoring.storage.delete import delete_series

SECONDS = 300
"""How long lines may take to be taken in before the answer says that it is still under way."""

LARGEST = 16 << 20
"""Octets of one request; a longer file comes in several."""

router = APIRouter()


class Delete(BaseModel):
    pattern: str
    cluster: str = ""
    really: bool = False


@router.post("/api/load-metrics/{kind}")
async def load_metrics(
    kind: Literal["carbon", "rollup"],
    request: Request,
    viewer: Seeing,
    cluster: str = "",
    source: Annotated[str, Query(description="Name of the file, as rejects tell it.")] = "file",
) -> dict[str, Any]:
    """Take in lines: ``path value time``, or ``path step time value`` of a coarser step. Those that do not parse are
    rejects. The answer waits until they are read."""
    parts, name = scope(request, viewer, cluster)
    clusters.check_name(name)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise TooLarge(f"A request may have {LARGEST} octets.", where=kind, try_next="send it in several.")
    if not body.strip():
        return {"cluster": name, "taken": 0, "rejected": 0}
    octets = block(micros(parts.clock.now()), Origin(name, source[:200], f"{LISTENER}{kind}").prefix(), bytes(body))
    file = await parts.spool.put_own(kind, octets)
    outcome = await asyncio.to_thread(parts.writer.loads.wait, file, SECONDS)
    if outcome is None:
        raise Unavailable(
            f"It is acknowledged, but was not taken in within {SECONDS} s.", where=f"{source}, cluster {name}",
            try_next="look at `qnib status`; what is loaded again counts once.",
        )
    if outcome.refused:
        raise Unavailable(
            f"It could not be taken in: {outcome.refused[:300]}", where=f"{source}, cluster {name}",
            try_next="see the server's log; the lines are kept in the spool's folder failed/.",
        )
    return {"cluster": name, "taken": outcome.events, "rejected": outcome.rejects}


@router.post("/api/metrics/delete")
def delete(request: Request, viewer: Seeing, body: Delete) -> dict[str, Any]:
    """Series whose path matches a glob, with all their points; without `really` only told."""
    parts, name = scope(request, viewer, body.cluster)
    clusters.check_name(name)
    return {"cluster": name, **delete_series(parts.engine, name, body.pattern, really=body.really)}
