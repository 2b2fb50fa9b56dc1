"""The shipped rules on logs of real machines: each hits the lines it is for, all of them and no others.

Beside each rule stands what finds the same lines without it: an expression for grep over the raw file, and how many
lines that gives (for `umhpc_slurmctld` also what the file's own oracle says).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib.domains import all_domains
from qnib.domains.events import load_rules
from tests.data import real

from .conftest import Plant

pytestmark = pytest.mark.engine
Oracle = dict[str, tuple[str, int]]

SLURMCTLD: Oracle = {
    "job_submitted": (r"submit_batch_job: JobId=\d+ InitPrio", 2423),
    "job_allocated": (r"sched: Allocate JobId=", 2191),
    "job_allocated_by_backfill": (r"_start_job: Started JobId=", 28),
    "job_allocated_interactively": (r"_allocate_resources JobId=\d+ NodeList=[a-z]", 116),
    "job_waits_interactively": (r"NodeList=\(null\) usec", 31),
    "job_refused": (r"resources: [RJI]|batch_job: (?:R|Job v|I)", 184),
    "job_over_limit": (r"exceeded association/QOS limit", 58),
    "job_never_runnable": (r"never runnable in partition", 64),
    "job_no_nodes_satisfy": (r"No nodes satisfy", 2),
    "partition_unknown": (r"invalid partition specified", 22),
    "qos_not_allowed": (r"does not have access to qos", 38),
    "qos_unknown": (r"Invalid qos \(", 5),
    "node_name_unknown": (r"(?:lookup failure for node|invalid node specified:)", 6),
    "job_exited_well": (r"WEXITSTATUS 0$", 1292),
    "job_exited_badly": (r"WEXITSTATUS [1-9]", 559),
    "job_killed_by_signal": (r"WTERMSIG", 26),
    "job_left_by_user": (r"cancelled by interactive user", 26),
    "job_out_of_memory": (r"OOM failure", 16),
    "job_ended": (r"_job_complete: JobId=\d+ done$", 1893),
    "allocation_ended": (r"error Job/step already completing", 10),
    "job_unknown": (r"(?:: invalid JobId=|error Invalid job id specified)", 23),
    "job_timed_out": (r"Time limit exhausted", 98),
    "job_inactive": (r"inactivity time limit", 1),
    "job_cancelled": (r"kill_job: REQUEST_KILL_JOB", 596),
    "job_kill_refused": (r"(?:Security violation|job_str_signal\(\) )", 9),
    "job_requeued": (r"(?:Requeuing|requeue job)", 25),
    "job_lost_its_node": (r"due to failure of node", 4),
    "requeue_refused": (r"_rpc_requeue: Requeue of", 3),
    "job_held": (r"_hold_job_rec", 1),
    "job_changed": (r"(?:update_job: complete|set priority to)", 2),
    "job_ends_slowly": (r"completion process took", 17),
    "job_prolog_failed": (r"Prolog launch failure", 1),
    "node_prolog_failed": (r"Prolog or job env setup failure", 1),
    "step_registered_wrongly": (r"error: Registered", 3),
    "nodes_set_down": (r"setting DOWN", 6),
    "nodes_not_responding": (r"not responding", 9),
    "node_responds_again": (r"now responding", 7),
    "node_returned": (r"returned to service", 6),
    "node_state_set": (r"node cpu01 state set to", 2),
    "messages_timed_out": (r"slurm_receive_msgs", 1),
    "controller_reconfigured": (r"(?:Processing Reconfiguration|rpc_reconfigure_controller)", 4),
    "reservation_changed": (r"Updated reservation", 1),
    "controller_error": (r"\] error:", 67),
}
SAME_AS = {
    "submit_batch_ok": ["job_submitted"], "sched_allocate": ["job_allocated"], "error_lines": ["controller_error"],
    "backfill_started": ["job_allocated_by_backfill"], "job_complete_done": ["job_ended"],
    "wexitstatus_lines": ["job_exited_well", "job_exited_badly"], "wexitstatus_nonzero": ["job_exited_badly"],
    "wtermsig": ["job_killed_by_signal"], "oom_failure": ["job_out_of_memory"], "set_down_lines": ["nodes_set_down"],
    "time_limit_exhausted": ["job_timed_out"], "node_not_responding_lines": ["nodes_not_responding"],
}  # fmt: skip
LINUX: Oracle = {
    "pam_refused": (r"authentication failure; logname=", 490),
    "pam_user_unknown": (r"check pass; user unknown", 117),
    "session_opened": (r"session opened for user", 123),
    "session_closed": (r"session closed for user", 123),
    "root_login": (r"ROOT LOGIN ON", 1),
    "kernel_started": (r"kernel: Linux version", 1),
}
OPENSM: Oracle = {
    "subnet_manager_starts": (r"-> OpenSM 3", 2),
    "subnet_manager_binds": (r"(?:binding to port|IS_SM)", 5),
    "master": (r"-> Entering", 2),
    "routing_done": (r"minhop tables", 3),
    "subnet_up": (r"SUBNET UP", 3),
    "link_state_changed": (r"num:128", 2),
    "path_dump": (r"Path Dump", 2),
    "link_state_notice": (r"Urgent Notice", 2),
    "port_out_of_service": (r"GID out of service", 1),
    "port_in_service": (r"GID in service", 1),
    "port_removed": (r"Removed port", 1),
    "port_discovered": (r"Discovered new port", 1),
    "subnet_manager_ends": (r"Exiting SM", 1),
}
KERNEL: Oracle = {
    "oom_kill": (r"out of memory: Kill", 1),
    "oom_victim": (r"^Killed process", 1),
    "hung_task": (r"blocked for more than", 2),
    "kernel_bad_access": (r"BUG: unable to handle", 1),
    "kernel_oops": (r"\[#1\] SMP", 2),
    "filesystem_read_only": (r"Remounting filesystem read-only", 1),
    "device_not_released": (r"unregister_netdevice", 1),
    "gpu_peer_memory": (r"nvidia-peermem", 7),
    "segfault": (r"segfault at", 2),
}


def shipped(plant: Plant) -> None:
    plant.rules = [rule for domain in all_domains() for rule in load_rules(domain)]


def found(plant: Plant) -> dict[str, int]:
    rows = plant.rows("SELECT arrayJoin(rules) AS rule, count() AS n FROM qnib.events GROUP BY rule")
    return {row["rule"]: row["n"] for row in rows}


def grepped(oracle: Oracle, lines: list[str]) -> dict[str, int]:
    """What grep finds must be what is written down, or the oracle itself is wrong."""
    counted = {rule: sum(1 for line in lines if re.search(wanted, line)) for rule, (wanted, _) in oracle.items()}
    assert counted == {rule: count for rule, (_, count) in oracle.items()}
    return {rule: count for rule, count in counted.items() if count}


def slurmctld(plant: Plant) -> list[str]:
    """All lines of the university's month, as an agent sends them, in the engine. Returns them raw."""
    shipped(plant)
    plant.clock.at = datetime(2022, 7, 1, tzinfo=UTC)
    lines = real("logs/umhpc_slurmctld_2022-06.log").read_text(errors="replace").splitlines()
    records = []
    for line in lines:
        stamp, _, message = line[1:].partition("] ")
        record = f"<30>1 {stamp}Z umhpc slurmctld - - - {message}".encode()
        records.append(b"%d %b" % (len(record), record))
    plant.settings.syslog.max_line = 10_000
    plant.send("syslog/tcp", b"".join(records))
    return lines


