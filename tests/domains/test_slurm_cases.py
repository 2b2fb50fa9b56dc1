"""What makes jobs hard: shared nodes, arrays, parts, requeues, resizes, numbers that come round again, SLUIDs, scripts.

The texts are the samples, written by hand in the real formats; here is what must follow from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.domains.test_identity import Record, at, queue

from qnib.domains.slurm import identity, rest
from qnib.domains.slurm.collect import parse_jobs, parse_nodes, parse_partitions
from qnib.domains.slurm.jobcomp import parse_jobcomp
from qnib.domains.slurm.sacct import parse_sacct
from qnib.domains.slurm.show import parse_show
from qnib.domains.slurm.tables import parse_sinfo, parse_squeue
from qnib.domains.slurm.values import moment, node_state
from qnib.model import Entity, Relation, Snapshot

SAMPLES = Path(identity.__file__).parent / "samples"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEN = "1795168800"  # 2026-11-20T10:00:00Z
Parse = Callable[[str, datetime], Snapshot]


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def job(seen: Snapshot, number: str) -> Entity:
    (found,) = [e for e in seen.entities if e.kind == "Job" and e.key.partition("@")[0] == number]
    return found


def hosts(seen: Snapshot, number: str) -> dict[str, Relation]:
    return {
        tie.target.key: tie for tie in seen.relations
        if tie.kind == "JOBCLIENT" and tie.source.key.partition("@")[0] == number
    }


def hour(text: str) -> datetime:
    found = moment(f"2026-11-20T{text}:00")
    assert found is not None
    return found


# ── the cases ─────────────────────────────────────────────────────────────────────────────────


def test_jobs_that_share_a_node_have_their_own_parts_of_it() -> None:
    seen = rest.parse_jobs(sample("jobs-json.v38_shared"), AT)
    first, second = hosts(seen, "101")["n1"], hosts(seen, "102")["n1"]
    assert (first.properties["cpus"], second.properties["cpus"]) == (2, 1)
    assert (first.properties["memory"], second.properties["memory"]) == (1000 << 20, 500 << 20)
    shown = hosts(parse_show(sample("scontrol.jobs"), AT), "501")
    assert {name: tie.properties["cpus"] for name, tie in shown.items()} == {"n1": 4, "n2": 2}, "CPU_IDs are counted"


@pytest.mark.parametrize(("parse", "text", "task", "waiting"), [
    (parse_sacct, "sacct.requeued_resized", ("410", 403, "7"), ("403", 403, "8-9%1")),
    (rest.parse_jobs, "jobs-json.v44_het_array", ("204", 203, "3"), ("203", 203, "4-9%2")),
    (parse_squeue, "squeue.default", ("602_3", 602, "3"), ("602", 602, "4-9%2")),
])  # fmt: skip
def test_tasks_of_an_array(parse: Parse, text: str, task: tuple[str, int, str], waiting: tuple[str, int, str]) -> None:
    seen = parse(sample(text), AT)
    for number, array, index in (task, waiting):
        told = job(seen, number).properties
        assert (told["array_job"], told["array_task"]) == (array, index)
    assert job(seen, waiting[0]).properties["state"] == "PENDING"


@pytest.mark.parametrize(("parse", "text", "parts"), [
    (parse_sacct, "sacct.requeued_resized", {"404": 0, "405": 1}),
    (rest.parse_jobs, "jobs-json.v44_het_array", {"201": 0, "202": 1}), (parse_show, "scontrol.jobs", {"504": 0}),
])  # fmt: skip
def test_parts_of_a_heterogeneous_job(parse: Parse, text: str, parts: dict[str, int]) -> None:
    seen = parse(sample(text), AT)
    leader = int(next(iter(parts)))
    for number, offset in parts.items():
        told = job(seen, number).properties
        assert (told["het_job"], told["het_offset"]) == (leader, offset)


@pytest.mark.parametrize(("parse", "text", "number"), [
    (parse_sacct, "sacct.requeued_resized", "401"), (rest.parse_past, "sacct-json.v42_requeued", "301"),
])  # fmt: skip
def test_a_requeued_job_is_one_job_with_two_attempts(parse: Parse, text: str, number: str) -> None:
    seen = parse(sample(text), AT)
    told = job(seen, number)
    assert (told.properties["state"], told.properties["attempt"]) == ("COMPLETED", 2)
    runs = {e.key: e for e in seen.entities if e.kind == "Attempt" and e.key.startswith(told.key)}
    assert [runs[f"{told.key}#{n}"].properties["nodes"] for n in (1, 2)] == ["n1", "n2"]
    assert {name: tie.properties["attempt"] for name, tie in hosts(seen, number).items()} == {"n1": 1, "n2": 2}
    steps = [e.key for e in seen.entities if e.kind == "Step" and e.key.startswith(told.key)]
    assert sorted(key for key in steps if key.endswith("batch")) == [f"{told.key}#1.batch", f"{told.key}#2.batch"]


def test_a_resize_changes_the_allocation() -> None:
    seen = parse_sacct(sample("sacct.requeued_resized"), AT)
    ties = hosts(seen, "402")
    assert {name: (tie.since, tie.until) for name, tie in ties.items()} == {
        "n1": (hour("10:10"), hour("11:10")), "n2": (hour("10:10"), hour("11:10")),
        "n3": (hour("10:10"), hour("10:20")),
    }  # fmt: skip
    told = job(seen, "402").properties
    assert (told["state"], told["nodes"], told["attempt"]) == ("TIMEOUT", "n[1-2]", 1)


def test_a_resize_seen_in_the_queue() -> None:
    record = Record()
    usual = {"JobID": "42", "SubmitTime": "1000", "State": "RUNNING", "StartTime": "1010", "NumNodes": "2"}
    for seconds, nodes in ((0, "n[1-2]"), (60, "n[2-3]")):
        told = parse_jobs(queue({**usual, "NodeList": nodes}), at(seconds))
        seen = identity.settle(told, record, at(seconds))
        record.take(seen, at(seconds))
    since = {tie.target.key: tie.since for tie in seen.relations if tie.kind == "JOBCLIENT" and tie.until is None}
    assert since == {"n2": datetime.fromtimestamp(1010, UTC), "n3": None}, "n3 joined when it was seen first"
    gone = [tie for tie in seen.relations if tie.kind == "JOBCLIENT" and tie.target.key == "n1"]
    assert [tie.until for tie in gone] == [at(60)]


def test_a_number_that_comes_round_again_is_another_job() -> None:
    head = "JobID|State|Submit|Start|End|NodeList|User\n"
    first = "7|COMPLETED|2026-11-20T10:00:00|2026-11-20T10:00:01|2026-11-20T10:01:00|n1|alice\n"
    again = "7|COMPLETED|2026-11-20T10:05:00|2026-11-20T10:05:01|2026-11-20T10:06:00|n1|alice\n"
    lost = first.replace("COMPLETED", "NODE_FAIL")
    late = again.replace("T10", "T13")
    bob = again.replace("alice", "bob")
    counts = [
        len([e for e in parse_sacct(head + one + two, AT).entities if e.kind == "Job"])
        for one, two in ((first, again), (lost, again), (lost, late), (lost, bob))
    ]
    assert counts == [2, 1, 2, 2], "only after a lost run, soon, and by the same user it is the same job"


def test_scripts_are_kept_once_however_many_jobs_ran_them() -> None:
    one, two = parse_jobcomp(sample("jobcomp.pushed"), AT), rest.parse_past(sample("sacct-json.v42_requeued"), AT)
    scripts = [e for seen in (one, two) for e in seen.entities if e.kind == "Script"]
    assert scripts[0] == scripts[1]
    assert scripts[0].properties["text"] == "#!/bin/sh\nsrun gemm 4096\n"
    assert [tie.source.key for tie in one.relations if tie.kind == "RAN"] == [f"701@{TEN}"]


def test_a_push_of_a_resize_does_not_end_the_job() -> None:
    (document,) = [line for line in sample("jobcomp.pushed").splitlines() if '"jobid":701' in line]
    told = json.loads(document) | {"state": "RESIZING"}
    seen = parse_jobcomp(json.dumps(told), AT)
    assert job(seen, "701").until is None
    assert {tie.until for tie in hosts(seen, "701").values()} == {hour("10:20")}
    with pytest.raises(ValueError, match="job 701 is RUNNING: only finished jobs are pushed"):
        parse_jobcomp(json.dumps(told | {"state": "RUNNING"}), AT)


# ── which job another source means ────────────────────────────────────────────────────────────


def known(*told: dict[str, str]) -> Record:
    record = Record()
    record.take(identity.settle(parse_jobs(queue(*told), at(0)), record, at(0)), at(0))
    return record


RUNNING = {"JobID": "701", "SubmitTime": "1795168500", "State": "RUNNING", "StartTime": "1795168810",
           "NodeList": "n[1-2]", "NumNodes": "2", "RestartCnt": "1"}  # fmt: skip


def test_a_push_after_a_requeue_is_of_the_job_that_ran() -> None:
    """The push knows the requeue's submit time only; the run that began at that second says which job it is."""
    seen = identity.join(parse_jobcomp(sample("jobcomp.pushed"), AT), known(RUNNING), AT)
    assert {e.key for e in seen.entities if e.kind == "Job"} == {"701@1795168500", f"703@{TEN}"}
    assert {e.key for e in seen.entities if e.kind == "Attempt"} == {"701@1795168500#2"}
    assert {tie.source.key for tie in seen.relations if tie.kind == "JOBCLIENT"} == {"701@1795168500"}
    told = next(e for e in seen.entities if e.key == "701@1795168500")
    assert told.properties["submit"] == "2026-11-20T09:55:00Z"


