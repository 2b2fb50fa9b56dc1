"""What the command line asks of the running server: look at the clusters again, back up."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import BaseModel

from qnib.api.viewer import Seeing, scope
from qnib.errors import WrongUse

router = APIRouter()


class Target(BaseModel):
    target: str


@router.post("/api/clusters/refresh")
async def refresh(request: Request, viewer: Seeing) -> dict[str, list[str]]:
    """Open listeners for new clusters, close those of clusters that are gone."""
    parts, _ = scope(request, viewer, "")
    return {"clusters": await parts.refresh()}


@router.post("/api/backup")
def backup(request: Request, viewer: Seeing, body: Target) -> dict[str, str]:
    """Copy the record to a directory of the server's machine."""
    parts, _ = scope(request, viewer, "")
    target = Path(body.target)
    if not target.is_absolute():
        raise WrongUse("The target must be an absolute path.", where=body.target, try_next="start it with '/'.")
    parts.engine.backup(target)
    return {"target": str(target)}
