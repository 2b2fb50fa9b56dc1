"""Numbers brought by people, lines of carbon and a Graphite's history, by the way of the spool; series taken away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from qnib.api.load_logs import taken_in
from qnib.api.viewer import Seeing, scope, scope_to_fill
from qnib.clock import micros
from qnib.errors import TooLarge
from qnib.monitoring.frames import Origin, block
from qnib.monitoring.loads import LISTENER
from qnib.monitoring.naming import named
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


@router.get("/api/metrics/paths")
def list_paths(
    request: Request,
    viewer: Seeing,
    asked: Annotated[list[str] | None, Query(alias="named", description="What would these paths be named?")] = None,
    cluster: str = "",
) -> dict[str, Any]:
    """The rules of paths in force, in the order in which they are tried, or what they make of some paths."""
    parts, name = scope(request, viewer, cluster)
    book = parts.writer.rulebook
    told = book.current()
    if asked:
        rows = named(parts.engine, parts.writer.known.naming(told), asked)
        return {"cluster": name, "named": rows, "trouble": book.trouble}
    rules = [
        {"path": rule.path, "name": rule.name, "unit": rule.unit, "mtype": rule.mtype, "tags": rule.tags,
         "sample": rule.sample, "site": at < told.site_paths, "where": rule.where}
        for at, rule in enumerate(told.paths)
    ]  # fmt: skip
    return {"cluster": name, "rules": rules, "trouble": book.trouble}


@router.post("/api/metrics/delete")
def delete(request: Request, viewer: Seeing, body: Delete) -> dict[str, Any]:
    """Series whose path matches a glob, with all their points; without `really` only told."""
    parts, name = scope_to_fill(request, viewer, body.cluster)
    told = delete_series(parts.engine, name, body.pattern, really=body.really)
    if told["deleted"]:
        parts.writer.known.forget()
    return {"cluster": name, **told}
