"""The fabric in links: leaves, distances."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.inventory import distance, fabric
from qnib.inventory.facts import Facts
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