def test_a_table_without_submit_times_means_the_jobs_of_now() -> None:
    table = "JOBID ST NODELIST(REASON)\n701 CG n[1-2]\n702 PD (Priority)\n"
    ended = {**RUNNING, "SubmitTime": "1795000000", "StartTime": "1795000001", "State": "COMPLETED",
             "EndTime": "1795000100"}  # fmt: skip
    record = known(ended)
    record.take(parse_jobs(queue(RUNNING), at(1)), at(1))
    seen = identity.join(parse_squeue(table, AT), record, AT)
    assert {e.key for e in seen.entities if e.kind == "Job"} == {"701@1795168500", "702@0"}
    assert next(e for e in seen.entities if e.key == "701@1795168500").properties["submit"] == "2026-11-20T09:55:00Z"


def test_a_sluid_says_which_job_it_is() -> None:
    text = sample("jobs-json.v44_het_array")
    record = Record()
    record.take(rest.parse_jobs(text, AT), AT)
    later = text.replace('"number": 1763638990', '"number": 1763638995')
    assert later != text
    seen = identity.join(rest.parse_jobs(later, AT), record, AT)
    assert "205@1763638990" in {e.key for e in seen.entities}
    assert "205@1763638995" not in {e.key for e in seen.entities}


# ── bad input ─────────────────────────────────────────────────────────────────────────────────


