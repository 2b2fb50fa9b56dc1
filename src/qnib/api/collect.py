"""Where agents hand in what they captured. On a cluster's own network only that and log shippers are served.

An answer of 202 means: the text is in a spool file that was fsynced and renamed.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from qnib.api import ingest
from qnib.api.errors import show_errors
from qnib.api.ingest.sender import cluster_of
from qnib.domains import all_domains
from qnib.errors import NotFound, TooMuch

LARGEST = 64 << 20
"""Octets of one capture; a fabric of 10,000 hosts prints about 20 MB."""

router = APIRouter()


@router.post("/api/collect/{domain}/{capture}", status_code=202)
async def collect(domain: str, capture: str, request: Request) -> dict[str, str]:
    """Take one capture's raw text. Headers: X-Qnib-Host (who captured), X-Qnib-At (when, ISO 8601)."""
    cluster = cluster_of(request)
    known = {(d.name, c.name) for d in all_domains() for c in d.captures}
    if (domain, capture) not in known:
        raise NotFound(
            f"No domain declares a capture {domain}/{capture}.",
            where=request.url.path,
            try_next="known are: " + ", ".join(sorted(f"{d}/{c}" for d, c in known)),
        )
    parts = request.app.state.qnib
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise TooMuch(
                f"A capture may have {LARGEST} octets.", where=f"{domain}/{capture}", try_next="split the capture."
            )
    host = request.headers.get("x-qnib-host", request.client.host if request.client else "")
    head: dict[str, Any] = {
        "domain": domain,
        "capture": capture,
        "host": host,
        "at": request.headers.get("x-qnib-at") or parts.clock.now().isoformat(),
    }
    await parts.spool.put("capture", cluster, host, "http", json.dumps(head).encode() + b"\n" + bytes(body))
    return {"status": "acknowledged"}


def edge_app(parts: Any) -> FastAPI:
    """The small application for a cluster's network: captures and events in, nothing out."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.qnib = parts
    app.include_router(router)
    ingest.include(app, root=True)
    show_errors(app)
    return app
