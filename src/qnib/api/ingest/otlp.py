"""OTLP/HTTP logs: OpenTelemetry's export request, as protobuf or as JSON; resource and record attributes are fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from qnib.api.ingest.sender import admit, decoded, hand_in

router = APIRouter()
_LEVELS = ("debug", "debug", "info", "warning", "err", "crit")
"""By (severity number - 1) / 4: TRACE, DEBUG, INFO, WARN, ERROR, FATAL."""


@router.post("/v1/logs")
async def logs(request: Request) -> Response:
    """Answers in the encoding it was asked in."""
    origin, body = await admit(request, "otlp/http")
    is_json = request.headers.get("content-type", "").startswith("application/json")
    documents = await decoded(lambda: list(from_json(body) if is_json else from_protobuf(body)), len(body))
    await hand_in(request, origin, documents)
    if is_json:
        return Response(b"{}", media_type="application/json")
    return Response(ExportLogsServiceResponse().SerializeToString(), media_type="application/x-protobuf")


def from_protobuf(body: bytes) -> Iterator[bytes]:
    """The documents of a request. Raises ValueError when it is none."""
    try:
        told = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"not an export request in protobuf: {error}") from error
    for resource in told.resource_logs:
        about = {pair.key: any_value(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield _document(
                    about, scope.scope.name, {pair.key: any_value(pair.value) for pair in record.attributes},
                    record.time_unix_nano or record.observed_time_unix_nano, record.severity_number,
                    record.severity_text, any_value(record.body), record.trace_id.hex(), record.span_id.hex(),
                )  # fmt: skip


def from_json(body: bytes) -> Iterator[bytes]:
    """The documents of a request. Raises ValueError when it is none."""
    told = orjson.loads(body)
    try:
        for resource in told["resourceLogs"]:
            about = _pairs(resource.get("resource", {}).get("attributes", []))
            for scope in resource.get("scopeLogs", []):
                for record in scope.get("logRecords", []):
                    yield _document(
                        about, scope.get("scope", {}).get("name", ""), _pairs(record.get("attributes", [])),
                        int(record.get("timeUnixNano") or record.get("observedTimeUnixNano") or 0),
                        int(record.get("severityNumber") or 0), record.get("severityText", ""),
                        _json_value(record.get("body", {})), record.get("traceId", ""), record.get("spanId", ""),
                    )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an export request: {type(error).__name__} {error}") from error


def _document(
    about: Mapping[str, Any], scope: str, attributes: Mapping[str, Any], nanos: int, number: int, word: str, body: Any,
    trace: str, span: str,
) -> bytes:  # fmt: skip
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    level = _LEVELS[(number - 1) // 4] if 1 <= number <= 24 else word
    told = {"otel.scope": scope, "trace_id": trace, "span_id": span}
    return orjson.dumps({
        **about, **attributes, **{name: value for name, value in told.items() if value},
        "@timestamp": str(nanos) if nanos else "", "level": level, "message": text,
    })  # fmt: skip


def any_value(value: Any) -> Any:
    """An AnyValue as JSON has it; octets as hexadecimal digits."""
    match value.WhichOneof("value"):
        case "array_value":
            return [any_value(one) for one in value.array_value.values]
        case "kvlist_value":
            return {pair.key: any_value(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return value.bytes_value.hex()
        case None:
            return ""
        case kind:
            return getattr(value, kind)


def _pairs(pairs: Any) -> dict[str, Any]:
    return {str(pair["key"]): _json_value(pair.get("value", {})) for pair in pairs}


def _json_value(value: Mapping[str, Any]) -> Any:
    for kind, told in value.items():
        match kind:
            case "arrayValue":
                return [_json_value(one) for one in told.get("values", [])]
            case "kvlistValue":
                return _pairs(told.get("values", []))
            case _:
                return told
    return ""
