"""The record over time: only changes are written, nothing is lost, and every instant can be asked for."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.inventory.conftest import NOON

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.inventory.facts import Facts, canonical
from qnib.model import Entity, Ref, Relation, Snapshot

pytestmark = pytest.mark.engine
SOURCE = "slurm.jobs@controller"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def node(state: str, name: str = "n1", **more: str) -> Entity:
    return Entity("Node", name, {"state": state, **more})


def whole(*entities: Entity, relations: tuple[Relation, ...] = ()) -> Snapshot:
    return Snapshot(entities, relations, frozenset({"Node", "PART_OF"}))


def rows(engine: Engine, table: str = "facts") -> int:
    return int(engine.rows(f"SELECT count() AS n FROM qnib.{table}")[0]["n"])


def states(facts: Facts, seconds: float) -> dict[str, object]:
    return {fact.key: fact.properties["state"] for fact in facts.entities("c", "Node", at(seconds))}


def test_an_unchanged_snapshot_costs_one_row_of_confirmation(facts: Facts, engine: Engine) -> None:
    assert facts.apply("c", SOURCE, at(0), whole(node("IDLE"), node("IDLE", "n2"))).opened
    for minute in range(1, 4):
        assert not facts.apply("c", SOURCE, at(60 * minute), whole(node("IDLE"), node("IDLE", "n2")))
    assert (rows(engine), rows(engine, "confirmations")) == (2, 4)
    assert facts.confirmed(facts.current("c", "Node")[0]) == at(180)


def test_every_instant_can_be_asked_for(facts: Facts) -> None:
    facts.apply("c", SOURCE, at(0), whole(node("IDLE"), node("IDLE", "n2")))
    changes = facts.apply("c", SOURCE, at(10), whole(node("ALLOCATED"), node("IDLE", "n2")))
    ((old, new),) = changes.changed
    assert (old.properties["state"], new.properties["state"]) == ("IDLE", "ALLOCATED")
    changes = facts.apply("c", SOURCE, at(20), whole(node("ALLOCATED")))
    assert [fact.key for fact in changes.ended] == ["n2"]
    facts.apply("c", SOURCE, at(30), whole(node("ALLOCATED"), node("IDLE", "n2")))
    assert states(facts, -1) == {}
    assert states(facts, 5) == {"n1": "IDLE", "n2": "IDLE"}
    assert states(facts, 15) == {"n1": "ALLOCATED", "n2": "IDLE"}
    assert states(facts, 25) == {"n1": "ALLOCATED"}
    assert states(facts, 35) == {"n1": "ALLOCATED", "n2": "IDLE"}
    history = facts.history("c", Ref("Node", "n2"))
    assert [(fact.since, fact.until) for fact in history] == [(at(0), at(20)), (at(30), None)]


def test_silence_about_other_kinds_ends_nothing_and_confirms_nothing(facts: Facts, engine: Engine) -> None:
    seen = Snapshot([Entity("HCA", "h1", {}), Entity("HCA", "h2", {})])
    facts.apply("c", "ib", at(0), seen)
    facts.apply("c", "ib", at(10), Snapshot([Entity("HCA", "h1", {})]))
    facts.apply("c", "ib", at(20), Snapshot([Entity("HCA", "h1", {})]))
    held = {fact.key: fact for fact in facts.current("c", "HCA")}
    assert set(held) == {"h1", "h2"}
    assert facts.confirmed(held["h1"]) == at(20)
    assert facts.confirmed(held["h2"]) == at(0)
    again = Facts(engine, FrozenClock(at(25)))
    assert again.confirmed({f.key: f for f in again.current("c", "HCA")}["h2"]) == at(0), "known after a restart, too"
    facts.apply("c", "ib", at(30), seen)
    assert facts.confirmed({fact.key: fact for fact in facts.current("c", "HCA")}["h2"]) == at(30)


def test_what_two_sources_tell_ends_when_both_are_silent(facts: Facts) -> None:
    alias = Snapshot([Entity("Alias", "a", {})], complete=frozenset({"Alias"}))
    nothing = Snapshot(complete=frozenset({"Alias"}))
    facts.apply("c", "one", at(0), alias)
    facts.apply("c", "two", at(1), alias)
    assert not facts.apply("c", "one", at(2), nothing).ended
    assert [fact.key for fact in facts.apply("c", "two", at(3), nothing).ended] == ["a"]


def test_an_older_snapshot_undoes_nothing(facts: Facts, engine: Engine) -> None:
    facts.apply("c", SOURCE, at(0), whole(node("IDLE")))
    facts.apply("c", SOURCE, at(20), whole(node("DOWN")))
    assert facts.apply("c", SOURCE, at(10), whole(node("ALLOCATED"))).late
    assert states(facts, 30) == {"n1": "DOWN"}
    again = Facts(engine, FrozenClock(at(25)))
    assert again.apply("c", SOURCE, at(15), whole(node("IDLE"))).late, "not after a restart either"


def job(state: str, since: float, until: float | None = None, **more: int) -> Snapshot:
    end = None if until is None else at(until)
    return Snapshot(
        [Entity("Job", "1@0", {"state": state, **more}, at(since), end)],
        [Relation("JOBCLIENT", Ref("Job", "1@0"), Ref("Host", "n1"), {}, at(since), end)] if state != "PENDING" else (),
        frozenset({"Job", "JOBCLIENT"}),
    )


def test_a_job_through_its_life(facts: Facts) -> None:
    facts.apply("c", SOURCE, at(5), job("PENDING", 0))
    facts.apply("c", SOURCE, at(40), job("RUNNING", 30))
    changes = facts.apply("c", SOURCE, at(100), job("FAILED", 90, 90, exit_code=3))
    assert [(fact.kind, fact.until, fact.stated) for fact in changes.ended] == [
        ("Job", at(90), True), ("JOBCLIENT", at(90), True)
    ]  # fmt: skip
    assert not facts.apply("c", SOURCE, at(130), job("FAILED", 90, 90, exit_code=3))
    assert not facts.apply("c", SOURCE, at(160), Snapshot(complete=frozenset({"Job", "JOBCLIENT"}))), "SLURM forgot it"
    shown = {s: [fact.properties["state"] for fact in facts.entities("c", "Job", at(s))] for s in (10, 35, 95)}
    assert shown == {10: ["PENDING"], 35: ["RUNNING"], 95: []}
    (last,) = facts.entities("c", "Job")
    assert (last.properties["state"], last.began, last.until) == ("FAILED", at(0), at(90))
    (allocation,) = facts.relations("c", "JOBCLIENT")
    assert (allocation.began, allocation.until) == (at(30), at(90))
    assert facts.current("c", "Job") == []


def test_the_outcome_of_an_ended_job_may_come_late(facts: Facts) -> None:
    facts.apply("c", SOURCE, at(0), job("RUNNING", 0))
    facts.apply("c", SOURCE, at(100), job("FAILED", 90, 90))
    changes = facts.apply("c", SOURCE, at(130), job("FAILED", 80, 80, exit_code=9))
    assert len(changes.corrected) == 2 and not changes.ended
    (last,) = facts.entities("c", "Job")
    assert (last.properties["exit_code"], last.until) == (9, at(80))


def test_a_job_that_began_and_ended_unseen(facts: Facts) -> None:
    changes = facts.apply("c", SOURCE, at(100), job("COMPLETED", 60, 60))
    assert changes.opened and changes.ended
    assert [fact.until for fact in facts.entities("c", "Job")] == [at(60)]
    assert facts.entities("c", "Job", at(100)) == []


def test_an_earlier_start_told_late_changes_the_past(facts: Facts) -> None:
    facts.apply("c", SOURCE, at(50), whole(node("IDLE")))
    told = Snapshot([Entity("Node", "n1", {"state": "IDLE"}, since=at(10))], complete=frozenset({"Node"}))
    changes = facts.apply("c", SOURCE, at(60), told)
    assert [(old.began, new.began) for old, new in changes.corrected] == [(at(50), at(10))]
    assert states(facts, 20) == {"n1": "IDLE"}
    assert len(facts.history("c", Ref("Node", "n1"))) == 1


def test_a_restart_knows_what_was_known(facts: Facts, engine: Engine) -> None:
    facts.apply("c", SOURCE, at(0), whole(node("IDLE"), node("IDLE", "n2")))
    facts.apply("c", SOURCE, at(10), whole(node("DOWN", reason="x")))
    facts.apply("d", SOURCE, at(10), whole(node("IDLE", "other")))
    before = {(f.cluster, f.form, f.kind, f.key, f.since, f.until) for f in facts.everything(at(-10))}
    again = Facts(engine, FrozenClock(at(20)))
    assert {(f.cluster, f.form, f.kind, f.key, f.since, f.until) for f in again.everything(at(-10))} == before
    assert not again.apply("c", SOURCE, at(30), whole(node("DOWN", reason="x")))
    assert again.clusters() == ["c", "d"]
    assert [fact.key for fact in again.current("d", "Node")] == ["other"]


def test_nothing_has_happened_when_it_could_not_be_written(facts: Facts) -> None:
    def fail(changes: object) -> None:
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        facts.apply("c", SOURCE, at(0), whole(node("IDLE")), fail)
    assert facts.current("c", "Node") == []
    assert facts.apply("c", SOURCE, at(0), whole(node("IDLE"))).opened


def test_names_lead_to_the_host(facts: Facts) -> None:
    def alias(kind: str, name: str, host: str) -> Relation:
        return Relation("ALIAS_OF", Ref("Alias", f"{kind}:{name}"), Ref("Host", host))

    told = Snapshot(
        [Entity("Host", "c0", {})],
        [alias("fqdn", "c0.site.org", "c0"), alias("infiniband", "c0 HCA-1", "c0"), alias("slurm", "node0", "c0")],
        frozenset({"ALIAS_OF"}),
    )
    facts.apply("c", "names", at(0), told)
    assert {facts.resolve("c", name) for name in ("c0", "c0.site.org", "c0 HCA-1", "node0", "c0_site_org")} == {"c0"}
    assert facts.resolve("c", "elsewhere") is None and facts.resolve("other", "c0") is None
    facts.apply("c", "names", at(10), Snapshot([Entity("Host", "c0", {})], complete=frozenset({"ALIAS_OF"})))
    assert facts.resolve("c", "node0") is None
    assert facts.resolve("c", "node0", at(5)) == "c0"
    facts.apply("c", "names", at(20), told)
    named = canonical(facts, "c", Snapshot(relations=[Relation("JOBCLIENT", Ref("Job", "1"), Ref("Host", "node0"))]))
    assert named.relations[0].target == Ref("Host", "c0")
