"""Neo4j's own: whose nodes are whose, what is refused, what happens when it is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_ports
from tests.inventory.expected import content, expected
from tests.inventory.neo4j_server import Server
from tests.inventory.test_graph import LINKS, at, story

from qnib.clock import FrozenClock
from qnib.engine import Limits
from qnib.errors import Conflict, Forbidden, TooMuch, Unavailable, WrongUse
from qnib.inventory import bolt, neo4j
from qnib.inventory.facts import Facts
from qnib.inventory.graph import LiveGraph, open_graph
from qnib.model import Entity, Ref, Relation, Snapshot
from qnib.settings import Settings, load

pytestmark = pytest.mark.engine


@pytest.fixture
def database() -> str:
    return "neo4j"


@pytest.fixture
def graph(settings: Settings, facts: Facts, clock: FrozenClock) -> Iterator[LiveGraph]:
    clock.advance(300)
    opened = open_graph(settings, facts, clock)
    yield opened
    opened.close()


# ── whose is what ─────────────────────────────────────────────────────────────────────────────────


def foreign(neo4j: Server) -> list[Any]:
    """What is not QNIB's in the database."""
    nodes = "MATCH (n) WHERE NOT n:QNIB AND NOT n:QNIB_GRAPH RETURN labels(n), properties(n)"
    ties = "MATCH (a)-[r]->(b) WHERE r.qnib IS NULL RETURN labels(a), type(r), properties(r), labels(b)"
    return sorted(map(str, [*neo4j.run(nodes), *neo4j.run(ties)]))


def test_what_others_have_there_is_left_alone(
    neo4j: Server, settings: Settings, facts: Facts, clock: FrozenClock
) -> None:
    """Nodes of our kinds and keys that are not ours, and relations of others between nodes of ours."""
    neo4j.run("CREATE (:Host {key: 'h0', uid: 'demo/h0', cluster: 'demo'})-[:LINK {since: 'ever'}]->(:PORT {key: 'p'})")
    clock.advance(300)
    graph = open_graph(settings, facts, clock)
    story(facts, graph)
    assert graph.cypher("MATCH (h:Host:QNIB) RETURN h.key").rows == [["h0"]]
    neo4j.run("MATCH (h:Host:QNIB), (s:SW) CREATE (h)-[:NOTE {text: 'mine'}]->(s), (s)<-[:OF]-(:Ticket {number: 7})")
    before = foreign(neo4j)
    assert len(before) == 6
    graph.rebuild()
    assert graph.neighbours("demo", Ref("Host", "h0"))[0]["relation"] != "NOTE"
    path = graph.shortest_path("demo", Ref("SW", "SW1"), Ref("Host", "h0"))
    assert len(path) == 5, "not by the note"
    facts._engine.run("TRUNCATE TABLE qnib.facts")
    empty = Facts(facts._engine, clock)
    graph.close()
    graph = open_graph(settings, empty, clock)
    graph.close()
    left = foreign(neo4j)
    assert [one for one in left if "mine" in one or "Ticket" in one or "ever" in one or "'uid'" in one]
    assert neo4j.run("MATCH (n:QNIB) RETURN count(n)") == [[0]], "nothing is told of any more"
    assert neo4j.run("MATCH ()-[r:NOTE]->()<-[:OF]-(t:Ticket) RETURN r.text, t.number") == [["mine", 7]]


def test_two_servers_share_a_database_each_with_its_clusters(
    neo4j: Server, settings: Settings, facts: Facts, clock: FrozenClock, tmp_path: Path
) -> None:
    clock.advance(300)
    one = open_graph(settings, facts, clock)
    story(facts, one)
    before = content(one)
    for table in ("facts", "confirmations"):
        facts._engine.run(f"TRUNCATE TABLE qnib.{table}")
    others = Facts(facts._engine, clock)
    elsewhere = load(home=tmp_path / "other", graph=neo4j.settings)
    two = open_graph(elsewhere, others, clock)
    two.update(others.apply("south", "names", at(290), Snapshot([Entity("Host", "h0", {"name": "h0"})])))
    hosts = "MATCH (h:Host {key: 'h0'}) RETURN h.cluster ORDER BY h.cluster"
    assert two.cypher(hosts).rows == [["demo"], ["south"]]
    two.rebuild()
    assert [line for line in content(one) if "south" not in line] == before, "a rebuild touches its own graph only"
    with pytest.raises(Conflict, match="'demo'"):  # written by its thread, told to whoever asks
        two.update(others.apply("demo", "names", at(291), Snapshot([Entity("Host", "h1", {"name": "h1"})])))
        two.cypher(hosts)
    assert one.cypher("MATCH (h:Host {key: 'h1'}) RETURN h.key").rows == []
    two.close()
    with pytest.raises(Conflict, match="another database"):
        open_graph(elsewhere, Facts(facts._engine, clock), clock)
    one.close()


