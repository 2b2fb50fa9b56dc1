"""What one look cannot know: the same cable, the same job, an end nobody saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.domains.golden import AT

from qnib.domains.infiniband import cables as serials
from qnib.domains.infiniband import identity as cables
from qnib.domains.infiniband.collect import parse_topology
from qnib.domains.slurm import identity as jobs
from qnib.domains.slurm.collect import parse_jobs
from qnib.domains.slurm.sacctmgr import parse_ended, settle_ended
from qnib.model import Entity, Ref, Relation, Snapshot


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


class Record:
    """A record in memory: as much of it as `settle` may ask for."""

    def __init__(self) -> None:
        self.held: dict[Ref, Entity] = {}
        self.over: list[Entity] = []
        self.relations: dict[tuple[str, Ref, Ref], Relation] = {}
        self.past: list[Relation] = []

    def open(self, kind: str) -> Sequence[Entity]:
        return [entity for entity in self.held.values() if entity.kind == kind]

    def ended(self, kind: str, since: datetime) -> Sequence[Entity]:
        found = [entity for entity in self.over if entity.kind == kind and entity.until and entity.until > since]
        return sorted(found, key=lambda entity: entity.until or since, reverse=True)

    def entities(self, kind: str) -> Sequence[Entity]:
        return [*self.ended(kind, datetime.min.replace(tzinfo=UTC)), *self.open(kind)]

    def ties(self, kind: str) -> Sequence[Relation]:
        return [tie for tie in (*self.past, *self.relations.values()) if tie.kind == kind]

    def find(self, kind: str, start: str) -> Sequence[Entity]:
        return [entity for entity in self.open(kind) if entity.key.startswith(start)]

    def take(self, seen: Snapshot, when: datetime) -> None:
        told = {entity.ref: entity for entity in seen.entities}
        for ref in list(self.held):
            if ref not in told and ref.kind in seen.complete:
                self.over.append(replace(self.held.pop(ref), until=when))
        for ref, entity in told.items():
            if entity.until is None:
                self.held[ref] = entity
            else:
                self.held.pop(ref, None)
                self.over.append(entity)
        ties = {(tie.kind, tie.source, tie.target): tie for tie in seen.relations}
        for key in list(self.relations):
            if key not in ties and key[0] in seen.complete:
                self.past.append(replace(self.relations.pop(key), until=when))
        self.relations.update({key: tie for key, tie in ties.items() if tie.until is None})


def wires(*pairs: tuple[str, str]) -> Snapshot:
    links = [Relation("LINK", Ref("PORT", a), Ref("PORT", b), {"width": "4x", "speed": "QDR"}) for a, b in pairs]
    return Snapshot([], links, frozenset({"LINK", "CONNECTION", "CONNECTS", "USES", "CABLE"}))


def look(record: Record, seconds: float, *pairs: tuple[str, str]) -> dict[tuple[str, str], Entity]:
    """Settle one look and take it into the record; the cable of each pair of ports."""
    seen = cables.settle(wires(*pairs), record, at(seconds))
    record.take(seen, at(seconds))
    found = {entity.key: entity for entity in seen.entities if entity.kind == "CABLE"}
    return {
        cables.ends_of(tie.source.key): found[tie.target.key] for tie in seen.relations if tie.kind == "USES"
    }


A, B, C, D = ("SW1/1", "h0/1"), ("SW1/2", "h1/1"), ("SW1/3", "h0/1"), ("SW1/4", "h1/1")


def test_a_cable_that_stays_is_the_same() -> None:
    record = Record()
    first = look(record, 0, A, B)
    assert look(record, 60, A, B) == first
    assert {cable.properties["identity"] for cable in first.values()} == {"unknown"}
    assert len({cable.key for cable in first.values()}) == 2


@pytest.mark.parametrize("seconds", [10, 600])
def test_one_end_moved_is_the_same_cable_inferred(seconds: float) -> None:
    record = Record()
    before = look(record, 0, A, B)
    look(record, 5, B)
    after = look(record, 5 + seconds, B, C)
    assert after[C].key == before[A].key
    assert after[C].properties["inferred"] is True


def test_one_end_moved_between_two_looks() -> None:
    record = Record()
    before = look(record, 0, A, B)
    assert look(record, 60, B, C)[C].key == before[A].key


def test_too_late_is_unknown() -> None:
    record = Record()
    before = look(record, 0, A, B)
    look(record, 5, B)
    after = look(record, 5 + cables.SHORTLY.total_seconds() + 1, B, C)
    assert after[C].key != before[A].key
    assert after[C].properties["identity"] == "unknown"


def test_the_same_place_again_is_unknown_but_says_which_it_may_be() -> None:
    record = Record()
    before = look(record, 0, A, B)
    look(record, 5, B)
    after = look(record, 15, A, B)
    assert after[A].key != before[A].key
    assert (after[A].properties["identity"], after[A].properties["maybe"]) == ("unknown", before[A].key)


def test_both_ends_moved_is_unknown() -> None:
    record = Record()
    before = look(record, 0, A)
    assert look(record, 30, ("SW2/7", "h9/1"))["SW2/7", "h9/1"].key != before[A].key


def test_two_moved_at_once_are_told_apart_by_their_other_ends() -> None:
    record = Record()
    before = look(record, 0, A, B)
    look(record, 5)
    after = look(record, 20, C, D)
    assert (after[C].key, after[D].key) == (before[A].key, before[B].key)


def test_two_new_ones_that_could_both_be_it_are_unknown() -> None:
    record = Record()
    before = look(record, 0, A)
    look(record, 5)
    after = look(record, 20, ("SW1/1", "h5/1"), ("SW1/3", "h0/1"))
    assert before[A].key not in {cable.key for cable in after.values()}


def test_a_plug_makes_a_connection_of_its_own() -> None:
    record = Record()
    look(record, 0, A)
    look(record, 5)
    look(record, 15, A)
    names = [entity.key for entity in record.entities("CONNECTION")]
    assert len(set(names)) == 2 and {cables.ends_of(name) for name in names} == {A}


def test_an_answer_with_time_outs_ends_nothing() -> None:
    sample = Path(cables.__file__).parent / "samples/topology.cable_out.txt"
    complaint = "src/query_smp.c:195; umad (DR path 0,1,2 Attr 0x11:0) bad status 110; Connection timed out\n"
    assert parse_topology(complaint + sample.read_text(), AT).complete == frozenset()


def queue(*records: dict[str, str]) -> str:
    from qnib.domains.slurm.collect import JOB_FIELDS, RS, US

    usual = dict.fromkeys(JOB_FIELDS, "") | {
        "UserName": "alice", "Partition": "all", "NumNodes": "1", "NumCPUs": "1", "MinMemory": "50M", "Name": "gemm",
        "exit_code": "0:0", "RestartCnt": "0", "EndTime": "NONE", "TimeLimit": "UNLIMITED",
    }  # fmt: skip
    return "".join(US.join({**usual, **record}.values()) + RS + "\n" for record in records)


def seen(record: Record, seconds: float, *told: dict[str, str]) -> Snapshot:
    snapshot = jobs.settle(parse_jobs(queue(*told), at(seconds)), record, at(seconds))
    record.take(snapshot, at(seconds))
    return snapshot


RUNNING = {"JobID": "42", "SubmitTime": "1000", "State": "RUNNING", "StartTime": "1010", "NodeList": "n1"}
REQUEUED = {"JobID": "42", "SubmitTime": "1500", "State": "PENDING", "StartTime": "1600", "RestartCnt": "1"}
AGAIN = {**REQUEUED, "State": "RUNNING", "StartTime": "1700", "NodeList": "n2"}


def test_a_requeued_job_is_the_same_job() -> None:
    record = Record()
    seen(record, 0, RUNNING)
    snapshot = seen(record, 10, REQUEUED)
    job = next(entity for entity in snapshot.entities if entity.kind == "Job" and entity.until is None)
    assert job.key == "42@1000"
    assert (job.properties["attempt"], job.properties["state"]) == (2, "PENDING")
    assert job.properties["submit"] == "1970-01-01T00:16:40Z"
    ended = next(tie for tie in snapshot.relations if tie.kind == "JOBCLIENT")
    assert (ended.target.key, ended.until) == ("n1", at(10)), "the allocation of the first attempt is over"
    snapshot = seen(record, 20, AGAIN)
    assert {e.key for e in snapshot.entities if e.kind == "Attempt"} == {"42@1000#2"}
    assert {str(t.source) for t in snapshot.relations if t.kind == "JOBCLIENT"} == {"Job:42@1000"}
    assert len({entity.key for entity in record.entities("Job")}) == 1


def test_a_requeued_job_cancelled_before_it_ran_again() -> None:
    record = Record()
    seen(record, 0, RUNNING)
    seen(record, 10, REQUEUED)
    seen(record, 20, {**REQUEUED, "State": "CANCELLED", "StartTime": "1550", "EndTime": "1550"})
    (job,) = record.entities("Job")
    assert (job.key, job.properties["state"]) == ("42@1000", "CANCELLED")


def test_the_number_of_another_job_is_another_job() -> None:
    record = Record()
    seen(record, 0, RUNNING)
    seen(record, 10, {**RUNNING, "State": "COMPLETED", "EndTime": "1020"})
    snapshot = seen(record, 20, {**RUNNING, "SubmitTime": "9000", "StartTime": "9010"})
    assert "42@9000" in {entity.key for entity in snapshot.entities}


def test_a_job_forgotten_before_its_end_was_seen_has_ended() -> None:
    record = Record()
    seen(record, 0, RUNNING)
    snapshot = seen(record, 30)
    (job,) = [entity for entity in snapshot.entities if entity.kind == "Job"]
    assert (job.properties["state"], job.until) == ("UNKNOWN", at(30))
    assert {tie.kind for tie in snapshot.relations} >= {"JOBCLIENT", "SUBMITTED"}
    assert not seen(record, 60).entities


GUIDS = {"SW1": "0x0000000000000051", "h0": "0x0000000000000100", "h1": "0x0000000000000101"}


def db_csv(*rows: tuple[str, int, str]) -> str:
    told = "".join(f"{guid},{guid},{port},1,Mellanox,0x2c9,MCP1600-E003,{serial},A2\n" for guid, port, serial in rows)
    head = "NodeGuid,PortGuid,PortNum,Source,Vendor,OUI,PN,SN,Rev\n"
    return f"START_NODES\nNodeDesc\nSW1\nEND_NODES\nSTART_CABLE_INFO\n{head}{told}END_CABLE_INFO\n"


def wired() -> Record:
    """A and B are plugged in, on devices whose GUIDs are known."""
    record = Record()
    devices = [Entity("SW" if name == "SW1" else "HCA", name, {"guid": guid}) for name, guid in GUIDS.items()]
    record.take(Snapshot(devices), at(0))
    look(record, 0, A, B)
    return record


def read_serials(record: Record, seconds: float, *rows: tuple[str, int, str]) -> list[str]:
    """Take in what ibdiagnet told of cables; the connections it was about."""
    told = serials.settle_cables(serials.parse_cables(db_csv(*rows), at(seconds)), record, at(seconds))
    record.take(told, at(seconds))
    return [tie.source.key.partition("@")[0] for tie in told.relations]


def test_a_cable_with_a_serial_is_the_same_wherever_it_is_plugged_in() -> None:
    record = wired()
    about = read_serials(
        record, 10, ("0x51", 1, "MT17"), ("0x100", 1, "MT17"), ("0x51", 9, "MT99"), ("0xbad", 1, "MT1"),
        ("0x51", 2, "NA"),
    )
    assert about == ["SW1/1--h0/1"], "what is plugged in nowhere, or could not be read, is not told"
    assert look(record, 20, A, B)[A].key == "MT17"
    # Moved at both ends, and an hour later: only the serial can tell.
    assert look(record, 30, B)
    assert look(record, 4000, B, D)[D].key != "MT17"
    read_serials(record, 4010, ("0x51", 4, "MT17"))
    assert look(record, 4020, B, D)[D].key == "MT17"


def test_a_serial_outlives_a_move_of_one_end() -> None:
    record = wired()
    read_serials(record, 10, ("0x100", 1, "MT17"))
    look(record, 20, A, B)
    moved = look(record, 30, B, C)[C]
    assert (moved.key, moved.properties["identity"]) == ("MT17", "serial")


def test_two_modules_with_a_fibre_have_no_serial_in_common() -> None:
    assert read_serials(wired(), 10, ("0x51", 1, "MT17"), ("0x100", 1, "MT18")) == []


@pytest.mark.parametrize("text", [
    "", "START_CABLE_INFO\nNodeGuid,PortNum,SN\n0x1,1,A\n", "START_CABLE_INFO\nSN\nEND_CABLE_INFO\n",
    "START_CABLE_INFO\nNodeGuid,PortNum,SN\n0x1,1\nEND_CABLE_INFO\n",
    "START_CABLE_INFO\nNodeGuid,PortNum,SN\nguid,1,A\nEND_CABLE_INFO\n",
])  # fmt: skip
def test_what_is_no_list_of_cables(text: str) -> None:
    with pytest.raises(ValueError, match=r"CABLE_INFO|columns|invalid literal"):
        serials.parse_cables(text, at(0))


# ── what accounting adds to what the queue told ───────────────────────────────────────────────

SACCT = """TZ=UTC
JobIDRaw|JobID|User|Account|QOS|State|Submit|Start|End|ExitCode|NodeList|NNodes|NCPUS|JobName
7|7|alice|chemistry|normal|COMPLETED|2026-11-20T11:59:00|2026-11-20T11:59:01|2026-11-20T11:59:30|0:0|c[0-1]|2|2|run
7.0|7.0||chemistry||COMPLETED|2026-11-20T11:59:01|2026-11-20T11:59:01|2026-11-20T11:59:30|0:0|c[0-1]|2|2|hostname
"""
KEY = "7@1795175940"  # 2026-11-20T11:59:00Z


def past(state: str, until: datetime | None) -> Record:
    """A record in which the queue has told of job 7."""
    record = Record()
    job = Entity("Job", KEY, {"id": 7, "state": state, "limit": 60}, since=at(-60), until=until)
    record.take(Snapshot([job, Entity("Attempt", f"{KEY}#1", {}, since=at(-59), until=until)]), at(-20))
    return record


def test_accounting_adds_steps_to_what_the_queue_told() -> None:
    seen = settle_ended(parse_ended(SACCT, AT), past("COMPLETED", at(-30)), AT)
    assert [entity.key for entity in seen.entities] == [f"{KEY}#1.0"]
    assert [(tie.kind, tie.target.key) for tie in seen.relations] == [("STEP_OF", f"{KEY}#1")]
    assert seen.partial and not seen.complete


@pytest.mark.parametrize("record", [past("RUNNING", None), past("UNKNOWN", at(-10)), Record()],
                         ids=["still open", "forgotten", "never seen"])  # fmt: skip
def test_accounting_tells_an_end_that_the_queue_did_not(record: Record) -> None:
    seen = settle_ended(parse_ended(SACCT, AT), record, AT)
    job = next(entity for entity in seen.entities if entity.kind == "Job")
    assert (job.key, job.properties["state"], job.properties["account"]) == (KEY, "COMPLETED", "chemistry")
    assert {entity.kind for entity in seen.entities} == {"Job", "Attempt", "Step", "User", "Account"}
    assert sum(tie.kind == "JOBCLIENT" for tie in seen.relations) == 2
