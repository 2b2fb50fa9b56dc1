"""The fabric as a picture: levels, leaves, distances, and a pulled cable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.inventory import distance, fabric
from qnib.inventory.facts import Facts
from qnib.inventory.picture import fabric_view
from qnib.model import Entity, Ref, Relation, Snapshot
from qnib.settings import Settings

pytestmark = pytest.mark.engine

START = datetime(2026, 11, 20, 10, tzinfo=UTC)
COMPLETE = frozenset({"CONNECTION", "CONNECTS", "USES", "LINK"})


def wired(links: list[tuple[str, str]], began: datetime) -> Snapshot:
    """Two spines over two leaves over four hosts, with these links plugged."""
    entities = [Entity("SW", name) for name in ("SW1", "SW2", "spine1", "spine2")]
    entities += [Entity("HCA", f"compute{n}") for n in range(4)]
    relations = [Relation("BELONGS_TO", Ref("HCA", f"compute{n}"), Ref("Host", f"compute{n}")) for n in range(4)]
    for a, b in links:
        key = f"{a}--{b}@{int(began.timestamp())}"
        facts = {"name": f"{a}--{b}", "a": a, "b": b, "width": "4x", "speed": "EDR"}
        entities += [Entity("CONNECTION", key, facts), Entity("CABLE", f"cable {a}--{b}")]
        relations.append(Relation("USES", Ref("CONNECTION", key), Ref("CABLE", f"cable {a}--{b}")))
    return Snapshot(entities, relations, COMPLETE)


LINKS = [
    ("SW1/1", "compute0/1"), ("SW1/2", "compute1/1"), ("SW2/1", "compute2/1"), ("SW2/2", "compute3/1"),
    ("SW1/5", "spine1/1"), ("SW1/6", "spine2/1"), ("SW2/5", "spine1/2"), ("SW2/6", "spine2/2"),
]  # fmt: skip


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(START)


@pytest.fixture
def facts(tmp_path: Path, clock: FrozenClock) -> Iterator[Facts]:
    engine = open_engine(Settings(home=tmp_path), clock)
    found = Facts(engine, clock)
    found.apply("lab", "infiniband.topology@fabric", START, wired(LINKS, START))
    yield found
    engine.close()


def test_hosts_hang_on_their_leaf(facts: Facts) -> None:
    assert fabric.leaf_of(facts, "lab", None) == {
        "compute0": "SW1", "compute1": "SW1", "compute2": "SW2", "compute3": "SW2",
    }  # fmt: skip


def test_two_links_below_a_leaf_four_across(facts: Facts) -> None:
    names, far = distance.hops(facts, "lab", ["compute2", "compute0", "compute1", "nowhere"], None)
    assert names == ["compute0", "compute1", "compute2", "nowhere"]
    assert far.tolist() == [[0, 2, 4, -1], [2, 0, 4, -1], [4, 4, 0, -1], [-1, -1, -1, 0]]


def test_the_picture_has_levels_and_every_device_once(facts: Facts) -> None:
    view = fabric_view(facts, "lab", None, None)
    levels = {node["id"]: node["level"] for node in view["nodes"]}
    assert levels == {"SW1": 1, "SW2": 1, "spine1": 2, "spine2": 2, **{f"compute{n}": 0 for n in range(4)}}
    assert {(node["x"], node["y"]) for node in view["nodes"]} == {(n["x"], n["y"]) for n in view["nodes"]}
    assert all(0 <= node["x"] <= 1 and 0 <= node["y"] <= 1 for node in view["nodes"])
    assert {link["state"] for link in view["links"]} == {"up"}
    assert view["changes"] == [], "the first look at a fabric is no change"


def test_a_pulled_cable_is_drawn_as_missing_and_known_before(facts: Facts, clock: FrozenClock) -> None:
    clock.advance(60)
    pulled = clock.now()
    facts.apply("lab", "infiniband.topology@fabric", pulled, wired(LINKS[1:], START))
    view = fabric_view(facts, "lab", None, None)
    down = [link for link in view["links"] if link["state"] == "down"]
    assert [link["id"] for link in down] == ["SW1/1--compute0/1"]
    assert {n["id"]: n["status"] for n in view["nodes"]}["compute0"] == "critical"
    assert [change["what"] for change in view["changes"]] == ["down"]
    assert fabric.port_of(facts, "lab", "compute0", None)["state"] == "down"  # type: ignore[index]
    then = fabric_view(facts, "lab", START, None)
    assert {link["state"] for link in then["links"]} == {"up"}
    assert len(then["links"]) == len(LINKS)


def test_a_job_lights_the_ways_between_its_hosts(facts: Facts) -> None:
    ties = [Relation("JOBCLIENT", Ref("Job", "7@1"), Ref("Host", host)) for host in ("compute0", "compute1")]
    facts.apply("lab", "slurm.jobs@controller", START, Snapshot([Entity("Job", "7@1")], ties))
    view = fabric_view(facts, "lab", None, "7@1")
    assert {link["id"] for link in view["links"] if link["on_route"]} == {"SW1/1--compute0/1", "SW1/2--compute1/1"}
