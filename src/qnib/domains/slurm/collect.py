"""What to ask the controller, and what its answers mean.

Gently: a run of `jobs` or of `nodes` is two requests to slurmctld (squeue and sinfo ask for the partitions, too), of
`partitions` one, and the agent's pace (`qnib.agent.captures`) lets no more than two of them begin in a minute where
answers are large: four requests a minute at most, whatever happens there.

Formatted text, never bulk JSON: its fields have not changed since 22.05. Fields end with US and records
with RS, control characters that no name of SLURM's can hold, so that blanks, '=', '|' and newlines in a
job's name do no harm. Times are asked for as epoch seconds, which makes the controller's zone irrelevant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from qnib.domains.slurm import jobs, nodes
from qnib.domains.slurm.accounting import start_jobs
from qnib.domains.slurm.files import FILES
from qnib.domains.slurm.happened import job_events, node_events
from qnib.domains.slurm.identity import settle
from qnib.domains.slurm.jobs import Job, Run
from qnib.domains.slurm.nodes import Node
from qnib.domains.slurm.sacctmgr import CAPTURES as ACCOUNTING
from qnib.domains.slurm.show import parse_show
from qnib.domains.slurm.values import ENDED, code, duration, iso, moment, octets, whole, word
from qnib.model import Capture, Entity, Metric, Reading, Ref, Relation, Scalar, Snapshot

US, RS = "\x1f", "\x1e"

JOB_FIELDS = (
    "JobID", "SubmitTime", "UserName", "GroupName", "Account", "Partition", "QOS", "State", "Reason", "StartTime",
    "EndTime", "TimeLimit", "NodeList", "NumNodes", "NumCPUs", "MinMemory", "exit_code", "RestartCnt", "ArrayJobID",
    "ArrayTaskID", "WorkDir", "Command", "Name",
)
NODE_FIELDS = (
    "NodeList", "NodeHost", "NodeAddr", "StateComplete", "CPUsState", "Memory", "AllocMem", "Version", "Features",
    "Gres", "PartitionName", "Timestamp", "User", "Reason",
)


def output_format(names: Sequence[str]) -> str:
    """The argument of -O for these fields, each in full and ended by a control character."""
    *most, last = names
    return ",".join([*(f"{name}:{US}" for name in most), f"{last}:{RS}"])


def records(text: str, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """The records of a formatted answer. Raises ValueError with the record that has not these fields."""
    for record in text.split(RS):
        if record and record != "\n":
            yield fields(record, names)


def fields(record: str, names: Sequence[str]) -> dict[str, str]:
    """The fields of one record. Raises ValueError where they are not as many as `names`."""
    values = record.lstrip("\n").split(US)
    if len(values) != len(names):
        raise ValueError(f"{len(values)} fields where {len(names)} were asked for: {record[:200]!r}")
    return {name: value.strip() for name, value in zip(names, values, strict=True)}


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────


def parse_jobs(text: str, at: datetime) -> Snapshot:
    """Jobs, attempts, users, accounts and allocations. Jobs SLURM has forgotten had ended before that."""
    entities: dict[Ref, Entity] = {}
    relations: list[Relation] = []
    before, told = _Meanings.last, {}
    for raw in text.split(RS):
        if not raw or raw == "\n":
            continue
        meaning = before.get(raw)
        if meaning is None:
            ties: list[Relation] = []
            things = [(one.ref, one) for one in jobs.entities_of(_job(fields(raw, JOB_FIELDS)), ties)]
            meaning = things, ties
        told[raw] = meaning
        entities.update(meaning[0])
        relations += meaning[1]
    _Meanings.last = told
    return Snapshot(list(entities.values()), relations, jobs.OWN)


class _Meanings:
    """What each record of the last answer meant: of 100,000 jobs most say in a minute what they said in the last.
    A record's meaning is in its text alone, so it matters to nobody whose answer it was."""

    last: ClassVar[dict[str, tuple[list[tuple[Ref, Entity]], list[Relation]]]] = {}


def _job(record: dict[str, str]) -> Job:
    number, submit = whole(record["JobID"]), moment(record["SubmitTime"])
    if number is None or submit is None:
        raise ValueError(f"a job without id or submit time: {record['JobID']!r} {record['SubmitTime']!r}")
    state, nodes = record["State"], word(record["NodeList"])
    ended = state in ENDED
    start = moment(record["StartTime"]) if nodes and state != "PENDING" else None  # else it is an estimate
    end = moment(record["EndTime"]) if ended else None
    outcome = code(record["exit_code"]) if ended else {"exit_code": None, "signal": None}
    attempt = (whole(record["RestartCnt"]) or 0) + 1
    cpus, memory = whole(record["NumCPUs"]), octets(record["MinMemory"])
    told: dict[str, Scalar] = {
        "id": number, "name": record["Name"], "user": word(record["UserName"]), "group": word(record["GroupName"]),
        "account": word(record["Account"]), "partition": word(record["Partition"]), "qos": word(record["QOS"]),
        "reason": word(record["Reason"]), "start": iso(start), "end": iso(end),
        "limit": duration(record["TimeLimit"]), "nodes": nodes, "node_count": whole(record["NumNodes"]) or 0,
        "cpus": cpus, "min_memory": memory, **outcome, "attempt": attempt, "work_dir": word(record["WorkDir"]),
        "command": word(record["Command"]), "array_job": whole(record["ArrayJobID"]),
        "array_task": word(record["ArrayTaskID"]),
    }
    job = Job(str(number), submit, state, told, end)
    if start is not None:
        job.runs.append(Run(attempt, start, end, nodes, state, {"cpus": cpus or 0, "memory": memory, **outcome}))
    return job


