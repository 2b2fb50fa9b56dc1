"""Files of settings: what stands in them, what changed, and what is nobody's business."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.discovery.own import tell_settings
from qnib.domains.configs import differences, equals, events, secret, snapshot, words
from qnib.domains.slurm.happened import job_events, partition_events
from qnib.engine.chdb import open_engine
from qnib.model import Change, Entity
from qnib.monitoring.events import search
from qnib.settings import Http, load

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Nothing:
    """A record that knows nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: []


def test_slurm_conf_is_read_with_its_odd_corners() -> None:
    told = equals(
        "A=1\n# x\n\nB = two words # why\nC=1,\\\n2\nNodeName=n[1-2] CPUs=2\nNodeName=m CPUs=1\nA=3\nInclude x.conf\n"
    )
    assert told == {"A": "3", "B": "two words", "C": "1, 2", "NodeName=n[1-2]": "CPUs=2", "NodeName=m": "CPUs=1",
                    "Include x.conf": ""}  # fmt: skip
    with pytest.raises(ValueError, match="neither a setting"):
        equals("\x7fELF garbage")


def test_opensm_conf_is_read() -> None:
    assert words("# c\nrouting_engine ftree,minhop\nempty\nsweep_interval 10 # s\n") == {
        "routing_engine": "ftree,minhop", "empty": "", "sweep_interval": "10",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["AccountingStoragePass", "JobCompPass", "m_key", "sm_key", "password", "api_token", "secret"]
)
def test_secrets_are_not_told(name: str) -> None:
    assert secret(name)
    one = snapshot("k", "f", "h", {name: "hunter2"}).entities[0]
    assert "hunter2" not in str(one.properties)


def test_what_changed_is_told_in_words() -> None:
    before, after = (snapshot("control/slurm.conf", "slurm.conf", "control", told).entities[0] for told in (
        {"Debug": "info", "Prolog": "/a", "Same": "1"}, {"Debug": "debug", "Epilog": "/b", "Same": "1"}))  # fmt: skip
    (told,) = events([Change("changed", after, before)], Nothing(), NOON)  # type: ignore[arg-type]
    assert told.kind == "config.changed"
    assert (
        told.message == "slurm.conf of control changed: Debug info → debug, Epilog /b is new, Prolog is gone (was /a)"
    )
    assert [str(ref) for ref in told.entities] == ["Config:control/slurm.conf", "Host:control"]
    assert events([Change("changed", after, after)], Nothing(), NOON) == []  # type: ignore[arg-type]
    assert differences({"a": "1"}, {"a": "1"}) == []


def test_a_partition_that_changed_came_or_went() -> None:
    before, after = (
        Entity("Partition", "odd", {"limit": limit, "state": "UP", "nodes": "n1"}) for limit in (3600, None)
    )
    told = partition_events(
        [Change("changed", after, before), Change("began", before), Change("ended", before),
         Change("changed", after, after)],
        Nothing(), NOON,  # type: ignore[arg-type]
    )  # fmt: skip
    assert [event.message for event in told] == [
        "partition odd changed: time limit 3600 → none", "partition odd is new", "partition odd is gone",
    ]  # fmt: skip


def test_jobs_that_began_ended_and_failed() -> None:
    waiting = Entity("Job", "1@0", {"id": 1, "name": "a", "user": "ann", "state": "PENDING", "start": None})
    told = {
        "id": 1,
        "name": "a",
        "user": "ann",
        "partition": "odd",
        "nodes": "n[1-2]",
        "start": "2026-11-20T11:00:00+00:00",
    }
    runs = Entity("Job", "1@0", {**told, "state": "RUNNING"})
    over = Entity("Job", "1@0", {**told, "state": "COMPLETED"}, until=NOON)
    failed = Entity("Job", "2@0", {**told, "id": 2, "state": "FAILED", "exit_code": 3}, until=NOON)
    found = job_events(
        [Change("changed", runs, waiting), Change("changed", runs, runs), Change("ended", over, runs),
         Change("ended", failed)],
        Nothing(), NOON,  # type: ignore[arg-type]
    )  # fmt: skip
    assert [(event.kind, event.message) for event in found] == [
        ("job.began", "job 1 (a) of ann began on n[1-2]"), ("job.ended", "job 1 (a) of ann ended well on n[1-2]"),
        ("job.began", "job 2 (a) of ann began on n[1-2]"),
        ("job.failed", "job 2 (a) of ann failed with exit code 3 on n[1-2]"),
    ]  # fmt: skip
    assert found[0].time == NOON - timedelta(hours=1)
    assert [str(ref) for ref in found[0].entities] == ["Job:1@0", "User:ann", "Partition:odd"]


@pytest.mark.engine
def test_settings_of_qnib_that_changed_since_the_last_start(tmp_path: Path) -> None:
    settings, clock = load(home=tmp_path), FrozenClock(NOON)
    settings.run.mkdir(parents=True)
    engine = open_engine(settings, clock)
    try:
        assert tell_settings(engine, settings, NOON) == []
        assert tell_settings(engine, settings, NOON) == []
        other = load(home=tmp_path, http=Http(port=8999))
        assert tell_settings(engine, other, NOON) == [f"http.port {settings.http.port} → 8999"]
        (row,) = search(engine, "demo", NOON - timedelta(hours=1), NOON + timedelta(hours=1))["events"]
        assert row["kind"] == "config.changed"
        assert row["message"] == f"settings of QNIB changed: http.port {settings.http.port} → 8999"
    finally:
        engine.close()
