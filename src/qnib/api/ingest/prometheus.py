"""Prometheus' remote write, version 1: time series as protobuf packed by snappy. Labels are tags."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from qnib.api.ingest.numbers import MOST_TIMES, admit_numbers, bounded, hand_in_numbers, line, series
from qnib.api.ingest.protobuf import declared, read, unsnapped
from qnib.api.ingest.sender import decoded
from qnib.errors import Unsupported

router = APIRouter()
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:/\s]+)(?::\d+)?")
_ITSELF = re.compile(r"localhost|127\..*|\[::1\]|0\.0\.0\.0")
_HISTOGRAMS = "native histograms are not kept"


@router.post("/api/v1/write", status_code=204)
async def write(request: Request) -> Response:
    """Take a write in. Raises Unsupported for version 2; Prometheus then goes on with version 1 when it may."""
    if "io.prometheus.write.v2" in request.headers.get("content-type", ""):
        raise Unsupported(
            "Remote write is taken in its version 1.", where="/api/v1/write",
            try_next="leave out protobuf_message, or set it to prometheus.WriteRequest.",
        )
    origin, body = await admit_numbers(request, "prometheus/http")
    parts = request.app.state.qnib
    if "snappy" not in request.headers.get("content-encoding", "").lower():
        body = await decoded(lambda: unsnapped(body, parts.settings.http.max_body), len(body))
    told = await decoded(lambda: read(_WRITE, body), len(body))
    most = MOST_TIMES * parts.settings.http.max_body
    await hand_in_numbers(request, origin, await decoded(lambda: bounded(lines(told), most), len(body)))
    if dropped := sum(len(one.histograms) for one in told.timeseries):
        parts.receiver.reject(origin, _HISTOGRAMS, b"%d" % dropped)
    return Response(status_code=204)


def lines(told: Any) -> Iterator[bytes]:
    """The points of a write. NaN says that there is no value (any more): no point, and nothing wrong."""
    for one in told.timeseries:
        tags = {label.name: label.value for label in one.labels}
        name = tags.pop("__name__", "")
        if "host" not in tags and (host := host_of(tags.get("instance", ""))):
            tags["host"] = host
        path = series(name, tags)
        for sample in one.samples:
            if not math.isnan(sample.value):
                yield line(path, sample.value, sample.timestamp / 1000)


def host_of(instance: str) -> str:
    """The host that a label ``instance`` names, empty when none: it may be anything, and often is the scraper's own."""
    found = _HOST.fullmatch(instance)
    return found[1].strip("[]") if found and not _ITSELF.fullmatch(found[1]) else ""


_WRITE = declared("prometheus", "WriteRequest", {
    "Label": [("name", 1, "string"), ("value", 2, "string")],
    "Sample": [("value", 1, "double"), ("timestamp", 2, "int64")],
    "TimeSeries": [("labels", 1, "Label*"), ("samples", 2, "Sample*"), ("histograms", 4, "bytes*")],
    "WriteRequest": [("timeseries", 1, "TimeSeries*")],
})  # fmt: skip