HEAD = "JobID|State|Submit|Start|End|NodeList\n"


@pytest.mark.parametrize(("parse", "text", "reason"), [
    (parse_sacct, HEAD + "7|COMPLETED|2026-11-20T10:00:00|2026-11-", "line 2: 4 columns where 6 are due"),
    (parse_sacct, HEAD + "|COMPLETED|2026-11-20T10:00:00|||n1\n", "line 2: a record without JobID"),
    (parse_sacct, HEAD + "7||2026-11-20T10:00:00|||n1\n", "line 2: job 7 without State"),
    (parse_sacct, HEAD + "7|COMPLETED|2026-11-20T25:00:00|||n1\n", "line 2: not a time: '2026-11-20T25:00:00'"),
    (parse_sacct, HEAD + "7.batch|COMPLETED|2026-11-20T10:00:00|||n1\n", "line 2: step batch of job 7"),
    (parse_sacct, "TZ=Mars/Olympus\n" + HEAD, "no such time zone: 'TZ=Mars/Olympus'"),
    (parse_sacct, "a|b|c\n", "no header in the first line, and 3 columns as no tool known here"),
    (parse_sacct, "v=0.1.0,JobID=7,State=COMPLETED\nJobID=8\n", "line 2: no v= at its start"),
    (parse_show, sample("scontrol.jobs")[:60], "JobId=501 has no JobState and no SubmitTime"),
    (parse_show, "slurm_load_jobs error: Invalid job id specified", "not what scontrol shows"),
    (parse_show, "JobId=x JobState=RUNNING SubmitTime=2026-11-20T10:00:00 Partition=all", "a job without id"),
    (parse_show, "", "neither jobs nor nodes nor partitions"),
    (parse_squeue, "squeue: error: slurm_load_jobs\n", "no -o or -O in the first line"),
    (parse_squeue, "$ squeue -h -o '%i|%T\n", "No closing quotation"),
    (parse_squeue, "JOBID ST\n(null) R\n", "line 2: a job without id or state"),
    (parse_squeue, "$ squeue -h -o '%i|%T|%u'\n7|RUNNING\n", "line 2: 2 columns where 3 are due"),
    (parse_sinfo, "$ sinfo -h -o '%C'\n4/28/0/32\n", "line 2: neither a node nor a partition"),
    (parse_sinfo, "$ sinfo -h -o '%N|%C'\nn1|4\n", "CPU states are A/I/O/T"),
    (parse_sinfo, "$ sinfo -h -o '%N|%T'\nn[1-|idle\n", "not a set of nodes"),
    (parse_jobcomp, '{"jobid": 7, "state": "COMPLETED"', "not a whole JSON document at octet 0"),
    (parse_jobcomp, '{"state": "COMPLETED"}', "a job without jobid or @submit"),
    (parse_jobcomp, "7", "not a document of a job"),
    (parse_nodes, "ClusterName=\n", "an empty ClusterName"),
    (parse_partitions, sample("scontrol.nodes"), "these are no partitions"),
])  # fmt: skip
def test_bad_input_is_refused_in_words(parse: Parse, text: str, reason: str) -> None:
    with pytest.raises(ValueError) as told:
        parse(text, AT)
    assert reason in str(told.value)


def test_text_of_a_user_does_not_become_a_field() -> None:
    told = job(parse_show(sample("scontrol.jobs"), AT), "501").properties
    assert (told["name"], told["reason"]) == ("two words Reason=x", "")
    line = " ".join(sample("scontrol.jobs").split("\n\n")[0].split())  # as scontrol -o prints it
    told = job(parse_show(line, AT), "501").properties
    assert (told["name"], told["user"]) == ("two words Reason=x", "alice")
    assert told["command"] == "/home/alice/run.sh --size 4096"


def test_the_name_of_the_cluster_as_a_file_tells_it() -> None:
    for line in ("ClusterName=Lab # ours", "clustername = lab SlurmctldHost=c1", "ClusterName             = lab"):
        (cluster,) = [e for e in parse_nodes(line + "\n", AT).entities if e.kind == "Cluster"]
        assert cluster.key == "lab"


def test_a_star_means_that_the_node_does_not_answer() -> None:
    assert node_state("IDLE*+DRAIN") == "IDLE+DRAIN+NOT_RESPONDING"
    assert node_state("down*", short=True) == "DOWN+NOT_RESPONDING"
    assert node_state("mix", short=True) == "MIXED"
