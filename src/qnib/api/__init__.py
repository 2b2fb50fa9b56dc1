"""The HTTP API: one file per part, one shape of error, a viewer in every read."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from qnib import __version__


def create_app(parts: Any) -> FastAPI:
    """The application over the running parts (`qnib.server.Parts`)."""
    from qnib import web
    from qnib.api import (
        admin,
        aggregates,
        browse,
        collect,
        differs,
        events,
        fabric,
        graph,
        graphite,
        graphite_events,
        graphite_tags,
        ingest,
        live,
        load,
        load_logs,
        metrics,
        read,
        rules,
        senders,
    )
    from qnib.api.errors import show_errors

    app = FastAPI(
        title="QNIB", version=__version__, docs_url="/api/docs", redoc_url=None, openapi_url="/api/openapi.json"
    )
    app.state.qnib = parts
    for part in (
        read, events, differs, graph, fabric, live, collect, load, load_logs, metrics, browse, senders, admin,
        graphite, graphite_tags, graphite_events, rules, aggregates,
    ):  # fmt: skip
        app.include_router(part.router)
    ingest.include(app, root=False)
    show_errors(app)
    web.mount(app)  # last: it answers every path nobody else does
    return app
