"""Loki's push: streams of lines with labels, as JSON or as protobuf packed by snappy. Labels are fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import cramjam
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from qnib.api.ingest.sender import admit, decoded, hand_in
from qnib.errors import TooLarge

router = APIRouter()
_LABEL = re.compile(r'\s*([^=,{}\s]+)\s*=\s*("(?:[^"\\]|\\.)*")')


@router.post("/loki/api/v1/push", status_code=204)
@router.post("/api/prom/push", status_code=204)
async def push(request: Request) -> Response:
    origin, body = await admit(request, "loki/http")
    largest = request.app.state.qnib.settings.http.max_body
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


def from_protobuf(body: bytes, largest: int) -> Iterator[bytes]:
    """The documents of a push. Raises ValueError when it is not one, TooLarge when it unpacks to too much."""
    try:
        if (size := cramjam.snappy.decompress_raw_len(body)) > largest:
            raise TooLarge(
                f"A body may have {largest} octets, this has {size}.", where="the request's body",
                try_next="send smaller batches, or raise http.max_body.",
            )
        told = _PUSH.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    except TooLarge:
        raise
    except Exception as error:  # each library has its own kinds of error, and says in words what is wrong
        raise ValueError(f"not a push in snappy and protobuf: {error}") from error
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


def _messages() -> Any:
    """Loki's PushRequest: four small messages, declared here from the field numbers of its protocol."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="qnib/loki.proto", package="qnib.loki", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, str, bool]) -> None:
        made = file.message_type.add(name=name)
        for field, number, kind, of, many in fields:
            label = kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL
            made.field.add(name=field, number=number, type=kind, type_name=of or None, label=label)

    text, whole, inner = kinds.TYPE_STRING, kinds.TYPE_INT64, kinds.TYPE_MESSAGE
    message("Timestamp", ("seconds", 1, whole, "", False), ("nanos", 2, kinds.TYPE_INT32, "", False))
    message("Label", ("name", 1, text, "", False), ("value", 2, text, "", False))
    message(
        "Entry", ("timestamp", 1, inner, ".qnib.loki.Timestamp", False), ("line", 2, text, "", False),
        ("metadata", 3, inner, ".qnib.loki.Label", True),
    )  # fmt: skip
    message("Stream", ("labels", 1, text, "", False), ("entries", 2, inner, ".qnib.loki.Entry", True))
    message("Push", ("streams", 1, inner, ".qnib.loki.Stream", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("qnib.loki.Push"))


_PUSH = _messages()
