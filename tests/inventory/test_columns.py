"""Facts by the column say what facts one by one say."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.inventory.conftest import NOON

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.inventory.bulk import bulk
from qnib.inventory.columns import Columns, facts_of, table_of
from qnib.inventory.fact import Fact
from qnib.inventory.facts import Facts
from qnib.inventory.graph import Graph, open_graph
from qnib.inventory.projection import SMALL
from qnib.model import Entity, Ref, Relation, Snapshot
from qnib.settings import Settings

pytestmark = pytest.mark.engine


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def graph(settings: Settings, facts: Facts, clock: FrozenClock) -> Iterator[Graph]:
    clock.advance(300)
    opened = open_graph(settings, facts, clock)
    yield opened
    opened.close()


def test_facts_become_rows_and_facts_again(engine: Engine) -> None:
    host, job = Ref("Host", "ü→1"), Ref("Job", "7@1")
    told = {"text": "a\tb\"\n→", "number": 2**53 + 1, "small": 0.1, "yes": True, "none": None}
    facts = [
        Fact("c", "entity", "Host", "ü→1", told, at(0), at(-1.000001), "a", at(2)),
        Fact("c", "entity", "Host", "", {}, at(0), at(0), "a", at(2), at(5), True),
        Fact("d", "relation", "JOBCLIENT", f"{job}→{host}", {"cpus": 4}, at(1), at(1), "b", at(2), None, False, at(9),
             job, host),
    ]  # fmt: skip
    assert facts_of(table_of(facts)) == facts
    engine.insert("qnib.facts", table_of(facts))
    kept = facts_of(engine.table("SELECT * FROM qnib.facts ORDER BY cluster, key DESC"))
    assert kept == facts
    assert all(fact.since.tzinfo is UTC for fact in kept)


def test_half_a_character_is_replaced() -> None:
    fact = Fact("c", "entity", "Host", "h\ud800", {}, at(0), at(0), "a", at(2))
    assert [one.key for one in facts_of(table_of([fact]))] == ["h?"]


def test_columns_and_facts_agree(facts: Facts, engine: Engine, clock: FrozenClock) -> None:
    """Two sources that tell of one thing, one that falls silent, one that ended, two clusters."""
    tie = Relation("BELONGS_TO", Ref("HCA", "a1"), Ref("Host", "h1"))
    one, two = Entity("HCA", "a1", {"name": "a1"}), Entity("HCA", "a2", {"name": "a2"})
    own = frozenset({"LINK"})
    link = Relation("LINK", Ref("PORT", "a1/1"), Ref("PORT", "s/1"))
    facts.apply("c", "x", at(0), Snapshot([one, two], [tie, link], own))
    facts.apply("c", "y", at(10), Snapshot([one, Entity("HCA", "a3")]))
    facts.apply("d", "x", at(20), Snapshot([two]))
    facts.apply("c", "x", at(30), Snapshot([two], [tie], own))  # of a1 only y tells now
    clock.advance(60)
    for known in (facts, Facts(engine, clock)):
        mark, picture = known.picture(at(-10))
        assert mark == known.mark()
        assert sorted(map(repr, picture)) == sorted(map(repr, known.everything(at(-10))))
        assert len(picture) == len(list(picture)) == 6
        for table in picture.parts.values():
            told = zip(facts_of(table), table["confirmed"].to_pylist(), strict=True)
            assert all(known.confirmed(fact) == confirmed for fact, confirmed in told)
    then = facts.picture_at(at(5))
    assert {fact.until for fact in then} == {None}, "no end was known then"
    assert {(f.cluster, f.kind, f.key) for f in then} == {(f.cluster, f.kind, f.key) for f in facts.at("c", at(5))}
    assert Columns.of(then, facts.confirmed) is then


def test_what_does_not_fit_its_column_is_left_out(graph: Graph, facts: Facts) -> None:
    """`cpus` is declared a whole number, `name` text; nobody declared `slot`: the first that is told makes it text."""
    told = [
        {"cpus": 2, "name": "x"}, {"cpus": "3", "name": 5}, {"cpus": "many", "name": True}, {"cpus": 1e300},
        {"slot": "a"}, {"slot": 1.5}, {"slot": None},
    ]  # fmt: skip
    jobs = [Entity("Job", f"{number}@1", one, at(number)) for number, one in enumerate(told)]
    facts.apply("demo", "x", at(20), Snapshot(jobs))
    graph.rebuild()
    assert graph.cypher("MATCH (j:Job) RETURN j.cpus, j.name, j.slot ORDER BY j.since").rows == [
        [2, "x", None], [3, "5", None], [None, "True", None], [None, None, None],
        [None, None, "a"], [None, None, "1.5"], [None, None, None],
    ]  # fmt: skip


def test_a_property_nobody_declared_beside_newest_values(graph: Graph, facts: Facts) -> None:
    """Its column comes last in the table, after those for metrics; bulk loading must not mix them up."""
    hosts = [Entity("Host", f"h{n}", {"name": f"h{n}", "slot": n}) for n in range(SMALL + 1)]
    facts.apply("demo", "x", at(0), Snapshot(hosts))
    graph.rebuild()
    query = "MATCH (h:Host) WHERE h.slot = 7 RETURN h.key, h.cpu_used, h.cpu_used_at"
    assert graph.cypher(query).rows == [["h7", None, None]]


def test_relations_of_one_name_and_other_ends(graph: Graph, facts: Facts) -> None:
    """Each has its own properties; `from` and `to` are the database's, and no source may break the graph by them."""
    ties = [
        Relation("ROAD", Ref("Town", "a"), Ref("Town", "b"), {"from": 1, "lanes": 2}),
        Relation("ROAD", Ref("Town", "a"), Ref("City", "c"), {"source_key": "x"}),
    ]  # fmt: skip
    facts.apply("demo", "x", at(0), Snapshot([Entity("Town", "a", {"size": 3})], ties))
    graph.rebuild()
    rows = graph.cypher("MATCH (a)-[r:ROAD]->(b) RETURN a.key, a.size, b.key, r.lanes, r.source_key ORDER BY b.key")
    assert rows.rows == [["a", 3, "b", 2, None], ["a", 3, "c", None, "x"]]


def test_of_several_periods_the_last_is_the_node(graph: Graph, facts: Facts) -> None:
    own = frozenset({"LINK", "CABLE"})
    for seconds, cables in ((0, ["a", "b"]), (10, []), (20, ["a"])):
        facts.apply("demo", "x", at(seconds), Snapshot([Entity("CABLE", name) for name in cables], complete=own))
    graph.rebuild()
    rows = graph.cypher("MATCH (c:CABLE) RETURN c.key, c.since, c.until ORDER BY c.key").rows
    assert rows == [
        ["a", "2026-11-20T12:00:20.000Z", None],
        ["b", "2026-11-20T12:00:00.000Z", "2026-11-20T12:00:10.000Z"],
    ]


def test_the_search_for_garbage_waits_for_all() -> None:
    assert gc.isenabled()
    held, done = threading.Event(), threading.Event()

    @bulk()
    def work() -> None:
        held.set()
        done.wait(10)

    other = threading.Thread(target=work)
    with bulk():
        other.start()
        held.wait(10)
        with bulk():
            assert not gc.isenabled()
    assert not gc.isenabled(), "another thread is at it"
    done.set()
    other.join()
    assert gc.isenabled()
