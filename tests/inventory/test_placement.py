"""Where a job's hosts are, what would have been closer, and what a failure means: on a fabric known by heart."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.inventory.conftest import NOON
from tests.inventory.test_questions import WIRES, wired

from qnib.clock import FrozenClock
from qnib.errors import NotFound, WrongUse
from qnib.inventory.blast import blast
from qnib.inventory.facts import Facts
from qnib.inventory.placement import place
from qnib.model import Entity, Ref, Relation, Snapshot

pytestmark = pytest.mark.engine
LATER = NOON + timedelta(minutes=5)


def allocation(number: int, hosts: str) -> list[Entity | Relation]:
    job = Entity("Job", f"{number}@1", {"id": number, "name": "gemm", "user": f"u{number}", "state": "RUNNING"}, NOON)
    return [job, *(Relation("JOBCLIENT", job.ref, Ref("Host", host), {}, NOON) for host in hosts.split())]


@pytest.fixture
def lab(facts: Facts, clock: FrozenClock) -> Facts:
    """Two hosts on each of two leaves below one spine; all nodes in service."""
    facts.apply("demo", "ib", NOON, wired(WIRES))
    hosts = [Entity("Host", f"h{n}", {"name": f"h{n}"}) for n in range(4)]
    nodes = [Entity("Node", f"h{n}", {"state": "IDLE"}) for n in range(4)]
    ties = [Relation("IS", node.ref, Ref("Host", node.key)) for node in nodes]
    members = [Relation("PART_OF", node.ref, Ref("Partition", "even" if n % 2 == 0 else "odd"))
               for n, node in enumerate(nodes)]
    facts.apply("demo", "slurm", NOON, Snapshot([*hosts, *nodes], [*ties, *members]))
    clock.at = LATER
    return facts


def run(facts: Facts, *things: Entity | Relation) -> None:
    entities = [thing for thing in things if isinstance(thing, Entity)]
    facts.apply("demo", "jobs", LATER, Snapshot(entities, [t for t in things if isinstance(t, Relation)]))


def test_a_job_that_could_have_been_on_one_leaf(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h2"))
    found = place(lab, "demo", ["h0", "h2"], began=NOON, job="1@1")
    assert (found.chosen.by_switch, found.chosen.hops, found.chosen.mean) == ({"SW1": ["h0"], "SW2": ["h2"]}, {4: 1}, 4)
    assert found.better is not None
    assert found.better.mean == 2
    assert found.better.hosts in (["h0", "h1"], ["h2", "h3"])


def test_nothing_better_when_the_neighbours_were_taken(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h2"), *allocation(2, "h1"), *allocation(3, "h3"))
    assert place(lab, "demo", ["h0", "h2"], began=NOON, job="1@1").better is None


def test_another_partitions_nodes_were_not_to_be_had(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h2"))
    assert place(lab, "demo", ["h0", "h2"], began=NOON, partition="even", job="1@1").better is None


def test_a_host_without_a_cable_has_no_place(lab: Facts) -> None:
    found = place(lab, "demo", ["h0", "ghost"], began=NOON)
    assert (found.unplaced, found.better) == (["ghost"], None)


def test_a_leaf_takes_its_hosts_and_their_jobs(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h2"), *allocation(2, "h3"))
    found = blast(lab, "demo", Ref("SW", "SW2"))
    assert found.lost == ["h2", "h3"]
    assert [(job["id"], job["hosts"]) for job in found.jobs] == [(1, ["h2"]), (2, ["h3"])]
    assert found.users == ["u1", "u2"]
    assert found.rerouted == []


def test_the_only_spine_parts_the_leaves(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h1"))
    found = blast(lab, "demo", Ref("SW", "SPINE"))
    assert len(found.lost) == 2, "one half keeps its name as the rest"
    assert set(found.lost) in ({"h0", "h1"}, {"h2", "h3"})


def test_a_cable_is_as_far_as_its_links(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h1"))
    for part in (Ref("PORT", "SW1/1"), Ref("CABLE", "c-h0/1"), Ref("HCA", "h0"), Ref("Host", "h0"), Ref("Node", "h0")):
        found = blast(lab, "demo", part)
        assert (found.lost, [job["id"] for job in found.jobs]) == (["h0"], [1]), part


def test_an_unused_port_harms_nobody(lab: Facts) -> None:
    run(lab, *allocation(1, "h0 h1"))
    found = blast(lab, "demo", Ref("PORT", "SPINE/2"))
    assert found.links == ["SW2/3--SPINE/2"]
    assert found.jobs == found.rerouted == []


def test_a_part_that_is_not_there(lab: Facts) -> None:
    with pytest.raises(NotFound, match="no SW 'SW9'"):
        blast(lab, "demo", Ref("SW", "SW9"))
    with pytest.raises(WrongUse, match="works for"):
        blast(lab, "demo", Ref("User", "alice"))
