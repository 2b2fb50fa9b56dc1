"""OTLP/HTTP metrics: OpenTelemetry's export request, as protobuf or as JSON; attributes are tags, of the resource, too.

A histogram is ``NAME.count``, ``.sum``, ``.min``, ``.max`` and ``NAME.bucket;le=BOUND`` (so many at or below it), a
summary the first two and ``NAME;quantile=Q``. Of exponential histograms the buckets are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from qnib.api.ingest.numbers import MOST_TIMES, bounded, hand_in_numbers, line, series
from qnib.api.ingest.otlp import any_value
from qnib.api.ingest.protobuf import read
from qnib.api.ingest.sender import admit, decoded

router = APIRouter()
_NOT_WHOSE = ("telemetry.", "process.command", "process.runtime.", "process.executable.path", "os.")
"""Attributes of a resource that say how it was made, not which it is."""
_OURS = {"host.name": "host"}
_NO_VALUE = 1  # the flag of a point that says that there is none


@router.post("/v1/metrics")
async def metrics(request: Request) -> Response:
    """Answers in the encoding it was asked in."""
    origin, body = await admit(request, "otlp/http")
    is_json = request.headers.get("content-type", "").startswith("application/json")
    most = MOST_TIMES * request.app.state.qnib.settings.http.max_body
    points = await decoded(
        lambda: bounded(lines(from_json(body) if is_json else from_protobuf(body)), most), len(body)
    )
    await hand_in_numbers(request, origin, points)
    if is_json:
        return Response(b"{}", media_type="application/json")
    return Response(ExportMetricsServiceResponse().SerializeToString(), media_type="application/x-protobuf")


def from_protobuf(body: bytes) -> Any:
    """A request. Raises ValueError when it is none."""
    return read(ExportMetricsServiceRequest, body)


def from_json(body: bytes) -> Any:
    """A request. Raises ValueError when it is none."""
    try:
        return json_format.Parse(body, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an export request: {str(error)[:200]}") from error


def lines(told: Any) -> Iterator[bytes]:
    """The points of a request; those that say that there is no value are none."""
    for resource in told.resource_metrics:
        told_of = _tags(resource.resource.attributes)
        whose = {name: value for name, value in told_of.items() if not name.startswith(_NOT_WHOSE)}
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from _metric(metric, whose)


def _metric(metric: Any, whose: Mapping[str, str]) -> Iterator[bytes]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    unit = {} if metric.unit in {"", "1"} or metric.unit.startswith("{") else {"unit": metric.unit}
    for point in getattr(metric, kind).data_points:
        if point.flags & _NO_VALUE:
            continue
        tags = {**whose, **_tags(point.attributes), **unit}
        seconds = point.time_unix_nano / 1e9 if point.time_unix_nano else None
        for suffix, more, value in _NUMBERS[kind](point):
            if not math.isnan(value):
                yield line(series(metric.name + suffix, {**tags, **more}), value, seconds)


Numbers = Iterator[tuple[str, dict[str, str], float]]
"""What a point becomes: an end of the name, tags of its own, a value."""


def _number(point: Any) -> Numbers:
    if kind := point.WhichOneof("value"):
        yield "", {}, float(getattr(point, kind))


def _histogram(point: Any) -> Numbers:
    yield ".count", {}, float(point.count)
    for name in ("sum", "min", "max"):
        if point.HasField(name):
            yield f".{name}", {}, getattr(point, name)


def _with_buckets(point: Any) -> Numbers:
    yield from _histogram(point)
    bounds = [*(f"{bound:g}" for bound in point.explicit_bounds), "+Inf"]
    for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=False):
        yield ".bucket", {"le": bound}, float(count)


def _summary(point: Any) -> Numbers:
    yield ".count", {}, float(point.count)
    yield ".sum", {}, point.sum
    for one in point.quantile_values:
        yield "", {"quantile": f"{one.quantile:g}"}, one.value


_NUMBERS = {
    "gauge": _number, "sum": _number, "histogram": _with_buckets, "exponential_histogram": _histogram,
    "summary": _summary,
}  # fmt: skip


def _tags(pairs: Any) -> dict[str, str]:
    return {_OURS.get(pair.key, pair.key): _text(any_value(pair.value)) for pair in pairs}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
