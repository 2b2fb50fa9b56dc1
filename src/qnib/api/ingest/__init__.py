"""Where those who speak HTTP hand in events and numbers, each in its own dialect; every file here is one.

An answer of success means: they are in a spool file that was fsynced and renamed. A client that cannot send
headers may carry its token in the path: ``/token/TOKEN/…`` before any of these.
"""

from __future__ import annotations

from fastapi import FastAPI


def include(app: FastAPI, *, root: bool) -> None:
    """Serve all dialects. `root`: Elasticsearch's below / as well, where nothing else is served."""
    from qnib.api.ingest import (
        elasticsearch,
        graphite_events,
        influx,
        lines,
        loki,
        nagios,
        otlp,
        otlp_metrics,
        prometheus,
    )

    for prefix in ("", "/token/{path_token}"):
        for part in (lines, loki, otlp, influx, prometheus, otlp_metrics, nagios, graphite_events):
            app.include_router(part.router, prefix=prefix)
        app.include_router(elasticsearch.router, prefix=f"{prefix}/elasticsearch")
        if root:
            app.include_router(elasticsearch.router, prefix=prefix)
