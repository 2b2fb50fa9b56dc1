"""The projection: it always says what the facts say, at any instant, whatever happened to its files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.inventory.conftest import NOON
from tests.inventory.expected import content, expected

from qnib.clock import FrozenClock
from qnib.domains import all_domains
from qnib.engine import Limits
from qnib.errors import NotAllowed, NotFound, TooMuch, Unavailable, WrongUse
from qnib.inventory.facts import Facts
from qnib.inventory.graph import Graph, LiveGraph, open_graph
from qnib.model import Entity, Ref, Relation, Scalar, Snapshot
from qnib.settings import Settings

pytestmark = pytest.mark.engine


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def failed(number: int, host: str, start: float, end: float) -> tuple[list[Entity], list[Relation]]:
    """A failed job of alice's on a host."""
    told = {"id": number, "name": "gemm", "state": "FAILED", "user": "alice"}
    job = Entity("Job", f"{number}@1", told, at(start), at(end))
    ties = [
        Relation("JOBCLIENT", job.ref, Ref("Host", host), {"cpus": 2, "attempt": 1}, at(start), at(end)),
        Relation("SUBMITTED", Ref("User", "alice"), job.ref, {}, at(start), at(end)),
    ]
    return [job], ties


def story(facts: Facts, graph: Graph, cluster: str = "demo") -> None:
    """Two hosts on a switch, two failed jobs on one of them, a cable out and in again."""
    link = Relation("LINK", Ref("PORT", "SW1/1"), Ref("PORT", "h0/1"), {"width": "4x"})
    wires = [
        Entity("SW", "SW1", {"name": "SW1", "ports": 8}), Entity("HCA", "h0", {"name": "h0"}),
        Entity("PORT", "SW1/1", {"number": 1}), Entity("PORT", "h0/1", {"number": 1}),
        Entity("Host", "h0", {"name": "h0"}),
    ]  # fmt: skip
    ties = [
        Relation("HAS_PORT", Ref("SW", "SW1"), Ref("PORT", "SW1/1")),
        Relation("HAS_PORT", Ref("HCA", "h0"), Ref("PORT", "h0/1")),
        Relation("BELONGS_TO", Ref("HCA", "h0"), Ref("Host", "h0")),
    ]  # fmt: skip
    own = frozenset({"LINK"})
    for seconds, plugged in ((0, True), (100, False), (200, True)):
        snapshot = Snapshot(wires, [*ties, link] if plugged else ties, own)
        graph.update(facts.apply(cluster, "ib", at(seconds), snapshot))
    (one, its), (two, others) = failed(13, "h0", 20, 30), failed(17, "h0", 120, 130)
    graph.update(facts.apply(cluster, "jobs", at(40), Snapshot(one, its)))
    graph.update(facts.apply(cluster, "jobs", at(140), Snapshot([*one, *two], [*its, *others])))


@pytest.fixture
def graph(settings: Settings, facts: Facts, clock: FrozenClock) -> Iterator[Graph]:
    clock.advance(300)
    opened = open_graph(settings, facts, clock)
    yield opened
    opened.close()


def test_one_change_after_the_other_gives_what_a_rebuild_gives(graph: Graph, facts: Facts) -> None:
    story(facts, graph)
    assert content(graph) == expected(facts)
    assert graph.rebuild() == len(facts.everything(at(-1000)))
    assert content(graph) == expected(facts)


def test_every_query_of_a_panel_is_understood(graph: Graph) -> None:
    given = {"cluster": "demo", "switch": "SW1", "host": "h0", "key": "x"}
    for panel in (panel for domain in all_domains() for panel in domain.panels if panel.query):
        params = {name: value for name, value in given.items() if f"${name}" in panel.query}
        assert tuple(graph.cypher(panel.query, params).columns) == tuple(panel.columns)


LINKS = "MATCH (:PORT {key: 'SW1/1'})-[l:LINK]->(p) RETURN p.key, l.since, l.until ORDER BY l.since"


def test_any_instant_can_be_asked(graph: Graph, facts: Facts) -> None:
    story(facts, graph)
    then = graph.cypher(LINKS, at=at(50)).rows
    assert [(row[0], row[2]) for row in then] == [("h0/1", None)], "no end was known then"
    assert graph.cypher(LINKS, at=at(150)).rows == []
    assert len(graph.cypher(LINKS, at=at(250)).rows) == 1
    assert [row[2] for row in graph.cypher(LINKS).rows] == ["2026-11-20T12:01:40.000Z", None]
    for seconds in range(60, 66):  # more instants than are kept
        assert len(graph.cypher(LINKS, at=at(seconds)).rows) == 1
    late = Snapshot([Entity("Host", "late", {"name": "late"}, since=at(10))])
    graph.update(facts.apply("demo", "late", at(260), late))
    assert graph.cypher("MATCH (h:Host {name: 'late'}) RETURN h.key", at=at(65)).rows == [["late"]], "the past changed"


