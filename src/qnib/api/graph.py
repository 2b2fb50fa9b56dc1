"""Cypher over HTTP: what was related to what, now or at another time."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from qnib.api.viewer import Seeing, must_see
from qnib.domains import all_domains
from qnib.engine import Limits

router = APIRouter()


class Asked(BaseModel):
    query: str
    params: dict[str, Any] = Field(default_factory=dict)
    at: datetime | None = None
    cluster: str = ""


@router.post("/api/graph/cypher")
def cypher(request: Request, viewer: Seeing, asked: Asked) -> dict[str, Any]:
    """Run one read-only Cypher query within the limits of the settings. `at`: what held then."""
    parts = request.app.state.qnib
    cluster = asked.cluster or parts.settings.cluster
    must_see(viewer, cluster)
    bounds = parts.settings.engine
    started = time.monotonic()
    answer = parts.graph.cypher(
        asked.query,
        {"cluster": cluster, **asked.params} if "$cluster" in asked.query else asked.params,
        at=asked.at,
        limits=Limits(seconds=bounds.query_seconds, rows=bounds.query_rows),
    )
    return {
        "columns": answer.columns,
        "rows": answer.rows,
        "truncated": answer.truncated,
        "at": (asked.at or parts.clock.now()).isoformat(),
        "elapsed_ms": round((time.monotonic() - started) * 1000, 1),
    }


@router.get("/api/graph/questions")
def questions(request: Request, viewer: Seeing) -> dict[str, Any]:
    """The questions QNIB ships, by domain."""
    must_see(viewer, request.app.state.qnib.settings.cluster)
    return {
        "questions": [
            {"name": q.name, "ask": q.ask, "cypher": q.cypher, "columns": list(q.columns), "domain": d.name}
            for d in all_domains()
            for q in d.questions
        ]
    }
