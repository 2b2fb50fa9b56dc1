"""Numbers brought by people, lines of carbon and a Graphite's history, by the way of the spool; series taken away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from qnib.api.load_logs import taken_in
from qnib.api.viewer import Seeing, scope_to_fill
from qnib.clock import micros
from qnib.errors import TooLarge
from qnib.monitoring.frames import Origin, block
from qnib.monitoring.loads import LISTENER
from qnib.monitoring.storage.delete import delete_series

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
    parts, name = scope_to_fill(request, viewer, cluster)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise TooLarge(f"A request may have {LARGEST} octets.", where=kind, try_next="send it in several.")
    if not body.strip():
        return {"cluster": name, "taken": 0, "rejected": 0}
    octets = block(micros(parts.clock.now()), Origin(name, source[:200], f"{LISTENER}{kind}").prefix(), bytes(body))
    outcome = await taken_in(parts, kind, octets, f"{source}, cluster {name}")
    return {"cluster": name, "taken": outcome.events, "rejected": outcome.rejects}


@router.post("/api/metrics/delete")
def delete(request: Request, viewer: Seeing, body: Delete) -> dict[str, Any]:
    """Series whose path matches a glob, with all their points; without `really` only told."""
    parts, name = scope_to_fill(request, viewer, body.cluster)
    told = delete_series(parts.engine, name, body.pattern, really=body.really)
    if told["deleted"]:
        parts.writer.known.forget()
    return {"cluster": name, **told}