def test_confirmed_moves_with_the_sources(graph: Graph, facts: Facts, clock: FrozenClock) -> None:
    told = Snapshot([Entity("Host", "h0", {"name": "h0"})])
    graph.update(facts.apply("demo", "names", at(0), told))
    graph.update(facts.apply("demo", "names", at(50), told))
    clock.advance(60)
    assert graph.cypher("MATCH (h:Host) RETURN h.confirmed").rows == [["2026-11-20T12:00:50.000Z"]]


def test_newest_values_go_when_nobody_tells_them(settings: Settings, facts: Facts, clock: FrozenClock) -> None:
    told = {"h0": 12.5, "h1": 99.0}

    def values(now: datetime) -> Iterator[tuple[str, Ref, dict[str, Scalar]]]:
        for host, used in told.items():
            yield "demo", Ref("Host", host), {"cpu_used": used, "cpu_used_at": now.isoformat()}

    facts.apply("demo", "names", at(0), Snapshot([Entity("Host", "h0", {"name": "h0"}), Entity("Host", "h1", {})]))
    graph = open_graph(settings, facts, clock, values)
    query = "MATCH (h:Host) RETURN h.key, h.cpu_used ORDER BY h.key"
    assert graph.cypher(query).rows == [["h0", 12.5], ["h1", 99.0]]
    del told["h1"]
    told["h0"] = 13.0
    assert graph.cypher(query).rows == [["h0", 12.5], ["h1", 99.0]], "not asked for again at once"
    clock.advance(20)
    assert graph.cypher(query).rows == [["h0", 13.0], ["h1", None]]
    graph.rebuild()
    assert graph.cypher(query).rows == [["h0", 13.0], ["h1", None]]
    graph.close()


def test_behind_the_facts_and_unable_it_says_so(graph: LiveGraph, facts: Facts) -> None:
    story(facts, graph)
    graph.cypher(LINKS)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph._live, "write", fail)
        patch.setattr(graph._store, "build", fail)
        late = Snapshot([Entity("Host", "late", {"name": "late"})])
        graph.update(facts.apply("demo", "late", at(290), late))
        with pytest.raises(Unavailable, match="no space left"):
            graph.cypher(LINKS)
        assert graph.cypher(LINKS, at=at(50)).rows, "other times are not concerned"
    graph.rebuild()
    assert content(graph) == expected(facts)


def test_kinds_and_properties_nobody_declared(graph: Graph, facts: Facts) -> None:
    rack = Entity("Rack", "r1", {"height": 42, "cooled": True, "name": "r1", "end": "left"})
    ties = [Relation("STANDS_IN", Ref("Host", "h0"), rack.ref, {"unit": 7})]
    graph.update(facts.apply("demo", "dcim", at(0), Snapshot([rack], ties)))
    more = Snapshot([Entity("Rack", "r1", {"power": 3.5})], [Relation("STANDS_IN", Ref("SW", "s"), rack.ref)])
    graph.update(facts.apply("demo", "dcim", at(10), more))
    columns = "x.key, s.unit, r.height, r.power, r.cooled, r.`end`"
    query = f"MATCH (x)-[s:STANDS_IN]->(r:Rack) RETURN {columns} ORDER BY x.key"
    expected = [["h0", 7, 42, 3.5, True, "left"], ["s", None, 42, 3.5, True, "left"]]
    assert graph.cypher(query).rows == expected
    graph.rebuild()
    assert graph.cypher(query).rows == expected


def test_neighbours_and_shortest_path(graph: Graph, facts: Facts) -> None:
    story(facts, graph)
    found = graph.neighbours("demo", Ref("PORT", "h0/1"))
    assert {(f["relation"], f["direction"], f["ref"]) for f in found} == {
        ("LINK", "in", Ref("PORT", "SW1/1")), ("HAS_PORT", "in", Ref("HCA", "h0"))
    }  # fmt: skip
    path = graph.shortest_path("demo", Ref("SW", "SW1"), Ref("Host", "h0"))
    assert [ref.kind for ref in path] == ["SW", "PORT", "PORT", "HCA", "Host"]
    assert graph.shortest_path("demo", Ref("Host", "h0"), Ref("Host", "h0")) == [Ref("Host", "h0")]
    assert graph.shortest_path("demo", Ref("SW", "SW1"), Ref("Host", "h0"), at=at(150)) == []
    with pytest.raises(NotFound):
        graph.neighbours("demo", Ref("Host", "nobody"))


