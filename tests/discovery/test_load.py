"""Captures from files: into a cluster nobody knew, with past times, one after the other."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.data import real

from qnib.clock import FrozenClock
from qnib.discovery import apply_capture
from qnib.discovery.outcomes import Outcome, Waiting, waiting
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.inventory import forwarding
from qnib.inventory.facts import Facts
from qnib.inventory.graph import open_graph
from qnib.model import Table
from qnib.monitoring.spool import Record
from qnib.settings import load

pytestmark = pytest.mark.engine
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = datetime(2024, 3, 1, 8, tzinfo=UTC)
ASSETS = Path(__file__).parents[1] / "assets/infiniband"


class World:
    def __init__(self, home: Path) -> None:
        settings = load(home=home)
        self.clock = FrozenClock(NOW)
        self.engine: Engine = open_engine(settings, self.clock)
        self.facts = Facts(self.engine, self.clock)
        self.graph = open_graph(settings, self.facts, self.clock)

    def load(self, kind: str, text: str, at: datetime, cluster: str = "old", host: str = "file") -> Outcome:
        domain, name = kind.split("/")
        head = {"domain": domain, "capture": name, "host": host, "id": kind, "at": at.isoformat()}
        record = Record(self.clock.now(), cluster, "file", "load", json.dumps(head).encode() + b"\n" + text.encode())
        waiting.expect(kind)
        with contextlib.suppress(ValueError):  # the outcome tells
            apply_capture(self.engine, self.facts, self.graph, self.clock, record)
        self.clock.advance(1)
        outcome = waiting.wait(kind, 0)
        assert outcome is not None
        return outcome


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.graph.close()
    made.engine.close()


def own(name: str) -> str:
    return (ASSETS / name).read_text()


def changes(outcome: Outcome) -> set[tuple[str, str, str]]:
    return {(one["what"], one["kind"], one["key"]) for one in outcome.changes}


def cables(world: World, ends: str) -> list[str]:
    """The cables of the connections between two ports."""
    ties = [fact.as_relation() for fact in world.facts.current("old", "USES")]
    return [tie.target.key for tie in ties if tie.source.key.startswith(f"{ends}@")]


def test_two_captures_give_exactly_what_was_injected(world: World) -> None:
    """OpenSM's fabric of 208 nodes: Hca2's cable was pulled between the two."""
    folder = real("infiniband/osm_fattree208")
    truth = json.loads((folder / "ground_truth.json").read_text())
    shots = {one["file"]: datetime.fromtimestamp(one["t"], UTC) for one in truth if one["event"] == "snapshot"}
    before, after, info = "ibnetdiscover.t0.txt", "ibnetdiscover.hca2_down.txt", "iblinkinfo.t1.txt"
    first = world.load("infiniband/topology", (folder / before).read_text(), shots[before])
    assert first.first and not first.refused and first.events == 0
    assert first.entities == 208 + 80 * 8 + 128 + 128 + 384 * 2, "devices, ports, names, connections and cables"
    pulled = world.load("infiniband/topology", (folder / after).read_text(), shots[after])
    assert (pulled.began, pulled.changed, pulled.tables_changed) == (0, 0, 0)
    assert {kind for _, kind, _ in changes(pulled)} == {"LINK", "CONNECTION", "CABLE", "CONNECTS", "USES"}
    ports = ("Switch0/7", "Hca2/1")
    assert all(what == "ended" and any(port in key for port in ports) for what, _, key in changes(pulled))
    assert pulled.ended == 6 and pulled.events == 1
    back = world.load("infiniband/iblinkinfo", (folder / info).read_text(), shots[info])
    began = {kind: key for what, kind, key in changes(back) if what == "began"}
    assert began["LINK"] == "PORT:Switch0/7 → PORT:Hca2/1".replace("PORT:", "")
    assert (back.ended, back.events) == (0, 1), "another tool of the same source: what it lists is what there is"
    at = shots[after] + timedelta(seconds=1)
    links = {fact.key for fact in world.facts.relations("old", "LINK", at)}
    assert len(links) == 383 and not any("Hca2/1" in key for key in links)
    assert len(world.facts.current("old", "LINK")) == 384


def test_a_cable_that_moved_two_years_ago_is_the_same_cable(world: World) -> None:
    """One end moved within minutes: known although nothing that old is kept in memory."""
    for name, minutes in (("whole", 0), ("out", 5), ("moved", 9)):
        at = LONG_AGO + timedelta(minutes=minutes)
        assert not world.load("infiniband/topology", own(f"ibnetdiscover.{name}.txt"), at).refused
    (moved,) = cables(world, "leaf1/7--n05/1")
    assert moved.startswith("cable leaf1/4--n05/1@")
    (cable,) = [fact for fact in world.facts.current("old", "CABLE") if fact.key == moved]
    assert cable.properties["identity"] == "inferred"
    (link,) = [f for f in world.facts.current("old", "LINK") if "n05/1" in f.key]
    assert (link.properties["speed"], link.since) == ("QDR", LONG_AGO + timedelta(minutes=9))


def test_the_same_capture_again_changes_nothing(world: World) -> None:
    text, tables = own("ibnetdiscover.whole.txt"), own("dump_fts.whole.txt")
    world.load("infiniband/topology", text, LONG_AGO)
    assert world.load("infiniband/tables", tables, LONG_AGO).tables_changed == 20
    again = world.load("infiniband/topology", text, LONG_AGO + timedelta(hours=1))
    assert (again.began, again.changed, again.ended, again.events) == (0, 0, 0, 0)
    assert world.load("infiniband/tables", tables, LONG_AGO + timedelta(hours=1)).tables_changed == 0
    assert world.load("infiniband/topology", text, LONG_AGO - timedelta(hours=1)).late


def test_half_a_capture_ends_nothing_and_the_next_whole_one_does(world: World) -> None:
    whole, out = own("ibnetdiscover.whole.txt"), own("ibnetdiscover.out.txt")
    world.load("infiniband/topology", whole, LONG_AGO)
    half = world.load("infiniband/topology", out[: len(out) // 2], LONG_AGO + timedelta(minutes=1))
    assert (half.ended, half.events, half.refused) == (0, 0, "")
    assert world.load("infiniband/topology", out, LONG_AGO + timedelta(minutes=2)).events == 1


def test_what_is_refused_says_why_and_changes_nothing(world: World) -> None:
    world.load("infiniband/topology", own("ibnetdiscover.whole.txt"), LONG_AGO)
    refused = world.load("infiniband/topology", "ibnetdiscover: command not found\n", LONG_AGO + timedelta(minutes=1))
    assert "command not found" in refused.refused
    assert len(world.facts.current("old", "LINK")) == 65


def test_two_clusters_with_the_same_host_names(world: World) -> None:
    world.load("infiniband/topology", own("ibnetdiscover.whole.txt"), LONG_AGO, "east")
    world.load("infiniband/topology", own("ibnetdiscover.whole.txt"), LONG_AGO, "west")
    pulled = world.load("infiniband/topology", own("ibnetdiscover.out.txt"), LONG_AGO + timedelta(minutes=1), "west")
    assert pulled.ended
    assert (len(world.facts.current("east", "LINK")), len(world.facts.current("west", "LINK"))) == (65, 64)
    world.load("infiniband/tables", own("dump_fts.whole.txt"), LONG_AGO, "east")
    assert forwarding.read(world.engine, "west") == {}


def test_a_renamed_host_is_told_by_its_adapters_guid(world: World) -> None:
    """The NodeDescription is the adapter's key: under another name it is another adapter, and the old one's link has
    ended. Its GUID says that they are one."""
    text = own("ibnetdiscover.whole.txt")
    world.load("infiniband/topology", text, LONG_AGO)
    renamed = world.load("infiniband/topology", text.replace('"n05"', '"n05new"'), LONG_AGO + timedelta(minutes=1))
    assert ("began", "LINK", "leaf1/4 → n05new/1") in changes(renamed)
    assert ("ended", "LINK", "leaf1/4 → n05/1") in changes(renamed)
    guids = {f.key: f.properties["guid"] for f in world.facts.current("old", "HCA") if f.key.startswith("n05")}
    assert guids["n05"] == guids["n05new"]
    (cable,) = cables(world, "leaf1/4--n05new/1")
    assert cable.startswith("cable leaf1/4--n05/1@"), "the cable is the same: one end has another name"


# ── forwarding tables ─────────────────────────────────────────────────────────────────────────


def test_tables_over_time(world: World) -> None:
    for name, minutes in (("whole", 0), ("out", 5), ("moved", 9)):
        at = LONG_AGO + timedelta(minutes=minutes)
        world.load("infiniband/topology", own(f"ibnetdiscover.{name}.txt"), at)
        outcome = world.load("infiniband/tables", own(f"dump_fts.{name}.txt"), at)
        assert outcome.tables == 20
    lid = 20  # of n05
    assert [
        int(forwarding.read(world.engine, "old", LONG_AGO + timedelta(minutes=m), ["leaf1"])["leaf1"][lid])
        for m in (0, 4, 9, 60)
    ] == [4, 4, 7, 7]
    then = forwarding.read(world.engine, "old", LONG_AGO + timedelta(minutes=6))["leaf1"]
    assert len(then) <= lid or then[lid] == forwarding.NONE, "while it was out nothing led to it"
    assert forwarding.read(world.engine, "old", LONG_AGO - timedelta(minutes=1)) == {}


def test_a_switch_that_is_gone_has_no_table(world: World) -> None:
    tables = [Table("SW1", bytes([255, 1, 2])), Table("SW2", bytes([255, 2, 1]))]
    assert forwarding.store(world.engine, "c", "t", NOW, NOW, tables) == ["SW1", "SW2"]
    assert forwarding.store(world.engine, "c", "t", NOW + timedelta(seconds=1), NOW, tables[:1]) == ["SW2"]
    assert list(forwarding.read(world.engine, "c")) == ["SW1"]
    assert sorted(forwarding.read(world.engine, "c", NOW)) == ["SW1", "SW2"]
    assert forwarding.read(world.engine, "c")["SW1"].tolist() == [255, 1, 2]


# ── waiting for an outcome ────────────────────────────────────────────────────────────────────


def test_an_outcome_reaches_whoever_waits_and_nobody_else() -> None:
    one = Waiting()
    one.tell("stranger", Outcome())
    assert one.wait("stranger", 0) is None
    one.expect("mine")
    teller = threading.Timer(0.05, one.tell, ("mine", Outcome(entities=3)))
    teller.start()
    found = one.wait("mine", 10)
    teller.join()
    assert found is not None and found.entities == 3
    assert one.wait("mine", 0) is None