def test_a_month_of_slurmctld(plant: Plant) -> None:
    lines = slurmctld(plant)
    oracle = json.loads(real("logs/umhpc_slurmctld_2022-06.oracle.json").read_text())
    assert plant.rejects() == []
    whole = plant.rows(
        "SELECT count() AS n, toString(min(time)) AS first, toString(max(time)) AS last, countIf(kind = '') AS unknown,"
        " countIf(length(fields) = 0 AND kind != '') AS bare FROM qnib.events"
    )[0]
    assert whole["n"] == len(lines) == oracle["lines"], "none is lost"
    assert (whole["first"], whole["last"]) == ("2022-06-01 01:02:35.148000", "2022-06-30 23:53:58.736000")
    assert whole["unknown"] == 27, "lines of a start and of steps that are gone"
    hits = found(plant)
    assert hits == grepped(SLURMCTLD, lines)
    for name, rules in SAME_AS.items():
        assert sum(hits[rule] for rule in rules) == oracle[name], name
    kills = hits["job_cancelled"] + 3  # three were refused: "Security violation, REQUEST_KILL_JOB RPC"
    assert kills == oracle["kill_requests"]
    jobs = plant.rows(
        "SELECT count(DISTINCT job) AS n FROM (SELECT arrayJoin(arrayConcat([fields['job'], fields['of']],"
        " extractAll(message, 'JobId=(\\\\d+)'))) AS job FROM qnib.events) WHERE job != ''"
    )
    assert jobs == [{"n": oracle["distinct_jobids"]}]
    partitions = plant.rows("SELECT DISTINCT fields['partition'] AS p FROM qnib.events WHERE kind = 'job.allocate'")
    assert sorted(row["p"] for row in partitions if row["p"]) == oracle["partitions"]