def test_people_only_read(graph: Graph, facts: Facts, database: str) -> None:
    story(facts, graph)
    before = content(graph)
    for query in ("CREATE (:Host {uid: 'x'})", "MATCH (n) DETACH DELETE n", "COPY (RETURN 1) TO '/tmp/x.csv'"):
        with pytest.raises(NotAllowed):
            graph.cypher(query)
    live: Any = graph
    module = {"kuzu": "projection", "neo4j": "neo4j"}[database]
    with pytest.raises(NotAllowed), pytest.MonkeyPatch.context() as patch:  # the database refuses by itself, too
        patch.setattr(f"qnib.inventory.{module}.check_reading", lambda query, params, calls: None)
        live._live.ask("CREATE (:Host {uid: 'x'})", {}, Limits())
    assert content(graph) == before


def test_limits(graph: Graph, facts: Facts) -> None:
    story(facts, graph)
    answer = graph.cypher("MATCH (n) RETURN n.key", limits=Limits(rows=3))
    assert (len(answer.rows), answer.truncated) == (3, True)
    slow = "UNWIND range(1, 100000) AS x UNWIND range(1, 100000) AS y WITH x, y WHERE (x * y) % 7 = 8 RETURN count(*)"
    with pytest.raises(TooMuch):
        graph.cypher(slow, limits=Limits(seconds=0.5))
    with pytest.raises(WrongUse) as told:
        graph.cypher("MATCH (n:Host RETURN n")
    assert "not valid" in told.value.what
    with pytest.raises(WrongUse):
        graph.cypher("MATCH (j:Job) WHERE j.user = $user RETURN j.key")
    for wrong in ("(n:Hots) RETURN n.key", "(n:Host) RETURN n.naem", "(:Host)-[:LIKN]-(n:Host) RETURN n.key"):
        with pytest.raises(WrongUse):  # what is misspelt is told, not found to be nowhere
            graph.cypher(f"MATCH {wrong}")


def test_nodes_come_as_plain_values(graph: Graph, facts: Facts) -> None:
    story(facts, graph)
    ((host,),) = graph.cypher("MATCH (h:Host {key: 'h0'}) RETURN h").rows
    assert (host["label"], host["key"], host["cluster"]) == ("Host", "h0", "demo")
    assert not {"uid", "_ID", "told_by", "qnib"} & set(host)
    ((way,),) = graph.cypher(
        "MATCH p = shortestPath((a:SW {key: 'SW1'})-[:HAS_PORT|LINK*..9]->(b:PORT {key: 'h0/1'})) RETURN p"
    ).rows
    assert [node["key"] for node in way["nodes"]] == ["SW1", "SW1/1", "h0/1"]
    assert [tie["label"] for tie in way["relations"]] == ["HAS_PORT", "LINK"]
    assert way["relations"][1]["@from"] == way["nodes"][1]["@id"]
    told = graph.cypher(
        "MATCH (h:Host {key: 'h0'})<-[r:BELONGS_TO]-() RETURN type(r), collect(h.name), {a: h.key, b: 1.5, c: true}"
    )
    assert told.rows == [["BELONGS_TO", ["h0"], {"a": "h0", "b": 1.5, "c": True}]]


def test_reopened_as_it_was_left(settings: Settings, facts: Facts, clock: FrozenClock) -> None:
    graph = open_graph(settings, facts, clock)
    story(facts, graph)
    before = content(graph)
    graph.close()
    again = open_graph(settings, facts, clock)
    assert not again.rebuilt
    assert content(again) == before
    again.update(facts.apply("demo", "names", at(290), Snapshot([Entity("Host", "h9", {"name": "h9"})])))
    assert "h9" in str(content(again))
    again.close()


def test_many_read_while_one_writes(graph: Graph, facts: Facts) -> None:
    story(facts, graph)
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                assert graph.cypher(LINKS).rows
                assert graph.cypher(LINKS, at=at(50)).rows
            except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
                wrong.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        snapshot = Snapshot([Entity("Host", f"x{number}", {"name": f"x{number}"})])
        graph.update(facts.apply("demo", f"s{number}", at(270 + number), snapshot))
        if number % 10 == 5:
            graph.rebuild()
    done.set()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert graph.cypher("MATCH (h:Host) WHERE h.key STARTS WITH 'x' RETURN count(*)").rows == [[30]]