def test_somebody_else_with_the_same_graph(graph: LiveGraph, facts: Facts, neo4j: Server) -> None:
    """Another writer, or an old backup of the database: the mark is not the one that was left, so all is compared."""
    story(facts, graph)
    graph.cypher(LINKS)
    neo4j.run("MATCH (g:QNIB_GRAPH) SET g.mark = 'another' WITH g MATCH (h:Host) SET h.name = 'changed'")
    graph.update(facts.apply("demo", "late", at(290), Snapshot([Entity("Host", "h9", {"name": "h9"})])))
    assert content(graph) == expected(facts)


# ── always what the facts say ─────────────────────────────────────────────────────────────────────


HARM = {
    "a property": "MATCH (h:Host) SET h.name = 'x', h.more = 1", "a property gone": "MATCH (h:Host) REMOVE h.name",
    "a node gone": "MATCH (p:PORT {key: 'h0/1'}) DETACH DELETE p",
    "a relation gone": "MATCH ()-[r:HAS_PORT]->() DELETE r",
    "a relation twice": "MATCH (a)-[r:BELONGS_TO]->(b) CREATE (a)-[s:BELONGS_TO]->(b) SET s = r",
    "a relation changed": "MATCH ()-[r:LINK]->() SET r.width = '1x'", "a label gone": "MATCH (s:SW) REMOVE s:SW",
    "an odd node": "MATCH (h:Host) CREATE (:Host:QNIB {uid: h.qnib + '/Host/demo/odd', qnib: h.qnib, key: 'odd'})",
    "a uid gone": "MATCH (h:Host) SET h.name = 'x' REMOVE h.uid",
    "all of ours gone": "MATCH (n:QNIB) DETACH DELETE n", "everything gone": "MATCH (n) DETACH DELETE n",
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_a_rebuild_mends_it(graph: LiveGraph, facts: Facts, neo4j: Server, harm: str) -> None:
    story(facts, graph)
    assert content(graph) == expected(facts)
    neo4j.run(HARM[harm])
    assert content(graph) != expected(facts)
    graph.rebuild()
    assert content(graph) == expected(facts)
    graph.update(facts.apply("demo", "late", at(290), Snapshot([Entity("Host", "h9", {"name": "h9"})])))
    assert content(graph) == expected(facts)


@pytest.mark.parametrize("mark", ["behind", "another format", "gone"])
def test_made_again_when_in_doubt(
    settings: Settings, facts: Facts, clock: FrozenClock, neo4j: Server, mark: str
) -> None:
    clock.advance(300)
    graph = open_graph(settings, facts, clock)
    story(facts, graph)
    graph.close()
    if mark == "behind":
        facts.apply("demo", "names", at(290), Snapshot([Entity("Host", "h9", {"name": "h9"})]))
    elif mark == "gone":
        neo4j.empty()
    else:
        neo4j.run("MATCH (g:QNIB_GRAPH) SET g.mark = '0' + substring(g.mark, 1)")
    again = open_graph(settings, facts, clock)
    assert again.rebuilt
    assert content(again) == expected(facts)
    again.close()
    again = open_graph(settings, facts, clock)
    assert not again.rebuilt
    again.close()


def test_much_is_written_in_pieces_and_not_read_meanwhile(
    graph: LiveGraph, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    story(facts, graph)
    graph.cypher(LINKS)
    store: Any = graph._store
    told: list[str] = []

    def run(tx: Any, steps: Any, mark: str) -> None:
        try:
            store.reopen(facts.mark()) or told.append("no graph")
            graph._live.ask(LINKS, {}, Limits())
        except Unavailable as error:
            told.append(error.what)
        neo4j.Neo4jStore._run(store, tx, steps, mark)

    store.bolt.rows("MATCH (n:QNIB) DETACH DELETE n")
    monkeypatch.setattr(neo4j, "PIECE", 3)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_run", run)
        graph.rebuild()
    assert told.count("The graph is being made again.") > 5
    assert told.count("no graph") >= told.count("The graph is being made again.") - 1, "killed here, it is made again"
    assert content(graph) == expected(facts)
    many = [facts.apply("demo", f"s{n}", at(260 + n), Snapshot([Entity("Host", f"x{n}", {})])) for n in range(8)]
    graph._live.write(many, facts.confirmed)
    assert content(graph) == expected(facts)
    store.stop()  # the server ends while it is made: no harm, the next one goes on
    store.bolt.rows("MATCH (n:QNIB) DETACH DELETE n")
    with pytest.raises(Unavailable, match="ends"):
        graph.rebuild()


# ── what people may ask ───────────────────────────────────────────────────────────────────────────


ATTACKS = [
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line", "L\\u004fAD CSV FROM 'file:///etc/passwd' AS l RETURN l",
    "RETURN 1 AS a // x\rUNION LOAD CSV FROM 'file:///etc/passwd' AS a RETURN a",
    "RETURN '\\u0027 AS a UNION LOAD CSV FROM \\u0027file:///etc/passwd\\u0027 AS a RETURN a //'",
    "CALL dbms.listConfig() YIELD name, value RETURN name, value", "CALL `dbms`.`listConfig`() YIELD name RETURN name",
    "CALL dbms . listConfig() YIELD name RETURN name", "CALL db.clearQueryCaches()", "SHOW USERS", "SHOW SETTINGS",
    "SHOW TRANSACTIONS", "TERMINATE TRANSACTION 'neo4j-transaction-1'", "USE neo4j MATCH (n) RETURN n.key AS key",
]  # fmt: skip
WRITES = [
    "CREATE (:Host)", "MATCH (n) SET n.key = 'x'", "MERGE (:Host {key: 'new'})", "MATCH (n) DETACH DELETE n",
    "INSERT (:Host)", "CALL db.createLabel('x')", "CREATE INDEX x FOR (n:Host) ON (n.name)", "DROP INDEX qnib_key_Host",
    "CALL { CREATE (:Host) } IN TRANSACTIONS", "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 1 ROW",
    "FOREACH (x IN [1] | CREATE (:Host))", "CREATE USER eve SET PASSWORD 'longenough'", "DROP USER neo4j",
    "ALTER CURRENT USER SET PASSWORD FROM 'x' TO 'longenough'",
]  # fmt: skip


def test_what_a_reading_transaction_would_still_give_is_refused(graph: LiveGraph, facts: Facts) -> None:
    """Each of these the server itself answers; none gets there."""
    story(facts, graph)
    store: Any = graph._store
    for query in ATTACKS:
        with pytest.raises(Forbidden):
            graph.cypher(query)
        store.bolt.read(query, {}, Limits())


def test_what_writes_is_refused_twice(graph: LiveGraph, facts: Facts, neo4j: Server) -> None:
    story(facts, graph)
    before, indexes = content(graph), neo4j.run("SHOW INDEXES YIELD name")
    store: Any = graph._store
    for query in WRITES:
        with pytest.raises(Forbidden):
            graph.cypher(query)
        with pytest.raises(Forbidden):  # by the server, too
            store.bolt.read(query, {}, Limits())
    assert content(graph) == before
    assert neo4j.run("SHOW INDEXES YIELD name") == indexes


def test_memory_and_time_have_limits(graph: LiveGraph) -> None:
    much = "UNWIND range(1, 100000000) AS x WITH collect(toString(x)) AS them RETURN size(them)"
    with pytest.raises(TooMuch, match="memory"):
        graph.cypher(much, limits=Limits(seconds=60))
    slow = "UNWIND range(1, 100000) AS x UNWIND range(1, 100000) AS y WITH x, y WHERE x * y < 0 RETURN count(*)"
    with pytest.raises(TooMuch, match=r"longer than 0\.3 s"):
        graph.cypher(slow, limits=Limits(seconds=0.3))
    endless = graph.cypher("UNWIND range(1, 100000000) AS x RETURN x", limits=Limits(rows=10))
    assert (len(endless.rows), endless.truncated) == (10, True)


def test_what_kuzu_does_not_have(graph: LiveGraph, facts: Facts) -> None:
    story(facts, graph)
    times = graph.cypher("RETURN datetime('2026-11-20T12:00:00+01:00'), date('2026-11-20'), duration('P1D'), [{a: 2}]")
    assert times.rows == [["2026-11-20T11:00:00.000Z", "2026-11-20", "P1D", [{"a": 2}]]]
    plan = graph.cypher("EXPLAIN MATCH (h:Host {key: $key}) RETURN h", {"key": "h0"})
    assert plan.columns == ["plan"]
    assert "qnib_key_Host" in str(plan.rows) or "NodeIndexSeek" in str(plan.rows), "found by its key"
    with pytest.raises(WrongUse, match=r"no kind 'Hots'"):
        graph.cypher("MATCH (h:Hots) RETURN h")
    with pytest.raises(WrongUse, match="Kuzu"):  # the graphs of other times are there
        graph.cypher("MATCH (n) WHERE n:Host RETURN n.key", at=at(50))


# ── when it is not there ──────────────────────────────────────────────────────────────────────────


def test_told_why_it_cannot_be_used(
    neo4j: Server, facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**other: str) -> str:
        with pytest.raises(Unavailable) as told:
            open_graph(load(home=tmp_path, graph=neo4j.settings | other), facts, FrozenClock(at(0)))
        assert told.value.try_next
        return str(told.value)

    assert "cannot be reached" in refused(url=f"bolt://127.0.0.1:{free_ports(1)[0]}")
    assert "cannot be reached" in refused(url="neo4j://no-such-host.invalid:7687")
    wrong = refused(password="certainly-wrong")
    assert "refuses user or password" in wrong
    assert "certainly-wrong" not in wrong
    neo4j.run("CREATE USER fresh SET PASSWORD 'longenough' CHANGE REQUIRED", "system")
    assert "password changed first" in refused(user="fresh", password="longenough")
    assert "nowhere" in refused(database="nowhere")
    monkeypatch.setattr(bolt, "OLDEST", (9999, 1))
    assert "needs 9999.1 or newer" in refused()


def test_no_password_in_the_address_and_none_shown(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="not part of the address") as told:
        load(home=tmp_path, graph={"url": "neo4j://neo4j:topsecret@host:7687"})
    assert "topsecret" not in str(told.value)
    for url in ("http://host:7474", "neo4j://", "neo4j://host:7687/db"):
        with pytest.raises(WrongUse, match="neo4j"):
            load(home=tmp_path, graph={"url": url})
    assert "topsecret" not in repr(load(home=tmp_path, graph={"password": "topsecret"}))


def test_a_server_that_goes_away_and_comes_back(
    neo4j: Server, graph: LiveGraph, facts: Facts, clock: FrozenClock
) -> None:
    story(facts, graph)
    assert content(graph) == expected(facts)
    neo4j.kill()
    with pytest.raises(Unavailable, match="cannot be reached"):
        graph.cypher(LINKS)
    graph.update(facts.apply("demo", "late", at(290), Snapshot([Entity("Host", "h9", {"name": "h9"})])))
    with pytest.raises(Unavailable, match="cannot be reached"):  # and not the graph of before
        graph.cypher(LINKS)
    assert graph.cypher(LINKS, at=at(50)).rows, "other times do not need it"
    ties = [Relation("ALIAS_OF", Ref("Alias", "x:h9"), Ref("Host", "h9"))]
    graph.update(facts.apply("demo", "names", at(295), Snapshot([], ties)))
    neo4j.start()
    deadline = time.monotonic() + 120
    while True:
        try:
            assert content(graph) == expected(facts)
            break
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
