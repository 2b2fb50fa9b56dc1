"""A capture on its whole way: raw text to facts, graph and events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qnib.clock import FrozenClock
from qnib.discovery import apply_capture
from qnib.domains import all_domains
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Changes, Facts
from qnib.inventory.graph import Graph, open_graph
from qnib.model import Ref
from qnib.monitoring import events
from qnib.monitoring.spool import Record
from qnib.settings import load

pytestmark = pytest.mark.engine
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SAMPLES = {domain.name: domain.folder / "samples" for domain in all_domains()}


class World:
    """Engine, facts and graph, and a way to hand in samples as an agent would."""

    def __init__(self, home: Path) -> None:
        settings = load(home=home)
        self.clock = FrozenClock(NOON)
        self.engine: Engine = open_engine(settings, self.clock)
        self.facts = Facts(self.engine, self.clock)
        self.graph: Graph = open_graph(settings, self.facts, self.clock)
        self.published: list[str] = []

    def publish(
        self, topic: str, cluster: str, newest: datetime | None, events: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.published.append(topic)

    def hand_in(self, capture: str, text: str, seconds: float, host: str = "controller") -> Changes:
        domain, name = capture.split("/")
        at = NOON + timedelta(seconds=seconds)
        self.clock.at = max(self.clock.at, at)
        head = json.dumps({"domain": domain, "capture": name, "host": host, "at": at.isoformat()})
        record = Record(self.clock.at, "demo", "10.0.0.2", "http", head.encode() + b"\n" + text.encode())
        self.published.clear()
        return apply_capture(self.engine, self.facts, self.graph, self.clock, record, self.publish)

    def told(self, kind: str = "") -> list[dict[str, Any]]:
        start, end = NOON - timedelta(days=1), NOON + timedelta(days=1)
        found: list[dict[str, Any]] = events.search(self.engine, "demo", start, end, kind=kind)["events"]
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.graph.close()
    made.engine.close()


def sample(domain: str, name: str) -> str:
    return (SAMPLES[domain] / name).read_text()


def test_a_cable_pulled_and_put_back(world: World) -> None:
    whole, out = sample("infiniband", "topology.whole.txt"), sample("infiniband", "topology.cable_out.txt")
    assert len(world.hand_in("infiniband/topology", whole, 0, "fabric").opened) > 100
    assert world.told() == [], "the first look at a fabric is no change of it"
    assert "fabric" in world.published
    world.hand_in("infiniband/topology", out, 10, "fabric")
    (down,) = world.told("link.down")
    assert {"PORT:SW1/2", "PORT:compute1/1", "HCA:compute1", "SW:SW1", "Host:compute1"} <= set(down["entities"])
    assert (down["host"], down["lane"], down["severity"]) == ("compute1", "fabric", "err")
    assert {"fabric", "events"} <= set(world.published)
    query = "MATCH (c:CONNECTION)-[:CONNECTS]->(:PORT {key: 'SW1/2'}) RETURN c.since, c.until ORDER BY c.since"
    assert [row[1] for row in world.graph.cypher(query).rows] == ["2026-11-20T12:00:10.000Z"]
    assert world.graph.cypher(query, at=NOON + timedelta(seconds=5)).rows, "asked about before: the old wiring"
    assert world.graph.cypher(query, at=NOON + timedelta(seconds=15)).rows == []
    world.hand_in("infiniband/topology", whole, 20, "fabric")
    (up,) = world.told("link.up")
    assert "PORT:SW1/2" in up["entities"]
    assert [row[1] for row in world.graph.cypher(query).rows] == ["2026-11-20T12:00:10.000Z", None]


def test_jobs_nodes_and_their_events(world: World) -> None:
    world.hand_in("slurm/nodes", sample("slurm", "nodes.busy.txt"), 0)
    world.hand_in("slurm/jobs", "", 1)
    changes = world.hand_in("slurm/jobs", sample("slurm", "jobs.busy.txt"), 43_200)
    assert {"jobs", "nodes"} & set(world.published)
    assert len([fact for fact in changes.opened if fact.kind == "Job"]) == 5
    (failed,) = world.told("job.failed")
    assert failed["message"].startswith("job 8 (odd name = a|b") and "exit code 3" in failed["message"]
    assert "Job:8@1795219134" in failed["entities"]
    world.hand_in("slurm/nodes", sample("slurm", "nodes.drained.txt"), 43_210)
    (drained,) = world.told("node.drain")
    assert (drained["host"], drained["fields"]["reason"]) == ("n2", "bad = disk | 50% full")
    assert world.facts.resolve("demo", "10.89.0.12") == "n2"
    rows = world.graph.cypher("MATCH (j:Job {id: 9})-[c:JOBCLIENT]->(h:Host) RETURN h.key, c.cpus ORDER BY h.key").rows
    assert rows == [["n1", 1], ["n2", 1]]


def test_a_host_known_by_another_name(world: World) -> None:
    """SLURM's NodeName and the adapter's NodeDescription lead to the host by its own name."""
    world.hand_in("slurm/nodes", sample("slurm", "nodes.busy.txt").replace("n1\x1fn1\x1f", "n1\x1fhost-one\x1f"), 0)
    world.hand_in("slurm/jobs", sample("slurm", "jobs.busy.txt"), 10)
    hosts = {fact.target for fact in world.facts.current("demo", "JOBCLIENT")}
    assert hosts == {Ref("Host", "host-one"), Ref("Host", "n2")}


def test_the_same_capture_twice_is_told_once(world: World) -> None:
    """A spool file is replayed after a crash: as if it had come once."""
    whole, out = sample("infiniband", "topology.whole.txt"), sample("infiniband", "topology.cable_out.txt")
    for text, seconds in ((whole, 0), (out, 10), (whole, 0), (out, 10)):
        world.hand_in("infiniband/topology", text, seconds, "fabric")
    assert len(world.told("link.down")) == 1
    assert world.hand_in("infiniband/topology", whole, 5, "fabric").late


def test_killed_between_event_and_fact(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = sample("infiniband", "topology.whole.txt"), sample("infiniband", "topology.cable_out.txt")
    world.hand_in("infiniband/topology", whole, 0, "fabric")
    with monkeypatch.context() as patch:
        record = events.record

        def recorded_and_killed(*given: Any, **more: Any) -> int:
            record(*given, **more)
            raise KeyboardInterrupt

        patch.setattr(events, "record", recorded_and_killed)
        with pytest.raises(KeyboardInterrupt):
            world.hand_in("infiniband/topology", out, 10, "fabric")
    assert world.facts.current("demo", "CONNECTION"), "nothing has happened yet"
    world.hand_in("infiniband/topology", out, 10, "fabric")
    assert len(world.told("link.down")) == 1


@pytest.mark.parametrize(
    ("head", "text"),
    [("not json", ""), ("{}", ""), ('{"domain":"x","capture":"y","host":"h","at":"2026-11-20T12:00:00Z"}', ""),
     ('{"domain":"slurm","capture":"jobs","host":"h","at":"yesterday"}', ""),
     ('{"domain":"slurm","capture":"jobs","host":"h","at":"2026-11-20T12:00:00Z"}', "slurm_load_jobs error: refused"),
     ('{"domain":"infiniband","capture":"topology","host":"h","at":"2026-11-20T12:00:00Z"}', "")],
)  # fmt: skip
def test_what_is_no_capture_changes_nothing(world: World, head: str, text: str) -> None:
    world.hand_in("slurm/jobs", sample("slurm", "jobs.busy.txt"), 0)
    before = len(world.facts.current("demo", "Job"))
    record = Record(NOON, "demo", "10.0.0.2", "http", f"{head}\n{text}".encode())
    with pytest.raises(ValueError, match=r"."):
        apply_capture(world.engine, world.facts, world.graph, world.clock, record, world.publish)
    assert len(world.facts.current("demo", "Job")) == before


def test_a_clock_that_is_ahead_does_not_make_the_rest_old(world: World) -> None:
    text = sample("slurm", "partitions.busy.txt")
    head = json.dumps({"domain": "slurm", "capture": "partitions", "host": "c", "at": "2030-01-01T00:00:00Z"})
    record = Record(NOON, "demo", "10.0.0.2", "http", head.encode() + b"\n" + text.encode())
    apply_capture(world.engine, world.facts, world.graph, world.clock, record)
    assert not world.hand_in("slurm/partitions", text, 30, "c").late
    assert {fact.since for fact in world.facts.current("demo", "Partition")} == {NOON}
