"""SLURM's files from people: a cluster nobody knew gets its jobs of long ago, and what is wrong is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.discovery.test_load import World
from tests.domains.test_identity import queue

from qnib.domains.slurm import identity

pytestmark = pytest.mark.engine
SAMPLES = Path(identity.__file__).parent / "samples"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEN = 1795168800  # 2026-11-20T10:00:00Z


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.graph.close()
    made.engine.close()


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def test_accounting_of_a_cluster_nobody_knew(world: World) -> None:
    text = sample("sacct.requeued_resized")
    first = world.load("slurm/sacct", text, AT)
    assert not first.refused
    jobs = {fact.key: fact for fact in world.facts.entities("old", "Job")}
    assert len(jobs) == 7
    (requeued,) = [fact for key, fact in jobs.items() if key.startswith("401@")]
    assert (requeued.properties["state"], requeued.properties["attempt"]) == ("COMPLETED", 2)
    then = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
    ties = world.facts.relations("old", "JOBCLIENT", then)
    held = {fact.source.key.partition("@")[0] for fact in ties if fact.source}
    assert held == {"401", "402", "404", "405"}, "who had nodes at a quarter past ten"
    count = world.engine.rows("SELECT count() AS n FROM qnib.facts")
    again = world.load("slurm/sacct", text, AT + timedelta(hours=1))
    assert not again.refused
    assert world.engine.rows("SELECT count() AS n FROM qnib.facts") == count, "the same file tells nothing new"


def test_two_sources_of_one_job_are_one_job(world: World) -> None:
    world.load("slurm/jobcomp", sample("jobcomp.pushed"), AT)
    line = "JobID|JobIDRaw|User|State|Submit|Start|End|NodeList|NCPUS\n701|701|alice|FAILED|2026-11-20T10:00:00|"
    world.load("slurm/sacct", line + "2026-11-20T10:00:10|2026-11-20T10:20:00|n[1-2]|4\n", AT + timedelta(minutes=1))
    assert len([fact for fact in world.facts.entities("old", "Job") if fact.key.startswith("701@")]) == 1
    assert len([fact for fact in world.facts.entities("old", "Attempt") if fact.key.startswith("701@")]) == 1


def test_what_is_no_such_file_is_refused_and_changes_nothing(world: World) -> None:
    half = sample("sacct.requeued_resized")[:-40]
    outcome = world.load("slurm/sacct", half, AT)
    assert "line 12: 13 columns where 21 are due" in outcome.refused
    assert world.facts.entities("old", "Job") == []


def test_what_a_push_leaves_out_costs_nothing(world: World) -> None:
    documents = [line for line in sample("jobcomp.pushed").splitlines() if "jobid" in line]
    for seconds, line in enumerate([*documents, documents[0].replace('"jobid":701', '"jobid":709')]):
        assert not world.load("slurm/jobcomp", line, AT + timedelta(seconds=seconds)).refused
    rows = world.engine.rows("SELECT countIf(silent IS NOT NULL) AS silent FROM qnib.facts")
    assert rows == [{"silent": 0}]
    users = world.engine.rows("SELECT key, count() AS n FROM qnib.facts WHERE kind = 'User' GROUP BY key ORDER BY key")
    assert users == [{"key": "alice", "n": 1}, {"key": "bob", "n": 1}], "each is written once"


def test_a_job_that_was_pushed_as_ended_does_not_run_again(world: World) -> None:
    """Answers of the queue that were under way, or came while its nodes were cleaned."""
    def tell(seconds: float, state: str, start: int, attempt: int = 1) -> None:
        text = queue({
            "JobID": "701", "SubmitTime": str(TEN), "State": state, "StartTime": str(TEN + start) if start else "N/A",
            "NodeList": "n[1-2]" if start else "", "NumNodes": "2", "NumCPUs": "4", "RestartCnt": str(attempt - 1),
        })  # fmt: skip
        assert not world.load("slurm/jobs", text, AT + timedelta(seconds=seconds)).refused

    def events() -> list[str]:
        return [row["kind"] for row in world.engine.rows("SELECT kind FROM qnib.events ORDER BY time, kind")]

    (document,) = [line for line in sample("jobcomp.pushed").splitlines() if '"jobid":701' in line]
    tell(-7000, "PENDING", 0)
    world.load("slurm/jobcomp", document, AT)
    assert events() == ["job.began", "job.failed"]
    for seconds, state in ((1, "RUNNING"), (2, "COMPLETING"), (3, "COMPLETING")):
        tell(seconds, state, 10)
    tell(4, "FAILED", 10)
    assert events() == ["job.began", "job.failed"]
    assert [fact.until is None for fact in world.facts.entities("old", "Job")] == [False]
    tell(60, "RUNNING", 7300, attempt=2)
    assert events() == ["job.began", "job.failed", "job.began"]
