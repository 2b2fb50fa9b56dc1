"""OTLP metrics: each kind of point as protobuf and JSON, whose they are, what is none; OpenTelemetry's exporter."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from .conftest import LOOPBACK, NOW, TOKEN, Plant
from .live import served
from .test_carbon import values
from .test_influx import told

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())
AT = str(T * 10**9 + 500_000_000)


def attribute(name: str, **value: Any) -> dict[str, Any]:
    return {"key": name, "value": value}


RESOURCE = {"attributes": [
    attribute("host.name", stringValue="c0"), attribute("service.name", stringValue="solver"),
    attribute("telemetry.sdk.name", stringValue="opentelemetry"), attribute("process.pid", intValue="42"),
]}  # fmt: skip
WHOSE = ";host=c0;process.pid=42;service.name=solver"
METRICS = [
    {"name": "system.memory.usage", "unit": "By", "gauge": {"dataPoints": [
        {"timeUnixNano": AT, "asInt": "1024", "attributes": [attribute("state", stringValue="used up;x")]},
        {"timeUnixNano": AT, "asDouble": 0.5, "attributes": [attribute("on", boolValue=True)]},
        {"timeUnixNano": AT, "flags": 1}, {"timeUnixNano": AT}, {"timeUnixNano": AT, "asDouble": "NaN"},
    ]}},
    {"name": "requests", "unit": "{request}", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [
        {"asInt": "7"},
    ]}},
    {"name": "took", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
        {"timeUnixNano": AT, "count": "6", "sum": 12.5, "min": 0.1, "explicitBounds": [0.5, 1],
         "bucketCounts": ["1", "2", "3"]},
    ]}},
    {"name": "exp", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
        {"timeUnixNano": AT, "count": "3", "sum": 6, "scale": 1, "positive": {"offset": 0, "bucketCounts": ["1", "2"]}},
    ]}},
    {"name": "asked", "summary": {"dataPoints": [
        {"timeUnixNano": AT, "count": "4", "sum": 2, "quantileValues": [{"quantile": 0.99, "value": 0.75}]},
    ]}},
    {"name": "nothing"},
]  # fmt: skip
REQUEST = {"resourceMetrics": [
    {"resource": RESOURCE, "scopeMetrics": [{"scope": {"name": "lib"}, "metrics": METRICS}]},
    {"scopeMetrics": [{"metrics": [
        {"name": "bare", "gauge": {"dataPoints": [{"asDouble": 1}, {"asDouble": "Infinity"}]}},
    ]}]},
]}  # fmt: skip


def _is_all(plant: Plant) -> None:
    assert told(plant) == {
        f"system.memory.usage{WHOSE};state=used_up_x;unit=By": 1024.0,
        "system.memory.usage;host=c0;on=true;process.pid=42;service.name=solver;unit=By": 0.5,
        f"requests{WHOSE}": 7.0,
        f"took.count{WHOSE};unit=s": 6.0, f"took.sum{WHOSE};unit=s": 12.5, f"took.min{WHOSE};unit=s": 0.1,
        "took.bucket;host=c0;le=0.5;process.pid=42;service.name=solver;unit=s": 1.0,
        "took.bucket;host=c0;le=1;process.pid=42;service.name=solver;unit=s": 3.0,
        "took.bucket;host=c0;le=+Inf;process.pid=42;service.name=solver;unit=s": 6.0,
        f"exp.count{WHOSE}": 3.0, f"exp.sum{WHOSE}": 6.0,
        f"asked.count{WHOSE}": 4.0, f"asked.sum{WHOSE}": 2.0,
        "asked;host=c0;process.pid=42;quantile=0.99;service.name=solver": 0.75,
        "bare": 1.0,
    }  # fmt: skip
    assert values(plant, f"requests{WHOSE}") == [(T, 7.0)], "without a time it has that of its arrival"
    assert plant.rejects() == [("the value is not finite", "bare inf -1.000")]
    assert plant.rows("SELECT DISTINCT sender, listener FROM qnib.rejects") == [
        {"sender": "127.0.0.1", "listener": "otlp/http"}
    ]


def test_as_json(plant: Plant) -> None:
    answer = plant.post("/v1/metrics", REQUEST, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, "application/json")
    _is_all(plant)


def test_as_protobuf(plant: Plant) -> None:
    request = json_format.ParseDict(REQUEST, ExportMetricsServiceRequest())
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    answer = plant.post("/v1/metrics", gzip.compress(request.SerializeToString()), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportMetricsServiceResponse.FromString(answer.content) == ExportMetricsServiceResponse()
    _is_all(plant)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"resourceMetrics": [7]}'),
        ("application/json", b"no json"), ("application/json", b"[7]"),
        ("application/json", b'{"resourceMetrics":' + b"[" * 100_000), ("application/json", b"\xff\xfe"),
        ("application/json", b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "\\ud800", "gauge":'
                             b' {"dataPoints": [{"asInt": 1}]}}]}]}]}'),
        ("application/x-protobuf", b"\xff" * 40), ("application/x-protobuf", b'{"resourceMetrics": []}'),
    ],
)  # fmt: skip
def test_a_request_that_is_no_export(plant: Plant, kind: str, body: bytes) -> None:
    assert plant.post("/v1/metrics", body, headers={"Content-Type": kind}).status_code == 400
    assert told(plant) == {}


def test_nobody_sends_without_a_token(plant: Plant) -> None:
    sent = {"json": REQUEST}
    answers = plant.http(("POST", "/v1/metrics", sent), ("POST", "/token/wrong/v1/metrics", sent))
    assert [answer.status_code for answer in answers] == [401, 401]


def test_opentelemetrys_exporter(plant: Plant) -> None:
    with served(plant) as live:
        exporter = OTLPMetricExporter(
            f"http://{LOOPBACK}:{live.http}/v1/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
        )
        provider = MeterProvider(
            [PeriodicExportingMetricReader(exporter, 60_000)], Resource({"service.name": "solver", "host.name": "c0"})
        )
        meter = provider.get_meter("lib")
        meter.create_counter("steps").add(31, {"kind": "outer"})
        meter.create_histogram("step.duration", "ms").record(12.5)
        meter.create_observable_gauge("residual", [lambda options: [_observed(0.25)]])
        provider.shutdown()
        live.until(lambda: "residual;host=c0;service.name=solver" in told(plant))
    found = told(plant)
    assert found["steps;host=c0;kind=outer;service.name=solver"] == 31.0
    assert found["residual;host=c0;service.name=solver"] == 0.25
    assert found["step.duration.sum;host=c0;service.name=solver;unit=ms"] == 12.5
    assert found["step.duration.bucket;host=c0;le=25;service.name=solver;unit=ms"] == 1.0
    assert found["step.duration.bucket;host=c0;le=10;service.name=solver;unit=ms"] == 0.0
    assert plant.rejects() == []


def _observed(value: float) -> Any:
    from opentelemetry.metrics import Observation

    return Observation(value)
