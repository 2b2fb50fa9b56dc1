"""Recorded answers of other people's systems load with the counts that were computed beside them."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.data import real

from qnib.domains.slurm import rest
from qnib.domains.slurm.jobcomp import parse_jobcomp
from qnib.domains.slurm.sacct import parse_sacct
from qnib.domains.slurm.show import parse_show
from qnib.domains.slurm.tables import parse_sinfo, parse_squeue
from qnib.model import Entity, Snapshot

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REST = "slurm/slurmrestd_24.05_v0.0.41"


def oracle(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(real("ORACLES.json").read_text())[name]
    return told


def of(seen: Snapshot, kind: str) -> list[Entity]:
    return [entity for entity in seen.entities if entity.kind == kind]


def states(seen: Snapshot) -> dict[str, int]:
    return dict(Counter(str(job.properties["state"]) for job in of(seen, "Job")))


def ties(seen: Snapshot, kind: str) -> int:
    return sum(tie.kind == kind for tie in seen.relations)


def test_slurmrestd_jobs() -> None:
    told = oracle(REST)
    seen = rest.parse_jobs((real(REST) / "slurm-jobs.json").read_text(), AT)
    assert len(of(seen, "Job")) == told["jobs"]
    assert states(seen) == told["jobs_by_state"]
    assert Counter(job.properties["partition"] for job in of(seen, "Job")) == told["jobs_by_partition"]
    assert len(of(seen, "User")) == told["distinct_users"]
    assert all(tie.until for tie in seen.relations if tie.kind == "JOBCLIENT") is False, "three of them run"
    assert sum(tie.until is None for tie in seen.relations if tie.kind == "ATTEMPT_OF") == 3


def test_slurmrestd_nodes() -> None:
    told = oracle(REST)
    seen = rest.parse_nodes((real(REST) / "slurm-nodes.json").read_text(), AT)
    nodes = of(seen, "Node")
    assert len(nodes) == told["nodes"]
    assert Counter(node.properties["state"] for node in nodes) == told["nodes_by_state"]
    assert sum(int(str(node.properties["cpus"])) for node in nodes) == told["cpus"]
    assert [cluster.key for cluster in of(seen, "Cluster")] == ["hpc"]
    assert len(of(seen, "Host")) == 1, "an emulator's nodes are all one machine, admin.titan"


def test_slurmrestd_partitions() -> None:
    seen = rest.parse_partitions((real(REST) / "slurm-partitions.json").read_text(), AT)
    assert len(of(seen, "Partition")) == oracle(REST)["partitions"]
    batch = next(one.properties for one in of(seen, "Partition") if one.key == "batch")
    assert batch == {"name": "batch", "state": "UP", "limit": None, "nodes": "cn[001-080,101-532]", "node_count": 512}


def test_slurmrestd_reservations_and_qos() -> None:
    seen = rest.parse_reservations((real(REST) / "slurm-reservations.json").read_text(), AT)
    assert len(of(seen, "Reservation")) == oracle(REST)["reservations"]
    one = of(seen, "Reservation")[0]
    assert one.until == datetime.fromtimestamp(1748336953, UTC), "it was over when the file was read"
    assert ties(seen, "RESERVES") == one.properties["node_count"] == 512
    assert len(of(rest.parse_qos((real(REST) / "slurm-qos.json").read_text(), AT), "QOS")) == oracle(REST)["qos"]


@pytest.mark.parametrize(("name", "state", "exit_code", "runs"), [
    ("completed", "COMPLETED", 0, 1), ("failed", "FAILED", 1, 1), ("timeout", "TIMEOUT", 0, 1),
    ("pending", "PENDING", None, 0), ("running", "RUNNING", None, 1), ("gpus-gres", "RUNNING", None, 1),
    ("gpus-multi-nodes", "RUNNING", None, 1),
])  # fmt: skip
def test_slurmrestd_one_job(name: str, state: str, exit_code: int | None, runs: int) -> None:
    (job,) = of(seen := rest.parse_jobs((real(REST) / f"slurm-job-{name}.json").read_text(), AT), "Job")
    assert job.properties["state"] == state
    assert job.properties["exit_code"] == exit_code
    assert len(of(seen, "Attempt")) == runs
    assert (job.until is None) == (state in ("PENDING", "RUNNING"))


def test_slurmrestd_shares_of_nodes_are_exact() -> None:
    seen = rest.parse_jobs((real(REST) / "slurm-job-gpus-multi-nodes.json").read_text(), AT)
    shares = {tie.target.key: tie.properties for tie in seen.relations if tie.kind == "JOBCLIENT"}
    assert shares == {host: {"attempt": 1, "cpus": 1, "memory": 512 << 20} for host in ("gpu1", "gpu2")}


@pytest.mark.parametrize(("name", "state"), [
    ("allocated", "ALLOCATED"), ("down", "DOWN"), ("drain", "IDLE+DRAIN"), ("draining", "MIXED+DRAIN"),
    ("idle", "IDLE"), ("mixed", "MIXED"), ("with-gpus-model-allocated", "ALLOCATED"),
])  # fmt: skip
def test_slurmrestd_one_node(name: str, state: str) -> None:
    (node,) = of(rest.parse_nodes((real(REST) / f"slurm-node-{name}.json").read_text(), AT), "Node")
    assert str(node.properties["state"]).startswith(state)


@pytest.mark.parametrize(("name", "state", "steps"), [
    ("completed", "COMPLETED", 1), ("failed", "FAILED", 1), ("timeout", "TIMEOUT", 1), ("gpus-per-node", "PENDING", 1),
])  # fmt: skip
def test_slurmdb_one_job(name: str, state: str, steps: int) -> None:
    seen = rest.parse_past((real(REST) / f"slurmdb-job-{name}.json").read_text(), AT)
    assert states(seen) == {state: 1}
    assert len(of(seen, "Step")) == steps


@pytest.mark.parametrize("name", ["slurm-job-unfound.json", "slurm-jwt-invalid-token.json", "slurm-not-found.txt",
                                  "slurm-ping.json", "slurm-qos.json"])  # fmt: skip
def test_slurmrestd_says_no(name: str) -> None:
    with pytest.raises(ValueError, match=r"SLURM answered with an error|not a whole JSON document|no jobs in it"):
        rest.parse_jobs((real(REST) / name).read_text(), AT)


def test_squeue_json_of_2108() -> None:
    seen = rest.parse_jobs(real("slurm/rivos/squeue_out.json").read_text(), AT)
    assert states(seen) == {"RUNNING": 1, "PENDING": 1}
    (tie,) = [tie for tie in seen.relations if tie.kind == "JOBCLIENT"]
    assert (tie.source.key, tie.target.key) == ("26515966@1684114900", "cs75")
    assert tie.properties == {"attempt": 1, "cpus": 1, "memory": 64000 << 20}


def test_sinfo_json_of_2108() -> None:
    seen = rest.parse_nodes(real("slurm/rivos/sinfo_out.json").read_text(), AT)
    assert len(of(seen, "Node")) == 4
    node = of(seen, "Node")[0]
    assert (node.properties["version"], node.properties["memory"]) == ("21.08.5", 500000 << 20)


@pytest.mark.parametrize("name", ["sonar_sacct_2024.txt", "sonar_sacctd_2024.txt"])
def test_sacct_of_sonar(name: str) -> None:
    told = oracle("slurm/sonar_sacct_2024.txt")
    seen = parse_sacct(real(f"slurm/{name}").read_text(), AT)
    assert len(of(seen, "Job")) == told["jobs"]
    assert states(seen) == told["job_states"]
    assert len(of(seen, "Step")) == ties(seen, "STEP_OF") == told["steps"]


def test_sonar_tells_the_zone_in_one_of_its_forms() -> None:
    """The same jobs: named fields carry +01:00, plain columns need the zone said."""
    plain, named = (real(f"slurm/sonar_{name}_2024.txt").read_text() for name in ("sacct", "sacctd"))
    zoned = {job.key for job in of(parse_sacct(named, AT), "Job")}
    assert {job.key for job in of(parse_sacct("TZ=Europe/Oslo\n" + plain, AT), "Job")} == zoned
    assert {job.key for job in of(parse_sacct(plain, AT), "Job")} != zoned


def test_sacct_of_xdmod() -> None:
    told = oracle("slurm/xdmod_phillips_sacct.txt")
    seen = parse_sacct(real("slurm/xdmod_phillips_sacct.txt").read_text(), AT)
    jobs, runs = of(seen, "Job"), of(seen, "Attempt")
    assert len(jobs) == told["rows"]
    assert states(seen) == told["by_state"]
    assert len(of(seen, "User")) == told["distinct_users"]
    assert len(of(seen, "Account")) == told["distinct_accounts"]
    assert len({tie.target for tie in seen.relations if tie.kind == "QUEUED_IN"}) == told["distinct_partitions"]
    # The oracle counted SLURM's "None assigned" of jobs that never ran as one more node.
    assert len({tie.target for tie in seen.relations if tie.kind == "JOBCLIENT"}) == told["distinct_nodes"] - 1
    cpus = {job.key: int(str(job.properties["cpus"])) for job in jobs}
    spans = {
        run.key.partition("#")[0]: (run.until - run.since).total_seconds() for run in runs if run.until and run.since
    }
    assert sum(spans.values()) == told["sum_elapsed_seconds"]
    assert sum(seconds * cpus[job] for job, seconds in spans.items()) == told["sum_cpu_seconds"]
    assert max(int(str(job.properties["min_memory"])) for job in jobs) < 1 << 40, "memory per CPU is marked by a bit"


CLI = "slurm/cli_24.11.7"


COMMANDS = {
    "squeue_jobs": (
        "squeue -a -r -h -O 'JobID:|,Account:|,UserName:|,Partition:|,State:|,NumNodes:|,NumCPUs:|,tres-alloc:'"
    ),
    "queue_all_states": "squeue -h -o '%P|%T|%C|%r|%u' --states=all",
    "node_detail": (
        "sinfo -h -N -O 'NodeList: ,AllocMem: ,Memory: ,CPUsState: ,StateLong: ,Partition: ,Gres: ,GresUsed: '"
    ),
    "drain_reason": "sinfo -h -N -o '%N|%E|%H|%T'",
    "nodes_global": "sinfo -h -o '%R|%D|%T|%b'",
}
"""As its provenance.txt has them, with the quotes a shell wants."""


def asked(name: str) -> str:
    """A recorded table below the command that made it, as `qnib load` takes it."""
    folder = real(CLI)
    assert COMMANDS[name].replace("'", "").rstrip() in (folder / "provenance.txt").read_text()
    return f"$ {COMMANDS[name]}\n{(folder / f'{name}.txt').read_text()}"


def test_scontrol_show_nodes() -> None:
    text = (real(CLI) / "scontrol_nodes.txt").read_text()
    seen = parse_show(text, AT)
    assert len(of(seen, "Node")) == text.count("NodeName=") == 20
    assert sum(int(str(node.properties["cpus"])) for node in of(seen, "Node")) == 640
    assert sum(int(str(node.properties["cpus_allocated"])) for node in of(seen, "Node")) == 32


def test_squeue_text() -> None:
    seen = parse_squeue(asked("squeue_jobs"), AT)
    assert states(seen) == {"RUNNING": 11, "PENDING": 4}
    running = [job for job in of(seen, "Job") if job.properties["state"] == "RUNNING"]
    assert sum(int(str(job.properties["cpus"])) for job in running) == 32


def test_squeue_text_without_ids() -> None:
    with pytest.raises(ValueError, match="line 2: a job without id or state"):
        parse_squeue(asked("queue_all_states"), AT)


def test_sinfo_text() -> None:
    seen = parse_sinfo(asked("node_detail"), AT)
    nodes = of(seen, "Node")
    assert len(nodes) == 20
    assert sum(int(str(node.properties["cpus"])) for node in nodes) == 640
    assert ties(seen, "PART_OF") == 25
    assert len(of(parse_sinfo(asked("drain_reason"), AT), "Node")) == 20
    partitions = of(parse_sinfo(asked("nodes_global"), AT), "Partition")
    assert {one.key for one in partitions} == {"cpu", "gpu", "debug", "high"}


def test_old_squeue_and_sinfo() -> None:
    seen = parse_squeue("$ squeue -a -r -h -o '%A,%T' --states=all\n" + real("slurm/vpenso/squeue.txt").read_text(), AT)
    assert sum(states(seen).values()) == 42
    assert states(seen)["RUNNING"] == 28
    text = real("slurm/vpenso/sinfo.txt").read_text()
    seen = parse_sinfo("$ sinfo -h -o '%n,%T'\n" + text, AT)
    assert len(of(seen, "Node")) == len({line.split(",")[0] for line in text.splitlines()}) == 709
    silent = [node for node in of(seen, "Node") if "NOT_RESPONDING" in str(node.properties["state"])]
    assert len(silent) == sum(line.endswith("*") for line in text.splitlines())


def test_sinfo_memory() -> None:
    text = real("slurm/vpenso/sinfo_mem.txt").read_text()
    seen = parse_sinfo("$ sinfo -h -N -O 'NodeList,AllocMem,Memory,CPUsState,StateLong'\n" + text, AT)
    assert {node.key for node in of(seen, "Node")} == {line.split()[0] for line in text.splitlines()}
    node = next(node for node in of(seen, "Node") if node.key == "a048")
    assert (node.properties["memory"], node.properties["memory_allocated"]) == (193000 << 20, 163840 << 20)


def test_a_file_of_one_form_is_none_of_another() -> None:
    """What people will do: bring the right file under the wrong name."""
    sacct = real("slurm/sonar_sacct_2024.txt").read_text()
    shown = (real(CLI) / "scontrol_nodes.txt").read_text()
    parsers = (parse_sacct, parse_show, parse_squeue, parse_sinfo, parse_jobcomp, rest.parse_jobs, rest.parse_nodes)
    for text, own in ((sacct, parse_sacct), (shown, parse_show)):
        for parse in parsers:
            if parse is not own:
                with pytest.raises(ValueError):
                    parse(text, AT)
