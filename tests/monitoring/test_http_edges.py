"""Events over HTTP: Elasticsearch's shape, Loki's push, OTLP, JSON and GELF; who may send, how much, and what fails."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import timedelta
from typing import Any

import cramjam
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from qnib import clusters
from qnib.api.ingest.loki import _PUSH
from qnib.settings import FloodLimit
from qnib.settings import Spool as SpoolLimits

from .conftest import NOW, TOKEN, Plant

pytestmark = pytest.mark.engine
COLUMNS = "cluster, time, host, app, severity, message, fields, sender, listener"
AN_HOUR_AGO = NOW - timedelta(hours=1)
NANOS = "1795172400250000000"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def events(plant: Plant) -> list[dict[str, Any]]:
    return plant.rows(f"SELECT {COLUMNS} FROM qnib.events ORDER BY time, message")


def told(plant: Plant) -> list[str]:
    return [event["message"] for event in events(plant)]


def ndjson(*lines: Any) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


# ── Elasticsearch ─────────────────────────────────────────────────────────────────────────────


def test_a_bulk_of_filebeats(plant: Plant) -> None:
    document = {
        "@timestamp": "2026-11-20T11:00:00.250Z", "message": "hello", "log": {"level": "error", "offset": 12},
        "host": {"name": "c0"}, "agent": {"type": "filebeat"}, "process": {"name": "sshd"}, "ecs": {"version": "8.0"},
    }  # fmt: skip
    body = ndjson({"create": {"_index": "filebeat-8.17.0"}}, document, {"index": {"_id": "own"}}, {"message": "second"})
    answer = plant.post("/_bulk", body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200
    assert answer.headers["X-Elastic-Product"] == "Elasticsearch"
    assert not answer.json()["errors"]
    created, indexed = answer.json()["items"]
    assert (created["create"]["status"], created["create"]["_index"]) == (201, "filebeat-8.17.0")
    assert (indexed["index"]["status"], indexed["index"]["_id"]) == (201, "own")
    first, second = events(plant)
    assert first == {
        "cluster": "demo", "time": AN_HOUR_AGO + timedelta(milliseconds=250), "host": "c0", "app": "sshd",
        "severity": "err", "message": "hello", "sender": "127.0.0.1", "listener": "elasticsearch/http",
        "fields": {"log.offset": "12", "agent.type": "filebeat", "ecs.version": "8.0"},
    }  # fmt: skip
    assert (second["message"], second["time"]) == ("second", NOW)


def test_each_item_of_a_bulk_has_its_outcome(plant: Plant) -> None:
    body = ndjson(
        {"create": {}}, {"message": "good 1"}, {"create": {}}, b'{"message": "cut', {"delete": {"_id": "x"}},
        {"create": {}}, b"[1]", {"update": {"_id": "x"}}, {"doc": {}}, {"index": {}}, {"message": "x" * 30_000},
        {"create": {"_index": "own"}}, {"message": "good 2"},
    )  # fmt: skip
    answer = plant.post("/logs/_bulk", body).json()
    assert answer["errors"]
    outcomes = [
        (name, item["status"], item.get("error", {}).get("reason"))
        for items in answer["items"] for name, item in items.items()
    ]  # fmt: skip
    assert outcomes == [
        ("create", 201, None), ("create", 400, "it is not a JSON object"), ("delete", 400, "events cannot be deleted"),
        ("create", 400, "it is not a JSON object"), ("update", 400, "update is not supported"),
        ("index", 400, "longer than 20000 octets"), ("create", 201, None),
    ]  # fmt: skip
    assert [item["create"]["_index"] for item in answer["items"] if "create" in item] == ["logs"] * 3 + ["own"]
    assert told(plant) == ["good 1", "good 2"]


@pytest.mark.parametrize("body", [b"no json\n{}\n", b'{"create":{}}\n', b"[1]\n{}\n", b'{"a":1,"b":2}\n{}\n'])
def test_a_bulk_that_does_not_pair_is_refused_whole(plant: Plant, body: bytes) -> None:
    answer = plant.post("/_bulk", body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"what", "where", "try_next"}
    assert told(plant) == []


def test_two_halves_are_no_document(plant: Plant) -> None:
    """Together they would be JSON; each alone is not."""
    body = ndjson({"create": {}}, b'{"message":"a","b":[1', {"create": {}}, b'2]}', {"create": {}}, b'{"c":1},{"d":2}')
    answer = plant.post("/_bulk", body).json()
    assert [item["create"]["status"] for item in answer["items"]] == [400, 400, 400]


def test_what_clients_ask_before_they_send(plant: Plant) -> None:
    asked = [
        ("GET", "/"), ("HEAD", "/"), ("GET", "/_license"), ("GET", "/_xpack"), ("GET", "/_cluster/health"),
        ("GET", "/_nodes/_all/http"), ("HEAD", "/_index_template/x"), ("PUT", "/_index_template/x"),
        ("PUT", "/_template/x"), ("GET", "/_ilm/policy/x"), ("PUT", "/_ilm/policy/x"), ("PUT", "/_ingest/pipeline/x"),
        ("HEAD", "/filebeat-8"), ("GET", "/elasticsearch/"), ("PUT", "/_component_template/x"),
    ]  # fmt: skip
    answers = plant.http(*((method, path, {"headers": BEARER}) for method, path in asked))
    assert [answer.status_code for answer in answers] == [200] * len(asked)
    assert answers[0].json()["version"]["number"].split(".")[0] == "8"
    assert answers[3].json()["license"]["mode"] == "basic"
    assert answers[7].json() == {"acknowledged": True}


JOB = {
    "jobid": 701, "username": "alice", "user_id": 1001, "@submit": "2026-11-20T10:00:00", "@start":
    "2026-11-20T10:00:10", "@end": "2026-11-20T10:20:00", "state": "COMPLETED", "nodes": "n[1-2]", "exit_code": "0:0",
}  # fmt: skip


def test_one_document_and_a_finished_job(plant: Plant) -> None:
    plain = plant.post("/site/_doc", {"message": "hello", "host": "c0"})
    assert (plain.status_code, plain.json()["result"]) == (201, "created")
    named = plant.post("/site/_doc/7", {"message": "named"})
    assert named.json()["_id"] == "7"
    assert plant.post("/site/_doc", b"[1]").status_code == 400
    assert plant.post("/slurm/_doc", JOB).status_code == 201
    both = plant.post("/_bulk", ndjson({"index": {"_index": "slurm"}}, JOB, {"create": {}}, {"message": "third"}))
    assert [next(iter(item.values()))["status"] for item in both.json()["items"]] == [201, 201]
    assert sorted(told(plant)) == ["hello", "named", "third"]
    heads = [json.loads(record.body.partition(b"\n")[0]) for record in plant.captured]
    assert [(head["domain"], head["capture"]) for head in heads] == [("slurm", "jobcomp")] * 2
    assert json.loads(plant.captured[0].body.partition(b"\n")[2]) == JOB


def test_the_token_for_finished_jobs_is_good_for_nothing_else(plant: Plant) -> None:
    lab = clusters.Cluster("lab", ingest_token="lab-token")
    clusters.save(plant.settings.clusters, lab)
    headers = {"Authorization": "Basic " + base64.b64encode(f"slurmctld:{lab.jobs_token}".encode()).decode()}
    job, other = json.dumps(JOB).encode(), b'{"message": "forged"}'
    asked = [("/slurm/_doc", job), ("/slurm/_doc", other), ("/_bulk", other), ("/ingest/json", other)]
    answers = plant.http(*(("POST", path, {"content": body, "headers": headers}) for path, body in asked))
    assert [answer.status_code for answer in answers] == [201, 403, 401, 401]
    assert [record.cluster for record in plant.captured] == ["lab"]
    lab.details["jobs_from"] = "10.0.0.2"
    clusters.save(plant.settings.clusters, lab)
    (answer,) = plant.http(("POST", "/slurm/_doc", {"content": job, "headers": headers}))
    assert answer.status_code == 403
    assert told(plant) == []


# ── Loki ──────────────────────────────────────────────────────────────────────────────────────


def _is_lokis(plant: Plant) -> None:
    first, second = events(plant)
    assert first == {
        "cluster": "demo", "time": AN_HOUR_AGO + timedelta(milliseconds=250), "host": "c0", "app": "sshd",
        "severity": "warning", "message": "hello\nworld", "sender": "127.0.0.1", "listener": "loki/http",
        "fields": {"filename": '/var/log/"x"', "trace": "abc"},
    }  # fmt: skip
    assert (second["message"], second["fields"]) == ("second", {"filename": '/var/log/"x"'})


LABELS = {"job": "sshd", "host": "c0", "filename": '/var/log/"x"', "detected_level": "warn"}


@pytest.mark.parametrize("pack", [False, True])
def test_lokis_push_as_json(plant: Plant, pack: bool) -> None:
    later = str(int(NANOS) + 1_000_000)
    push = {"streams": [{"stream": LABELS, "values": [[NANOS, "hello\nworld", {"trace": "abc"}], [later, "second"]]}]}
    body, headers = json.dumps(push).encode(), {"Content-Type": "application/json"}
    if pack:
        body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    assert plant.post("/loki/api/v1/push", body, headers=headers).status_code == 204
    _is_lokis(plant)


def test_lokis_push_as_protobuf(plant: Plant) -> None:
    push = _PUSH()
    stream = push.streams.add(labels="{" + ", ".join(f"{k}={json.dumps(v)}" for k, v in LABELS.items()) + "}")
    for line, plus, more in (("hello\nworld", 0, {"trace": "abc"}), ("second", 1_000_000, {})):
        entry = stream.entries.add(line=line, timestamp={"seconds": 1795172400, "nanos": 250_000_000 + plus})
        for name, value in more.items():
            entry.metadata.add(name=name, value=value)
    body = bytes(cramjam.snappy.compress_raw(push.SerializeToString()))
    headers = {"Content-Type": "application/x-protobuf"}
    assert plant.post("/loki/api/v1/push", body, headers=headers).status_code == 204
    _is_lokis(plant)


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"streams": 7}', b'{"streams": [{"stream": {}, "values": [[1]]}]}', b"\xff" * 40]
)
def test_a_push_that_is_none(plant: Plant, kind: str, body: bytes) -> None:
    answer = plant.post("/loki/api/v1/push", body, headers={"Content-Type": kind})
    assert answer.status_code in {400, 413}
    assert told(plant) == []


# ── OTLP ──────────────────────────────────────────────────────────────────────────────────────


def attribute(name: str, **value: Any) -> dict[str, Any]:
    return {"key": name, "value": value}


OTLP = {"resourceLogs": [{
    "resource": {"attributes": [
        attribute("service.name", stringValue="solver"), attribute("host.name", stringValue="c0"),
    ]},
    "scopeLogs": [{"scope": {"name": "lib"}, "logRecords": [
        {"timeUnixNano": NANOS, "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": "it broke"},
         "attributes": [attribute("step", intValue="31"),
                        attribute("list", arrayValue={"values": [{"boolValue": True}, {"doubleValue": 0.5}]})],
         "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"},
        {"observedTimeUnixNano": NANOS, "body": {"kvlistValue": {"values": [attribute("k", stringValue="v")]}}},
    ]}],
}]}  # fmt: skip


def _is_otlps(plant: Plant) -> None:
    broke = next(event for event in events(plant) if event["message"] == "it broke")
    assert broke == {
        "cluster": "demo", "time": AN_HOUR_AGO + timedelta(milliseconds=250), "host": "c0", "app": "solver",
        "severity": "err", "message": "it broke", "sender": "127.0.0.1", "listener": "otlp/http",
        "fields": {"step": "31", "list": "[true,0.5]", "otel.scope": "lib", "span_id": "eee19b7ec3c1b174",
                   "trace_id": "5b8efff798038103d269b633813fc60c"},
    }  # fmt: skip
    assert sorted(told(plant)) == ["it broke", '{"k":"v"}']


def test_otlp_as_json(plant: Plant) -> None:
    answer = plant.post("/v1/logs", OTLP, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, "application/json")
    _is_otlps(plant)


def test_otlp_as_protobuf(plant: Plant) -> None:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    for name, value in (("service.name", "solver"), ("host.name", "c0")):
        resource.resource.attributes.add(key=name).value.string_value = value
    scope = resource.scope_logs.add()
    scope.scope.name = "lib"
    record = scope.log_records.add(
        time_unix_nano=int(NANOS), severity_number=17, trace_id=bytes.fromhex("5b8efff798038103d269b633813fc60c"),
        span_id=bytes.fromhex("eee19b7ec3c1b174"),
    )  # fmt: skip
    record.body.string_value = "it broke"
    record.attributes.add(key="step").value.int_value = 31
    values = record.attributes.add(key="list").value.array_value.values
    values.add().bool_value = True
    values.add().double_value = 0.5
    other = scope.log_records.add(observed_time_unix_nano=int(NANOS))
    other.body.kvlist_value.values.add(key="k").value.string_value = "v"
    body = gzip.compress(request.SerializeToString())
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    answer = plant.post("/v1/logs", body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportLogsServiceResponse.FromString(answer.content) == ExportLogsServiceResponse()
    _is_otlps(plant)


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_a_request_that_is_no_export(plant: Plant, kind: str) -> None:
    assert plant.post("/v1/logs", b'{"resourceLogs": [7]}', headers={"Content-Type": kind}).status_code == 400


# ── JSON and GELF ─────────────────────────────────────────────────────────────────────────────


def test_json_in_any_arrangement(plant: Plant) -> None:
    bodies: list[bytes] = [
        ndjson({"message": "a"}, {"message": "b"}), b'[{"message": "c"}, {"message": "d"}]',
        json.dumps({"message": "e"}, indent=1).encode(), ndjson({"message": "f"}, b"no json"),
    ]  # fmt: skip
    assert [plant.post("/ingest/json", body).json()["acknowledged"] for body in bodies] == [2, 2, 1, 2]
    assert sorted(told(plant)) == list("abcdef")
    assert plant.rejects() == [("not a JSON object", "no json")]
    assert plant.post("/ingest/json", b'[{"message": ').status_code == 400


def test_gelf_by_http(plant: Plant) -> None:
    assert plant.post("/gelf", {"short_message": "hi", "host": "c0", "_app": "x"}).status_code == 202
    assert [(e["app"], e["message"], e["listener"]) for e in events(plant)] == [("x", "hi", "gelf/http")]
    assert plant.post("/gelf", b"hi").status_code == 400


# ── who, how much, what then ──────────────────────────────────────────────────────────────────

PATHS = ("/_bulk", "/x/_doc", "/loki/api/v1/push", "/v1/logs", "/ingest/json", "/gelf", "/elasticsearch/_bulk")


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sends_without_a_token(plant: Plant, path: str) -> None:
    answers = plant.http(
        ("POST", path, {"content": b'{"message": "forged"}'}),
        ("POST", path, {"content": b'{"message": "forged"}', "headers": {"Authorization": "Bearer wrong"}}),
        ("POST", f"/token/wrong{path}", {"content": b'{"message": "forged"}'}),
    )
    assert [answer.status_code for answer in answers] == [401] * 3
    assert "wrong" not in answers[2].text
    assert told(plant) == []


def test_every_way_to_carry_a_token_and_whose_events_they_are(plant: Plant) -> None:
    clusters.save(plant.settings.clusters, clusters.Cluster("lab", ingest_token="lab-token"))

    def basic(word: str) -> str:
        return base64.b64encode(word.encode()).decode()

    ways: list[tuple[str, dict[str, str]]] = [
        ("/ingest/json", {"Authorization": "Bearer lab-token"}),
        ("/ingest/json", {"Authorization": f"Basic {basic('anybody:lab-token')}"}),
        ("/ingest/json", {"Authorization": f"ApiKey {basic('id:lab-token')}"}),
        ("/ingest/json", {"X-QNIB-Token": "lab-token"}),
        ("/ingest/json?token=lab-token", {}),
        ("/token/lab-token/ingest/json", {}),
        ("/ingest/json?cluster=lab", BEARER),
    ]
    answers = plant.http(
        *(("POST", path, {"content": b'{"message": "m"}', "headers": headers}) for path, headers in ways)
    )
    assert [answer.status_code for answer in answers] == [202] * len(ways)
    assert [event["cluster"] for event in events(plant)] == ["lab"] * len(ways)


def test_a_body_that_is_too_long_also_when_packed(plant: Plant) -> None:
    plant.settings.http.max_body = 10_000
    packed = {"Content-Encoding": "gzip"}
    bomb = gzip.compress(b"\n" * 50_000)
    push = bytes(cramjam.snappy.compress_raw(b"x" * 50_000))
    assert plant.post("/ingest/json", b"x" * 10_001).status_code == 413
    assert plant.post("/ingest/json", bomb, headers=packed).status_code == 413
    assert plant.post("/loki/api/v1/push", push, headers={"Content-Type": "application/x-protobuf"}).status_code == 413
    assert plant.post("/ingest/json", bomb[:20], headers=packed).status_code == 400
    assert plant.post("/ingest/json", b"{}", headers={"Content-Encoding": "br"}).status_code == 400


def test_a_full_spool_sends_them_away_for_a_while(plant: Plant) -> None:
    plant.settings.spool = SpoolLimits(max_bytes=0, rotate_bytes=100)
    first = plant.post("/ingest/json", {"message": "fills it"})
    assert first.status_code == 202
    plant.spool_only("json/udp", b'{"message": "waits"}')
    second = plant.http(("POST", "/_bulk", {"content": ndjson({"create": {}}, {"message": "m"}), "headers": BEARER}))[0]
    assert (second.status_code, second.headers["Retry-After"]) == (503, "5")


def test_a_flood_is_sent_away_for_a_while(plant: Plant) -> None:
    plant.settings.flood = FloodLimit(octets_per_second=10, burst=3000)
    body = json.dumps({"message": "x" * 1500}).encode()
    answers = plant.http(*[("POST", "/ingest/json", {"content": body, "headers": BEARER})] * 3)
    assert [answer.status_code for answer in answers] == [202, 429, 429]
    assert 10 < int(answers[1].headers["Retry-After"]) < 20
    said = [event for event in events(plant) if event["app"] == "qnib"]
    assert [event["severity"] for event in said] == ["warning"], "it is told once"
    assert said[0]["message"].startswith("127.0.0.1 sends more than 10 octets a second by json/http")
