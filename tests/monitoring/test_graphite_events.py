"""Events posted as to graphite-web: kept as events like any other, and answered as a real graphite-web answers them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from qnib import clusters
from qnib.api import graphite, graphite_events, read
from qnib.api.errors import show_errors
from qnib.context.search import Search
from qnib.inventory.facts import Facts
from qnib.monitoring import events as event_store
from qnib.monitoring.patterns import patterns
from qnib.monitoring.reclassify import Reclassify

from .conftest import NOW, TOKEN, Plant
from .test_graphite_beside import PYTHON, Beside, T

pytestmark = pytest.mark.engine

EVENTS: list[dict[str, Any]] = [
    {"what": "deployed", "tags": "deploy web", "when": T - 3000, "data": "version 1.2"},
    {"what": "rolled back", "tags": ["deploy", "web", "undo"], "when": T - 2000, "data": ""},
    {"what": "cooling <b>off</b> & on", "tags": ["facility"], "when": T - 1000.5, "data": "line one\nline two: 100%"},
    {"what": "no tags", "when": T - 500},
    {"what": "Out of memory: Killed process 42 (x)", "tags": "deploy", "when": T - 400, "data": "no kernel says so"},
    {"what": "ünïcode → ✓", "tags": "größe", "when": T - 300, "data": "数据"},
]
QUERIES: list[list[tuple[str, str]]] = [
    [], [("tags", "deploy")], [("tags", "deploy web")], [("tags", "deploy facility")], [("tags", "web undo")],
    [("tags", "deploy facility"), ("set", "union")], [("tags", "deploy undo"), ("set", "intersection")],
    [("tags", "nosuch")], [("from", str(T - 2000)), ("until", str(T - 1000))], [("from", str(T - 1999))],
    [("from", "0"), ("until", str(T - 2000))], [("tags", "größe")], [("tags", "deploy"), ("jsonp", "call")],
]  # fmt: skip


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    if not PYTHON.exists():
        assert not os.environ.get("CI"), "graphite-web belongs to what CI installs"
        pytest.skip("graphite-web is not installed: run tools/setup test")
    graphite_web = Beside(tmp_path_factory.mktemp("graphite"), {})
    for event in EVENTS:
        assert graphite_web.ask("/events/", json=event) == (200, "")
    yield graphite_web
    graphite_web.close()


@pytest.fixture
def client(plant: Plant) -> Iterator[TestClient]:
    app = FastAPI()
    for part in (graphite, graphite_events, read):
        app.include_router(part.router)
    app.state.qnib = SimpleNamespace(
        engine=plant.engine, clock=plant.clock, settings=plant.settings, token=TOKEN,
        facts=Facts(plant.engine, plant.clock),
    )  # fmt: skip
    show_errors(app)
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}", "X-Qnib-Cluster": "demo"}) as client:
        yield client


def post(plant: Plant, *events: Any, path: str = "/events/?cluster=demo") -> None:
    """All of them at once; each is acknowledged."""
    sent = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    for answer in plant.http(*(("POST", path, {"json": event, **sent}) for event in events)):
        assert (answer.status_code, answer.content) == (200, b"")


def told(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: one[name] for name in ("what", "data", "tags", "when")} for one in answer]


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "late first"])
def test_they_are_answered_as_graphite_web_does(plant: Plant, client: TestClient, beside: Beside, order: int) -> None:
    post(plant, *EVENTS[::order])
    for query in QUERIES:
        status, text = beside.ask("/events/get_data", *query)
        answer = client.get("/events/get_data", params={"cluster": "demo", **dict(query)})
        assert (status, answer.status_code) == (200, 200)
        mine, theirs = answer.text, text
        if ("jsonp", "call") in query:
            assert mine[:5] == theirs[:5] == "call("
            mine, theirs = mine[5:-1], theirs[5:-1]
        # Theirs keeps tags as they were written, and a time's fraction
        wanted = [{**one, "when": int(one["when"])} for one in told(json.loads(theirs))]
        assert told(json.loads(mine)) == wanted, query
    assert len(client.get("/events/get_data").json()) == len(EVENTS)


def test_one_is_answered_by_its_id(plant: Plant, client: TestClient, beside: Beside) -> None:
    post(plant, *EVENTS[:2])
    one = client.get("/events/get_data", params={"tags": "undo"}).json()[0]
    answer = client.get(f"/events/{one['id']}/")
    their_id = json.loads(beside.ask("/events/get_data", ("tags", "undo"))[1])[0]["id"]
    theirs = json.loads(beside.ask(f"/events/{their_id}/", accept="application/json")[1])
    assert {**answer.json(), "id": 0, "when": 0} == {**theirs, "id": 0, "when": 0}
    assert datetime.fromisoformat(answer.json()["when"]) == datetime.fromtimestamp(T - 2000, UTC)
    for wrong in (1, -1, 1 << 70):
        assert client.get(f"/events/{wrong}/").status_code == 404


def test_they_are_events_like_any_other(plant: Plant, client: TestClient) -> None:
    post(plant, *EVENTS)
    post(plant, {"what": "new firmware", "tags": "firmware", "when": T - 60, "host": "c7"})
    parts = client.app.state.qnib  # type: ignore[attr-defined]

    def found(query: str) -> list[str]:
        search = Search(parts, "demo", query, datetime.fromtimestamp(T - 3600, UTC), NOW, lambda _: NOW)
        return [row["message"] for row in search.events(100)]

    assert found("kind:graphite.event tag:deploy") == [
        "Out of memory: Killed process 42 (x): no kernel says so", "rolled back", "deployed: version 1.2",
    ]  # fmt: skip
    assert found("version") == ["deployed: version 1.2"]
    assert found("field.what:deployed") == ["deployed: version 1.2"]
    assert found("host:c7") == ["new firmware"]
    assert plant.rejects() == []
    assert plant.rows("SELECT count() AS n FROM qnib.patterns")[0]["n"] == 0  # what people write is no pattern of lines
    hour = datetime.fromtimestamp(T - 3600, UTC)
    assert patterns(plant.engine, "demo", hour, NOW, new_since=hour)["lines"] == 0
    known = event_store.search(plant.engine, "demo", datetime.fromtimestamp(T - 3600, UTC), NOW, known=True)
    assert {row["lane"] for row in known["events"]} == {"other"}
    assert len(known["events"]) == len(EVENTS) + 1
    events = plant.changes[-1]
    assert events[0] == "events"  # those who watch live are told


def test_events_of_the_render_language_see_them(plant: Plant, client: TestClient) -> None:
    post(plant, *EVENTS)
    params = {"target": "events('deploy','web')", "from": str(T - 3600), "until": str(T), "format": "json"}
    points = client.get("/render", params=params).json()[0]["datapoints"]
    assert sum(value or 0 for value, _ in points) == 2


def test_rules_said_anew_leave_them_what_they_are(plant: Plant, client: TestClient) -> None:
    post(plant, *EVENTS)
    before = client.get("/events/get_data").json()
    writer = plant.writer(plant.spool())
    Reclassify(plant.clock, plant.engine, writer.rulebook, writer.known).run(
        "demo", datetime.fromtimestamp(T - 3600, UTC), NOW
    )
    assert client.get("/events/get_data").json() == before != []


def test_a_posted_event_is_on_disk_before_it_is_acknowledged(plant: Plant) -> None:
    answers = asyncio.run(plant._http([("POST", f"/token/{TOKEN}/events/?cluster=demo", {"json": EVENTS[0]})]))
    assert answers[0].status_code == 200
    assert plant.rows("SELECT count() AS n FROM qnib.events")[0]["n"] == 0  # no writer has run
    plant.writer(plant.spool()).drain()
    assert plant.rows("SELECT kind, tags, message FROM qnib.events") == [
        {"kind": "graphite.event", "tags": ["deploy", "web"], "message": "deployed: version 1.2"}
    ]


def test_who_may_post(plant: Plant) -> None:
    clusters.save(plant.settings.clusters, clusters.Cluster("lab", ingest_token="labs-own"))
    event = {"json": {"what": "x"}}
    own = {"headers": {"Authorization": "Bearer labs-own"}}
    answers = plant.http(
        ("POST", "/events/", event), ("POST", "/events/", {**event, "headers": {"Authorization": "Bearer guess"}}),
        ("POST", "/events/", {**event, **own}), ("POST", "/events/?cluster=other", {**event, **own}),
    )  # fmt: skip
    assert [answer.status_code for answer in answers] == [401, 401, 200, 200]
    assert {row["cluster"] for row in plant.rows("SELECT cluster FROM qnib.events")} == {"lab"}


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ([1], "object"), ("text", "object"), ({}, "what"), ({"what": "  "}, "what"),
        ({"what": None, "data": "x"}, "what"), ({"what": "x", "tags": {}}, None),
        ({"what": "x", "tags": 5}, "tags"), ({"what": "x", "tags": ["a", 1]}, "tags"),
        ({"what": "x", "tags": {"a": 1}}, "tags"), ({"what": "x", "when": "soon"}, "when"),
        ({"what": "x", "when": True}, "when"), ({"what": "x", "when": 1e300}, "when"),
        ({"what": "x", "when": 5}, "load"), ({"what": "x", "when": T + 86_400}, "when"),
        ({"what": "x", "data": "y" * 9000}, "8192"), ({"what": "x\0y"}, "zero"),
        ({"what": "x", "data": {"a": [1]}}, None),
        ({"what": "x", "tags": [f"t{n}" for n in range(101)]}, "tags"), ({"what": "x", "when": str(T - 5)}, None),
    ],
)  # fmt: skip
def test_what_is_no_event(plant: Plant, event: Any, names: str | None) -> None:
    answer = plant.post("/events/?cluster=demo", event)
    assert answer.status_code == (400 if names else 200), answer.text
    assert (names or "") in answer.text
    assert plant.rows("SELECT count() AS n FROM qnib.events")[0]["n"] == (0 if names else 1)


@pytest.mark.parametrize("body", [b"", b"{", b'{"what": "\xff"}', b'{"what": "\\ud800"}'])
def test_what_is_no_json(plant: Plant, body: bytes) -> None:
    assert plant.post("/events/?cluster=demo", body).status_code == 400


def test_more_than_may_be_told_is_said(plant: Plant, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphite_events, "_MOST_EVENTS", 4)
    post(plant, *EVENTS)
    answer = client.get("/events/get_data")
    assert answer.headers["x-qnib-cut"] == "yes"
    assert [one["when"] for one in answer.json()] == [int(event["when"]) for event in EVENTS[2:]]
