"""Loki's push: streams of lines with labels, as JSON or as protobuf packed by snappy. Labels are fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from qnib.api.ingest.protobuf import declared, read, unsnapped
from qnib.api.ingest.sender import admit, decoded, hand_in

router = APIRouter()
_LABEL = re.compile(r'\s*([^=,{}\s]+)\s*=\s*("(?:[^"\\]|\\.)*")')


@router.post("/loki/api/v1/push", status_code=204)
@router.post("/api/prom/push", status_code=204)
async def push(request: Request) -> Response:
    origin, body = await admit(request, "loki/http")
    packed = "snappy" not in request.headers.get("content-encoding", "")  # told there, `admit` has unpacked it
    largest = request.app.state.qnib.settings.http.max_body if packed else None
    is_json = request.headers.get("content-type", "").startswith("application/json")
    documents = await decoded(lambda: list(from_json(body) if is_json else from_protobuf(body, largest)), len(body))
    await hand_in(request, origin, documents)
    return Response(status_code=204)


@router.get("/ready")
async def ready() -> PlainTextResponse:
    return PlainTextResponse("ready\n")


def from_json(body: bytes) -> Iterator[bytes]:
    """The documents of a push. Raises ValueError when it is not one."""
    told = orjson.loads(body)
    try:
        for stream in told["streams"]:
            if "stream" in stream:
                for stamp, line, *more in stream["values"]:
                    yield _document(stream["stream"], str(stamp), line, more[0] if more else {})
            else:  # the shape of before 1.0
                labels = read_labels(stream["labels"])
                for entry in stream["entries"]:
                    yield _document(labels, str(entry["ts"]), entry["line"], {})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a push of streams: {type(error).__name__} {error}") from error


def from_protobuf(body: bytes, largest: int | None) -> Iterator[bytes]:
    """The documents of a push; `largest`: octets it may unpack to, None: it is unpacked.

    Raises ValueError when it is not one, TooLarge when it unpacks to too much.
    """
    told = read(_PUSH, body if largest is None else unsnapped(body, largest))
    for stream in told.streams:
        labels = read_labels(stream.labels)
        for entry in stream.entries:
            stamp = entry.timestamp.seconds * 1_000_000_000 + entry.timestamp.nanos
            yield _document(labels, str(stamp), entry.line, {m.name: m.value for m in entry.metadata})


def read_labels(text: str) -> dict[str, str]:
    """``{job="sshd", host="c0"}`` as a mapping."""
    return {name: str(orjson.loads(value)) for name, value in _LABEL.findall(text)}


def _document(labels: Mapping[str, Any], stamp: str, line: str, more: Mapping[str, Any]) -> bytes:
    if not isinstance(line, str):
        raise TypeError("a line is text")
    return orjson.dumps({**labels, **more, "@timestamp": stamp, "message": line})


_PUSH = declared("loki", "Push", {
    "Timestamp": [("seconds", 1, "int64"), ("nanos", 2, "int32")],
    "Label": [("name", 1, "string"), ("value", 2, "string")],
    "Entry": [("timestamp", 1, "Timestamp"), ("line", 2, "string"), ("metadata", 3, "Label*")],
    "Stream": [("labels", 1, "string"), ("entries", 2, "Entry*")],
    "Push": [("streams", 1, "Stream*")],
})  # fmt: skip
