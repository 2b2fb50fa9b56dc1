"""What changed between two times, and what was learnt later about the time before."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.inventory.conftest import NOON

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.errors import WrongUse
from qnib.inventory.between import between
from qnib.inventory.facts import Facts
from qnib.model import Entity, Ref, Relation, Snapshot

pytestmark = pytest.mark.engine


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def tell(facts: Facts, clock: FrozenClock, seconds: float, *things: Entity | Relation) -> None:
    clock.at = at(seconds)
    entities = [thing for thing in things if isinstance(thing, Entity)]
    relations = [thing for thing in things if isinstance(thing, Relation)]
    facts.apply("demo", "slurm", at(seconds), Snapshot(entities, relations, frozenset({"Node", "PART_OF"})))


IDLE = Entity("Node", "n0", {"state": "IDLE", "cpus": 2})
DRAINED = Entity("Node", "n0", {"state": "DRAINED", "cpus": 2})
OTHER = Entity("Node", "n1", {"state": "IDLE"})
MEMBER = Relation("PART_OF", Ref("Node", "n0"), Ref("Partition", "all"))


def test_what_began_changed_and_ended(facts: Facts, engine: Engine, clock: FrozenClock) -> None:
    tell(facts, clock, 0, IDLE, OTHER, MEMBER)
    tell(facts, clock, 100, DRAINED, OTHER, MEMBER, Entity("Node", "n2", {"state": "IDLE"}))
    tell(facts, clock, 200, DRAINED, Entity("Node", "n2", {"state": "IDLE"}))
    found = between(engine, "demo", at(50), at(250))
    assert found.counts == {"Node": {"began": 1, "changed": 1, "ended": 1}, "PART_OF": {"ended": 1}}
    told = {(row["what"], row["kind"], row["key"]): row for row in found.rows}
    assert told["changed", "Node", "n0"]["before"] == {"state": "IDLE"}
    assert told["changed", "Node", "n0"]["properties"]["state"] == "DRAINED"
    assert told["ended", "Node", "n1"]["time"] == at(200)
    assert [row["time"] for row in found.rows] == sorted((row["time"] for row in found.rows), reverse=True)
    assert between(engine, "demo", at(50), at(150)).counts == {"Node": {"began": 1, "changed": 1}}
    assert between(engine, "demo", at(50), at(250), ("PART_OF",)).counts == {"PART_OF": {"ended": 1}}
    assert between(engine, "demo", at(300), at(400)).counts == {}
    assert between(engine, "other", at(0), at(400)).counts == {}


def test_silence_is_no_change(facts: Facts, engine: Engine, clock: FrozenClock) -> None:
    clock.at = at(0)
    facts.apply("demo", "names", at(0), Snapshot([Entity("Host", "h0", {"name": "h0"})]))
    clock.at = at(1000)
    facts.apply("demo", "names", at(1000), Snapshot([]))
    assert between(engine, "demo", at(500), at(2000)).counts == {}, "not heard of any more is not an end"


def test_a_late_record_changes_the_past_and_says_so(facts: Facts, engine: Engine, clock: FrozenClock) -> None:
    job = {"id": 7, "state": "RUNNING"}
    tell(facts, clock, 0, Entity("Job", "7@0", job, since=at(0)))
    clock.at = at(5000)
    late = Entity("Job", "7@0", {**job, "state": "FAILED"}, since=at(0), until=at(100))
    facts.apply("demo", "sacct", at(5000), Snapshot([late]))
    found = between(engine, "demo", at(4000), at(6000))
    assert found.counts == {"Job": {"learnt": 1}}
    row = found.rows[0]
    assert (row["what"], row["until"], row["time"]) == ("learnt", at(100), row["recorded"])
    assert between(engine, "demo", at(50), at(150)).counts["Job"]["ended"] == 1, "the past tells it now"


def test_times_the_wrong_way_round(engine: Engine) -> None:
    with pytest.raises(WrongUse, match="not after the first"):
        between(engine, "demo", at(2), at(1))
