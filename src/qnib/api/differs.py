"""Hosts beside one another: those of a job or of a set, now or at a time."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from qnib.api.read import moment
from qnib.api.viewer import Seeing, scope
from qnib.dashboards.differs import job_differs, set_differs
from qnib.errors import WrongUse

router = APIRouter()


@router.get("/api/differs")
def differs(
    request: Request, viewer: Seeing, job: str = "", hosts: str = "",
    at: Annotated[str, Query(description="As it was then; default: now, or the end of a job that has ended.")] = "",
    cluster: str = "",
) -> dict[str, Any]:
    """Which hosts of a job (id or key), or of a set like ``compute[0-3]``, differ from the others, and in what."""
    parts, name = scope(request, viewer, cluster)
    when = moment(at, parts.clock.now(), "at") if at not in {"", "now"} else None
    if bool(job) == bool(hosts):
        raise WrongUse("Name a job or hosts.", where=request.url.path, try_next="give ?job=42 or ?hosts=compute[0-3].")
    return job_differs(parts, viewer, name, job, when) if job else set_differs(parts, name, hosts, when)