def test_its_numbers_are_series(plant: Plant) -> None:
    lines = slurmctld(plant)
    told = [int(m[1]) for line in lines if (m := re.search(r"InitPrio=\d+ usec=(\d+)", line))]
    slow = [int(m[1]) for line in lines if (m := re.search(r"process took (\d+) seconds", line))]
    rows = plant.rows(
        "SELECT name, unit, host, count() AS n, sum(value) AS s FROM qnib.points AS p"
        " INNER JOIN (SELECT series, any(name) AS name, any(unit) AS unit, any(host) AS host FROM qnib.series"
        " GROUP BY series) AS s ON p.series = s.series GROUP BY name, unit, host ORDER BY name"
    )
    assert rows == [
        {"name": "slurm.completing_time", "unit": "s", "host": "umhpc", "n": len(slow), "s": float(sum(slow))},
        {"name": "slurm.submit_time", "unit": "us", "host": "umhpc", "n": len(told), "s": float(sum(told))},
    ]  # fmt: skip


def test_a_linux_server(plant: Plant) -> None:
    shipped(plant)
    plant.clock.at = datetime(2005, 8, 1, tzinfo=UTC)
    lines = real("logs/Linux_2k.log").read_text(errors="replace").splitlines()
    plant.send("syslog/tcp", "".join(f"{line}\n" for line in lines).encode())
    assert plant.rejects() == []
    assert plant.rows("SELECT count() AS n FROM qnib.events") == [{"n": 2000}]
    assert found(plant) == grepped(LINUX, lines)


def test_opensm(plant: Plant) -> None:
    shipped(plant)
    lines = real("infiniband/osm_fattree208/osm.log").read_text().splitlines()
    plant.syslog(*(f"<30>1 - fabric opensm - - - {line.partition(' -> ')[2]}" for line in lines))
    assert found(plant) == grepped(OPENSM, lines)
    unknown = plant.rows("SELECT message FROM qnib.events WHERE empty(rules)")
    assert unknown == [{"message": "osm_vendor_init: 1000 pending umads specified"}]


def kernel_lines() -> list[str]:
    files: list[Path] = sorted(real("logs/kernel_problems").iterdir())
    lines = [line for file in files for line in file.read_text().splitlines()]
    lines += [line.partition(";")[2] for line in real("logs/kmsg.2.peermem.log").read_text().splitlines()]
    return lines + real("logs/nccl_dmesg_iso.log").read_text().splitlines()


def test_kernels(plant: Plant) -> None:
    shipped(plant)
    lines = [line for line in kernel_lines() if line.strip()]
    plant.syslog(*(f"<6>1 - node1 kernel - - - {line}" for line in lines))
    assert plant.rows("SELECT count() AS n FROM qnib.events") == [{"n": len(lines)}]
    assert found(plant) == grepped(KERNEL, lines)


def test_at_least_eighty_rules_for_each_layer() -> None:
    count = Counter(domain.name for domain in all_domains() for _ in load_rules(domain))
    assert count.total() >= 80, count
    assert {"host", "slurm", "infiniband", "storage", "service", "network", "software"} <= set(count)
