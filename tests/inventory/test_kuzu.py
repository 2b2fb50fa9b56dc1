"""Kuzu's own: its files, broken in the ways files break, and its spelling."""

from __future__ import annotations

import os

import pytest
from tests.inventory.expected import content
from tests.inventory.test_graph import at, story

from qnib.clock import FrozenClock
from qnib.inventory.facts import Facts
from qnib.inventory.graph import open_graph
from qnib.inventory.kuzu_cypher import spelt
from qnib.model import Entity, Snapshot
from qnib.settings import Settings

pytestmark = pytest.mark.engine


@pytest.fixture
def database() -> str:
    return "kuzu"


@pytest.mark.parametrize("harm", ["torn", "missing", "behind", "garbage pointer"])
def test_made_again_when_in_doubt(settings: Settings, facts: Facts, clock: FrozenClock, harm: str) -> None:
    folder = settings.home / "graph"
    graph = open_graph(settings, facts, clock)
    story(facts, graph)
    before = content(graph)
    graph.close()
    live = folder / (folder / "current").read_text()
    if harm == "torn":
        (live / "graph.kuzu").write_bytes(os.urandom(8192))
    elif harm == "missing":
        (live / "graph.kuzu").unlink()
    elif harm == "behind":
        facts.apply("demo", "names", at(290), Snapshot([Entity("Host", "h9", {"name": "h9"})]))
    else:
        (folder / "current").write_text("live.999")
    again = open_graph(settings, facts, clock)
    assert again.rebuilt
    assert content(again) == before or harm == "behind"
    assert ("h9" in str(content(again))) == (harm == "behind")
    assert len(list(folder.glob("live.*"))) == 1
    again.close()


@pytest.mark.parametrize(
    ("ours", "its"),
    [
        ("MATCH p = shortestPath((a)-[:A|B*..9]-(b)) RETURN p", "MATCH p = (a)-[:A|B* SHORTEST ..9]-(b) RETURN p"),
        ("shortestpath( (a:X {k: 'y'}) <-[r*]- (b) )", "(a:X {k: 'y'}) <-[r* SHORTEST ]- (b)"),
        ("allShortestPaths((a)-[*1..3]->(b))", "(a)-[* ALL SHORTEST 1..3]->(b)"),
        ("RETURN type(r), n.type, 'type(r)' // type(r)", "RETURN label(r), n.type, 'type(r)' // type(r)"),
        ("RETURN 'shortestPath((a)-[*]-(b))', `type`(r)", "RETURN 'shortestPath((a)-[*]-(b))', `type`(r)"),
    ],
)
def test_what_it_calls_otherwise(ours: str, its: str) -> None:
    assert spelt(ours) == its