# ── nodes and partitions ──────────────────────────────────────────────────────────────────────


def parse_nodes(text: str, at: datetime) -> Snapshot:
    """Nodes, the hosts they are, their partitions, and the cluster; one record per node and partition."""
    head, _, rest = text.partition("\n")
    name, equals, cluster = head.partition("=")
    if name.strip().lower() != "clustername" or not equals:
        raise ValueError(f"no ClusterName in the first line: {head[:200]!r}")
    told: dict[str, Node] = {}
    for record in records(rest, NODE_FIELDS):
        node = told.get(record["NodeList"])
        if node is None:
            node = told[record["NodeList"]] = _node(record)
        if partition := word(record["PartitionName"]):
            node.partitions.append(partition)
    # slurm.conf may go on after the name, and write it large; SLURM itself knows it small.
    own = cluster.partition("#")[0].split()
    if not own:
        raise ValueError(f"an empty ClusterName in the first line: {head[:200]!r}")
    return nodes.snapshot(told.values(), own[0].lower(), nodes.OWN)


def _node(record: dict[str, str]) -> Node:
    cpus = [whole(part) for part in record["CPUsState"].split("/")]  # allocated/idle/other/total
    if len(cpus) != 4:
        raise ValueError(f"CPU states are A/I/O/T, not {record['CPUsState']!r}")
    told: dict[str, Scalar] = {
        "state": record["StateComplete"].upper(), "reason": word(record["Reason"]),
        "reason_by": word(record["User"]), "reason_since": iso(moment(record["Timestamp"])), "cpus": cpus[3],
        "cpus_allocated": cpus[0], "memory": octets(record["Memory"]), "memory_allocated": octets(record["AllocMem"]),
        "version": word(record["Version"]), "features": word(record["Features"]), "gres": word(record["Gres"]),
    }
    return Node(record["NodeList"], told, word(record["NodeHost"]), word(record["NodeAddr"]))


def parse_partitions(text: str, at: datetime) -> Snapshot:
    """The partitions, those without nodes too."""
    seen = parse_show(text, at)
    if other := {entity.kind for entity in seen.entities} - {"Partition"}:
        raise ValueError(f"these are no partitions but {', '.join(sorted(other))}: {text[:100]!r}")
    return replace(seen, complete=frozenset({"Partition"}))


METRICS = (
    Metric("job.cpu", "slurm.job.{job}.{step}.{task}.{host}.cpu", "%", "CPU time a job's task uses; 100 is one core",
           source="cgroup of the job"),
    Metric("job.memory", "slurm.job.{job}.{step}.{task}.{host}.memory", "B",
           "Memory a job's task uses, without page cache that can be dropped at once", source="cgroup of the job"),
)

READINGS = (Reading("jobs", 5, "node", start_jobs),)

_JOB_CHANGES = (
    r"JobId=.* InitPrio=", r"Allocate JobId=", r"_start_job: Started JobId=", r"_slurm_rpc_allocate_resources.*JobId=",
    r"_job_complete: JobId=.* done", r"[Rr]equeu(e|ing) (job )?JobId=", r"REQUEST_KILL_JOB JobId=",
    r"Time limit exhausted for JobId=", r"cleanup_completing: JobId=", r"_slurm_rpc_complete_job_allocation: JobId=",
)
_NODE_CHANGES = (
    r"update_node: node .* state set to", r"[Nn]odes? .*not responding", r"Node .* now responding",
    r"returned to service", r"setting DOWN", r"Node .* registered", r"_slurm_rpc_(create|delete)_node",
    r"dynamic (norm )?node", r"[Dd]eleted? node",
)

CAPTURES = (
    Capture(
        "jobs",
        ("env", "SLURM_TIME_FORMAT=%s", "squeue", "-a", "--local", "-t", "all", "-h", "-O", output_format(JOB_FIELDS)),
        parse_jobs, 30, "controller", _JOB_CHANGES, settle=settle, events=job_events,
    ),
    Capture(
        "nodes",
        ("env", "SLURM_TIME_FORMAT=%s", "sh", "-c",
         # The name of the cluster is in a file here; only where it is not the controller is asked for it.
         'grep -his -m1 "^ *ClusterName" "${SLURM_CONF:-/etc/slurm/slurm.conf}" || scontrol show config | '
         'grep "^ClusterName"; exec sinfo -a -N -h -O "$0"', output_format(NODE_FIELDS)),
        parse_nodes, 60, "controller", (*_NODE_CHANGES, *_JOB_CHANGES), events=node_events,
    ),
    Capture(
        "partitions", ("scontrol", "-a", "show", "partition"), parse_partitions, 300, "controller", _NODE_CHANGES,
    ),
    *ACCOUNTING,
    *FILES,
)
