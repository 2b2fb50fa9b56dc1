"""Captures that tell of the machine they were taken on: the way from a file to facts, events and the graph."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.discovery.test_load import NOW, World

from qnib.discovery import placed
from qnib.discovery.outcomes import Outcome
from qnib.domains import all_domains
from qnib.model import HERE, Entity, Ref, Relation, Snapshot

pytestmark = pytest.mark.engine
FOLDERS = {domain.name: domain.folder / "samples" for domain in all_domains()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.graph.close()
    made.engine.close()


def load(world: World, kind: str, text: str, host: str, minutes: float = 0) -> Outcome:
    outcome = world.load(kind, text, NOW + timedelta(minutes=minutes) - timedelta(hours=1), "lab", host)
    assert not outcome.refused, outcome.refused
    return outcome


def sample(domain: str, name: str) -> str:
    return (FOLDERS[domain] / f"{name}.txt").read_text()


def test_here_becomes_the_machine_it_was_taken_on() -> None:
    seen = Snapshot(
        [Entity("Interface", f"{HERE}/eth0", {"host": HERE, "name": "eth0"}), Entity("Alias", "mac:1")],
        [Relation("HAS_INTERFACE", Ref("Host", HERE), Ref("Interface", f"{HERE}/eth0")),
         Relation("HOLDS", Ref("SoftwareSet", "x"), Ref("Package", "y"))],
    )
    told = placed(seen, "n7")
    assert [one.key for one in told.entities] == ["n7/eth0", "mac:1"]
    assert told.entities[0].properties == {"host": "n7", "name": "eth0"}
    assert str(told.relations[0].source) == "Host:n7" and told.relations[1] is seen.relations[1]


def test_the_second_host_of_a_kind_costs_one_fact(world: World) -> None:
    text = sample("software", "dpkg.query")
    first = load(world, "software/dpkg", text, "n1")
    assert (first.began, first.events) == (1 + 10 + 10 + 1, 0), "the set, what is in it, and that n1 has it"
    assert load(world, "software/dpkg", text, "n2").began == 1
    assert load(world, "software/dpkg", text, "n2", 1).began == 0, "the same again"


def test_a_change_of_packages_is_an_event_on_its_host(world: World) -> None:
    text = sample("software", "dpkg.query")
    load(world, "software/dpkg", text, "n1")
    other = text.replace("apt\t3.0.4", "apt\t3.0.5").replace("tzdata\t2026f-0+deb13u1\tall\tii \n", "")
    changed = load(world, "software/dpkg", other, "n1", 1)
    assert (changed.events, changed.ended) == (1, 1)
    (event,) = world.engine.rows("SELECT * FROM qnib.events WHERE kind = 'software.changed'")
    assert event["host"] == "n1" and "Host:n1" in event["entities"]
    assert event["message"] == "packages of n1 changed: apt 3.0.4 → 3.0.5, tzdata 2026f-0+deb13u1 is gone"
    rows = world.graph.cypher(
        "MATCH (h:Host)-[t:HAS_SOFTWARE]->(s:SoftwareSet) RETURN s.base, t.until ORDER BY t.since"
    ).rows
    assert rows[0][0] == "" and rows[0][1] is not None and rows[1][0] != "" and rows[1][1] is None


def test_a_host_is_known_by_any_of_its_names(world: World) -> None:
    load(world, "network/interfaces", sample("network", "interfaces.node"), "n10")
    load(world, "host/system", sample("host", "system.debian"), "10.9.8.10")
    (host,) = [fact for fact in world.facts.current("lab", "Host") if fact.key == "n10"]
    assert host.properties["kernel"] == "6.12.38+deb13-amd64"
    load(world, "network/neighbours", sample("network", "neighbours.ip"), "n10")
    told = world.graph.cypher(
        "MATCH (i:Interface {key: 'n10/eth0'})-[:SEES]->(a:Alias) RETURN a.name ORDER BY a.name"
    ).rows
    assert told == [["1e:2c:59:69:5c:72"], ["9a:1c:b6:05:57:f6"]]


def test_a_neighbour_that_is_told_of_by_itself_is_that_host(world: World) -> None:
    """node11 tells its own MAC address; what node10 sees by ARP is then known to be node11."""
    load(world, "network/neighbours", sample("network", "neighbours.ip"), "node10")
    mine = sample("network", "interfaces.node").replace("b6:8c:2a:a2:b5:fc", "9a:1c:b6:05:57:f6")
    load(world, "network/interfaces", mine.replace("10.9.8.10", "10.9.8.11"), "node11")
    found = world.graph.cypher(
        "MATCH (i:Interface)-[s:SEES]->(a:Alias)-[:ALIAS_OF]->(h:Host) RETURN i.key, a.name, s.addresses, h.key"
    ).rows
    assert found == [["node10/eth0", "9a:1c:b6:05:57:f6", "10.9.8.11", "node11"]]


def test_a_switch_between_two_hosts(world: World) -> None:
    load(world, "network/lldp", sample("network", "lldp.one"), "node10")
    moved = sample("network", "lldp.one").replace("swp1", "swp7")
    assert load(world, "network/lldp", moved, "node10", 1).events == 1
    (event,) = world.engine.rows("SELECT * FROM qnib.events WHERE kind = 'interface.moved'")
    assert event["message"].startswith("eth0 of node10 is plugged into 52:45:2d:1c:70:80/swp7, no longer into")
    none = load(world, "network/lldp", sample("network", "lldp.none"), "node10", 2)
    assert none.ended == 1, "nothing is plugged in any more"


def test_containers_of_a_machine_that_plays_hosts(world: World) -> None:
    load(world, "container/inside", sample("container", "inside.node"), "web1")
    load(world, "host/system", sample("host", "system.debian"), "web1")
    load(world, "container/podman", sample("container", "podman.both"), "big")
    rows = world.graph.cypher(
        "MATCH (h:Host)-[:RUNS_IN]->(c:Container)-[:STANDS_ON]->(m:Host) RETURN h.key, c.key, c.memory, m.key"
    ).rows
    assert rows == [["web1", "fda7e63b6254", 64 << 20, "big"]], "one container, told of from both sides"
    gone = load(world, "container/podman", sample("container", "podman.ps").replace("fda7e63b", "0000e63b"), "big", 1)
    assert gone.events >= 1 and not gone.refused


def test_what_is_refused_says_the_line(world: World) -> None:
    outcome = world.load("software/dpkg", "adduser\t3.152\tall\tii \nhello 2.10\n", NOW, "lab", "n1")
    assert "line 2: 'hello 2.10'" in outcome.refused
    assert world.facts.current("lab", "Package") == []
