"""Readers in Python fed with what nobody meant: they give records, or say what is wrong, and never anything else."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import cramjam
import orjson
import pytest
import whisper
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from qnib.api.ingest import elasticsearch, influx, lines, loki, nagios, otlp, otlp_metrics, prometheus
from qnib.api.ingest.numbers import bounded
from qnib.api.ingest.protobuf import read, unsnapped
from qnib.errors import QnibError, WrongUse
from qnib.monitoring import pickled, query, statsd
from qnib.monitoring.graphite import find, targets, times
from qnib.monitoring.storage import rules, whisper_files
from tests.fuzzing import one_of, rounds, text_of, tried

from .conftest import NOW

pytestmark = pytest.mark.filterwarnings("ignore:Possible.*:FutureWarning")
MOST = 4 << 20
REFUSED = (ValueError, QnibError)
"""What is answered with 4xx."""


def good_lines(lines: list[bytes]) -> None:
    """Each is a record by itself: no edge makes two lines of one, or a line that ends inside."""
    for line in lines:
        assert b"\n" not in line and b"\r" not in line, line
        assert len(line.split()) == 3 or line.startswith(b" "), line


# ── numbers ───────────────────────────────────────────────────────────────────────────────────

PICKLES = [
    pickle.dumps([("a.b.c;host=x", (1795176000, 1.5)), ("é", (1795176000.5, -2)), ("n", (10**30, True))], protocol)
    for protocol in range(6)
]


def test_pickles() -> None:
    for chance in rounds():
        for _ in range(200):
            frame = one_of(chance, PICKLES)
            found = tried((ValueError,), pickled.points, frame, MOST)
            if found:
                told, refused = found
                assert len(told) + len(refused) == len(pickled.decode(frame))


STATSD = [
    b"a.b:1|c", b"a:1:2:3|ms|@0.1", b"g:+5|g", b"g:-3.5e2|g|#host:c1,rack:r/1", b"s:user 1|s", b"a;k=v:1|h",
    b"n:1|c:2|c|@0.5:3|ms", b"_e{1,1}:a|b", b"x:1e200|ms", b"x:-1e200|ms", b"x:1e308|c|@0.0001", b"y:1e308|g",
]  # fmt: skip


def test_statsd() -> None:
    for chance in rounds():
        tally = statsd.Tally([90, -10, 99.9, 0, 100], 50)
        taken = 0
        for _ in range(300):
            line = one_of(chance, STATSD).split(b"\n")[0]
            for sample in tried((ValueError,), list, statsd.samples(line)) or []:
                taken += tried((ValueError,), tally.take, sample) is None
        told = list(tally.flush(10.0))
        good_lines([b"%b %a -1" % point for point in told])
        assert bool(told) >= bool(taken)
        assert list(tally.flush(10.0)) == [], "an interval is told once"


INFLUX = [
    b'cpu,host=c1 user=1.5,idle=98i,up=t 1795176000000000000\ncpu,host=c2 user=2\n',
    b'weather,location=us\\ midwest,k\\,=\\= temp="a \\"b\\" \n c",x=1u 1\n# comment\n\n m f=1e300',
]  # fmt: skip


def test_lines_of_influx_are_parted_and_none_is_lost() -> None:
    for chance in rounds():
        for _ in range(100):
            body = one_of(chance, INFLUX)
            parts = tried((), influx.split, body)
            assert b"".join(body.split()) == b"".join(b"".join(parts).split()), body
            for part in parts:
                influx.weigh(part)


def _prometheus() -> list[bytes]:
    write = prometheus._WRITE()
    for labels, value in (({"__name__": "up", "instance": "c1:9100"}, 1.0), ({"job": "x y", "": "z"}, float("nan"))):
        one = write.timeseries.add()
        for name, told in labels.items():
            one.labels.add(name=name, value=told)
        one.samples.add(value=value, timestamp=1795176000000)
        one.samples.add(value=float("inf"), timestamp=-(1 << 63))
        one.histograms.append(b"x")
    return [write.SerializeToString()]


def test_remote_write() -> None:
    samples = _prometheus()
    packed = [bytes(cramjam.snappy.compress_raw(one)) for one in samples]
    for chance in rounds():
        for _ in range(100):
            body = one_of(chance, samples)
            good_lines(tried(REFUSED, written, body) or [])
            tried(REFUSED, unsnapped, one_of(chance, packed), MOST)


def written(body: bytes) -> list[bytes]:
    return bounded(prometheus.lines(read(prometheus._WRITE, body)), MOST)


def _otlp_metrics() -> Any:
    told = ExportMetricsServiceRequest()
    resource = told.resource_metrics.add()
    resource.resource.attributes.add(key="host.name").value.string_value = "c1"
    resource.resource.attributes.add(key="list").value.array_value.values.add().int_value = 7
    scope = resource.scope_metrics.add()
    gauge = scope.metrics.add(name="g", unit="By").gauge.data_points.add(as_double=1e300, time_unix_nano=1 << 63)
    gauge.attributes.add(key="é \n;=").value.bytes_value = b"\xff"
    scope.metrics.add(name="s").sum.data_points.add(as_int=-(1 << 63))
    scope.metrics.add(name="h").histogram.data_points.add(
        count=3, sum=1.5, bucket_counts=[1, 2, 3, 4], explicit_bounds=[1, float("inf")], min=0
    )
    scope.metrics.add(name="e").exponential_histogram.data_points.add(count=(1 << 64) - 1, sum=float("nan"))
    scope.metrics.add(name="q").summary.data_points.add(count=1).quantile_values.add(quantile=0.5, value=3)
    return told


def test_otlp_metrics() -> None:
    from google.protobuf import json_format

    told = _otlp_metrics()
    octets, text = [told.SerializeToString()], [json_format.MessageToJson(told).encode()]
    for chance in rounds():
        for _ in range(60):
            for parse, samples in ((otlp_metrics.from_protobuf, octets), (otlp_metrics.from_json, text)):
                told = tried(REFUSED, parse, one_of(chance, samples))
                if told is not None:
                    good_lines(tried(REFUSED, lambda told: bounded(otlp_metrics.lines(told), MOST), told) or [])


PERFDATA = [
    "OK - load|load1=0.010;5.000;10.000;0; load5=0,5 'a b''c'=5%;80;90 x=U\nmore|y=1KB z=1e999s",
    "DATATYPE::SERVICEPERFDATA\tTIMET::1795176000\tHOSTNAME::c1\tSERVICEDESC::load\tSERVICEPERFDATA::a=1s;;;0\n",
]


def test_perfdata() -> None:
    for chance in rounds():
        for _ in range(100):
            text = text_of(chance, PERFDATA).encode("utf-8", "replace").decode()
            good_lines(tried((), nagios.read_output, text, "c1", "s v").lines)
            good_lines(tried((), nagios.read_files, text).lines)


# ── logs ──────────────────────────────────────────────────────────────────────────────────────

LOKI = [
    b'{"streams": [{"stream": {"host": "c1"}, "values": [["1795176000000000000", "a line", {"k": "v"}]]}]}',
    b'{"streams": [{"labels": "{job=\\"sshd\\", host=\\"c0\\"}", "entries": [{"ts": "2026-11-20T12:00:00Z",'
    b' "line": "x"}]}]}',
]  # fmt: skip


def _loki() -> list[bytes]:
    push = loki._PUSH()
    stream = push.streams.add(labels='{job="sshd", host="c0\\n"}')
    stream.entries.add(line="a line").timestamp.seconds = 1795176000
    stream.entries.add(line="\0").metadata.add(name="k", value="v")
    return [push.SerializeToString()]


def _otlp_logs() -> Any:
    told = ExportLogsServiceRequest()
    resource = told.resource_logs.add()
    resource.resource.attributes.add(key="host.name").value.string_value = "c1"
    record = resource.scope_logs.add().log_records.add(severity_number=9, time_unix_nano=(1 << 64) - 1, trace_id=b"x")
    record.body.kvlist_value.values.add(key="a").value.array_value.values.add().double_value = float("nan")
    return told


OTLP_JSON = (
    b'{"resourceLogs": [{"resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "c1"}}]},'
    b' "scopeLogs": [{"scope": {"name": "s"}, "logRecords": [{"timeUnixNano": "1795176000000000000",'
    b' "severityNumber": 9, "body": {"kvlistValue": {"values": [{"key": "a", "value":'
    b' {"arrayValue": {"values": [{"intValue": "7"}]}}}]}}}]}]}]}'
)


def test_logs_of_loki_and_otlp() -> None:
    pushes, requests = _loki(), [_otlp_logs().SerializeToString()]
    ways: list[tuple[Any, list[bytes]]] = [
        (lambda body: list(loki.from_json(body)), LOKI), (lambda body: list(loki.from_protobuf(body, None)), pushes),
        (lambda body: list(otlp.from_json(body)), [OTLP_JSON]), (lambda body: list(otlp.from_protobuf(body)), requests),
    ]  # fmt: skip
    for chance in rounds():
        for _ in range(60):
            for parse, samples in ways:
                for document in tried(REFUSED, parse, one_of(chance, samples)) or []:
                    assert isinstance(orjson.loads(document), dict)


BULK = [
    b'{"index":{"_index":"logs"}}\n{"message":"a","host":"c1"}\n{"create":{}}\n{"message":"b"}\n{"delete":{"_id":"1"}}\n',
    b'{"update":{"_index":"x"}}\n{"doc":{}}\n\n{"index":{}}\n[1]\n',
]


def test_bulks_and_documents() -> None:
    for chance in rounds():
        for _ in range(100):
            body = one_of(chance, BULK)
            found = tried((ValueError,), elasticsearch.read_bulk, body, "logs", 500)
            if found:
                documents, items = found
                refused = sum("error" in outcome for item in items for outcome in item.values())
                assert len(documents) + refused == len(items), "each has an outcome"
                assert all(isinstance(orjson.loads(one), dict) for one in documents)
                orjson.dumps(items)
            tried((ValueError,), lines.split, body)


# ── what people ask ───────────────────────────────────────────────────────────────────────────

TARGETS = [
    'aliasSub(sumSeries(servers.*.cpu.user), "(^.*$)", "\\1 A")', "a.b | scale(2) | alias('x')", "time(x, 60, y=True)",
    "seriesByTag('name=cpu', \"host=~c.*\")", "servers.{a,b{c,d}}.[0-9]*;k=v", "x(1e5,-.5,inf,None,true)", "a" * 200,
    "scale(" * 59 + "a" + ")" * 59, "a" + "|scale(1)" * 300, "x(" + "9" * 5000 + ")",
]  # fmt: skip


def depth(node: Any) -> int:
    deepest, todo = 0, [(node, 1)]
    while todo:
        one, at = todo.pop()
        deepest = max(deepest, at)
        if isinstance(one, targets.Call):
            todo += [(arg, at + 1) for arg in (*one.args, *one.named.values())]
    return deepest


def test_targets() -> None:
    for chance in rounds():
        for _ in range(100):
            target = text_of(chance, TARGETS)
            found = tried((WrongUse,), targets.parse, target)
            assert found is None or depth(found) < 200, "what is evaluated recursively must not be deep"
            tried((), targets.first_path, target)


TIMES = [
    "-1h", "now-6h", "1795176000", "14:30_20261120", "6pm", "monday", "12/30/20", "noon_yesterday", "-1d30min",
    "20261120", "jan1", "midnight+2d", "now+1y-3mon", "-" + "1a" * 3000, "1.5",
]  # fmt: skip


def test_times() -> None:
    for chance in rounds():
        for _ in range(200):
            text = text_of(chance, TIMES)
            tried((WrongUse,), times.moment, text, NOW, chance.choice(("", "UTC", "Europe/Berlin", text)))
            tried((ValueError,), times.seconds, text)


GLOBS = ["servers.{a,b}*.cpu.[us]*", "a.[!b].c", "[z-a]", "{a,{b,c}}.d", "a?c", "[!]", "[]", "{", "a.[^]].*"]
TAGS = ["name=cpu.used", "host=~compute.*", "host!=", "x!=~^$", "name=~(?=a)", "a=~" + "(" * 200, "a=~b{99999999999}"]


def test_globs_and_tag_expressions() -> None:
    for chance in rounds():
        for _ in range(200):
            glob = text_of(chance, GLOBS)
            tried((WrongUse,), find.glob_pattern, glob)
            find.last_segment(glob)
            tried((WrongUse,), find.tag_conditions, [text_of(chance, TAGS) for _ in range(chance.randrange(1, 3))])


QUERIES = [
    'host:compute[0-7] severity>=warning "out of memory"', "-kind:link.* OR (app:slurmd,slurmctld user:x)",
    "job:42 NOT a", "(" * 39 + "a" + ")" * 39, "-" * 39 + "a", "pattern:4711", "field.x:~'y'", "tag:hardware time>=-1h",
    "host:c[0-99999999]",
]  # fmt: skip


def test_event_queries() -> None:
    for chance in rounds():
        for _ in range(200):
            text = text_of(chance, QUERIES)
            found = tried((WrongUse,), query.parse, text)
            if found is not None:
                assert str(query.parse(str(found))) == str(found), "what is understood can be written"


# ── files ─────────────────────────────────────────────────────────────────────────────────────

SCHEMAS = [
    b"[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n\n[default]\nmatch-all = true\n"
    b"retentions = 10s:6h,1min:7d,1h:5y\n",
    b"[DEFAULT]\npattern = x\n[a]\nretentions = 1s:1y,60s:2y\npattern = (\n",
]
AGGREGATIONS = [
    b"[min]\npattern = \\.min$\nxFilesFactor = 0.1\naggregationMethod = min\n[all]\npattern = .*\nxFilesFactor = 0\n"
]


def test_storage_rules(tmp_path: Path) -> None:
    from types import SimpleNamespace

    schemas, aggregation = tmp_path / "schemas", tmp_path / "aggregation"
    for chance in rounds():
        for _ in range(20):
            schemas.write_bytes(one_of(chance, SCHEMAS))
            aggregation.write_bytes(one_of(chance, AGGREGATIONS))
            rules._read.cache_clear()
            storage = SimpleNamespace(schemas=schemas, aggregation=aggregation, drop_raw=False)
            found = tried((WrongUse,), rules.rules_of, SimpleNamespace(storage=storage, aggregates={}))
            if found:
                found.of("a.b.min")
                assert found.fingerprint


def test_whisper_files(tmp_path: Path) -> None:
    made = tmp_path / "made.wsp"
    whisper.create(str(made), [(60, 100), (600, 50)])
    whisper.update_many(str(made), [(1795176000 - 60 * n, n) for n in range(90)], now=1795176000)
    file = tmp_path / "mutated.wsp"
    rule = rules.Rule((rules.Archive(60, 1440), rules.Archive(3600, 720)))
    for chance in rounds():
        for _ in range(50):
            sample = made.read_bytes()
            head = one_of(chance, [sample[:40]])
            file.write_bytes(head + sample[40:] if chance.random() < 0.7 else one_of(chance, [sample]))
            stored = tried((whisper_files.Unreadable,), whisper_files.archives, file)
            if stored:
                taken = tried((), whisper_files.take, stored, chance.choice((rule, rules.Rule())))
                assert all(map(math.isfinite, (value for _, value in taken.points)))
