"""What to ask the controller, and what its answers mean.

Formatted text, never bulk JSON: its fields have not changed since 22.05. Fields end with US and records
with RS, control characters that no name of SLURM's can hold, so that blanks, '=', '|' and newlines in a
job's name do no harm. Times are asked for as epoch seconds, which makes the controller's zone irrelevant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from qnib.domains.slurm.accounting import start_jobs
from qnib.domains.slurm.happened import job_events, node_events
from qnib.domains.slurm.identity import settle
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
PARTITION_FIELDS = ("%P", "%a", "%l", "%D", "%N")

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT",
})
"""States a job does not leave, except by a requeue."""

_NOTHING = frozenset({"", "(null)", "N/A", "n/a", "NONE", "None", "none", "Unknown", "NOT_SET", "INVALID"})
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


def output_format(fields: Sequence[str]) -> str:
    """The argument of -O for these fields, each in full and ended by a control character."""
    *most, last = fields
    return ",".join([*(f"{name}:{US}" for name in most), f"{last}:{RS}"])


def records(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    """The records of a formatted answer. Raises ValueError with the record that has not these fields."""
    for record in text.split(RS):
        values = record.lstrip("\n").split(US)
        if values == [""]:
            continue
        if len(values) != len(fields):
            raise ValueError(f"{len(values)} fields where {len(fields)} were asked for: {record[:200]!r}")
        yield {name: value.strip() for name, value in zip(fields, values, strict=True)}


def word(value: str) -> str:
    """`value`, or nothing where SLURM says in one of its ways that there is none."""
    return "" if value in _NOTHING else value


def moment(value: str) -> datetime | None:
    """Epoch seconds as a time; None when there is none (yet)."""
    return datetime.fromtimestamp(int(value), UTC) if value.isdigit() and int(value) > 0 else None


def iso(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


def duration(value: str) -> int | None:
    """Seconds of ``days-hours:minutes:seconds`` or a shorter form of it; None for no limit.

    >>> duration("1-02:00:00"), duration("30:00"), duration("UNLIMITED")
    (93600, 1800, None)
    """
    days, dash, clock = value.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or (dash and not days.isdigit()):
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds + 86400 * int(days or 0)


def octets(value: str, unit: str = "M") -> int | None:
    """Octets of a size like ``50M`` or ``2.50G``; a bare number counts in `unit`."""
    factor = _UNITS.get(value[-1:].upper())
    digits = value[:-1] if factor else value
    try:
        return int(float(digits) * (factor or _UNITS[unit]))
    except ValueError:
        return None


def whole(value: str) -> int | None:
    """A whole number; sizes of pending jobs may come as a range (``2-4``), then the least."""
    first = value.partition("-")[0]
    return int(first) if first.isdigit() else None


def expand(nodes: str) -> list[str]:
    """The names in a folded node set: ``compute[0-1]`` gives compute0 and compute1."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return list(NodeSet(nodes, resolver=RESOLVER_NOGROUP)) if nodes else []


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────


def parse_jobs(text: str, at: datetime) -> Snapshot:
    """Jobs, attempts, users, accounts and allocations. Jobs SLURM has forgotten had ended before that."""
    entities: dict[Ref, Entity] = {}
    relations: list[Relation] = []
    for record in records(text, JOB_FIELDS):
        for entity in _job(record, relations):
            entities[entity.ref] = entity
    own = {"Job", "Attempt", "SUBMITTED", "CHARGED_TO", "QUEUED_IN", "ATTEMPT_OF", "JOBCLIENT"}
    return Snapshot(list(entities.values()), relations, frozenset(own))


def _job(record: dict[str, str], relations: list[Relation]) -> Iterator[Entity]:
    number, submit = whole(record["JobID"]), moment(record["SubmitTime"])
    if number is None or submit is None:
        raise ValueError(f"a job without id or submit time: {record['JobID']!r} {record['SubmitTime']!r}")
    key = f"{number}@{int(submit.timestamp())}"
    state, nodes = record["State"], word(record["NodeList"])
    ended = state in ENDED
    start = moment(record["StartTime"]) if nodes and state != "PENDING" else None  # else it is an estimate
    end = moment(record["EndTime"]) if ended else None
    code, _, signal = record["exit_code"].partition(":")
    outcome = {"exit_code": whole(code), "signal": whole(signal)} if ended else {"exit_code": None, "signal": None}
    restarts = whole(record["RestartCnt"]) or 0
    attempt = restarts + 1
    cpus, count = whole(record["NumCPUs"]), whole(record["NumNodes"]) or 0
    memory = octets(record["MinMemory"])
    user, account = word(record["UserName"]), word(record["Account"])
    properties: dict[str, Scalar] = {
        "id": number, "name": record["Name"], "user": user, "group": word(record["GroupName"]), "account": account,
        "partition": word(record["Partition"]), "qos": word(record["QOS"]), "state": state,
        "reason": word(record["Reason"]), "submit": iso(submit), "start": iso(start), "end": iso(end),
        "limit": duration(record["TimeLimit"]), "nodes": nodes, "node_count": count, "cpus": cpus,
        "min_memory": memory, **outcome, "attempt": attempt, "work_dir": word(record["WorkDir"]),
        "command": word(record["Command"]), "array_job": whole(record["ArrayJobID"]),
        "array_task": word(record["ArrayTaskID"]),
    }
    job = Ref("Job", key)
    yield Entity("Job", key, properties, since=(end or start if state != "PENDING" else None) or submit, until=end)
    if user:
        yield Entity("User", user, {"name": user, "group": word(record["GroupName"])})
        relations.append(Relation("SUBMITTED", Ref("User", user), job, since=submit, until=end))
    if account:
        yield Entity("Account", account, {"name": account})
        relations.append(Relation("CHARGED_TO", job, Ref("Account", account), since=submit, until=end))
    relations.extend(
        Relation("QUEUED_IN", job, Ref("Partition", partition), since=submit, until=end)
        for partition in word(record["Partition"]).split(",") if partition
    )
    if start is None:
        return
    run = f"{key}#{attempt}"
    facts: dict[str, Scalar] = {
        "number": attempt, "state": state, "start": iso(start), "end": iso(end), "nodes": nodes, **outcome,
    }
    yield Entity("Attempt", run, facts, since=start, until=end)
    relations.append(Relation("ATTEMPT_OF", Ref("Attempt", run), job, since=start, until=end))
    hosts = expand(nodes)
    # SLURM's list tells a job's sum only; the share of each node is exact when the nodes are alike.
    share: dict[str, Scalar] = {"attempt": attempt, "cpus": (cpus or 0) // max(1, len(hosts)), "memory": memory}
    relations.extend(
        Relation("JOBCLIENT", job, Ref("Host", host), share, since=start, until=end) for host in hosts
    )


# ── nodes and partitions ──────────────────────────────────────────────────────────────────────


def parse_nodes(text: str, at: datetime) -> Snapshot:
    """Nodes, the hosts they are, their partitions, and the cluster; one record per node and partition."""
    head, _, rest = text.partition("\n")
    name, equals, cluster = head.partition("=")
    if name.strip() != "ClusterName" or not equals:
        raise ValueError(f"no ClusterName in the first line: {head[:200]!r}")
    cluster = cluster.strip()
    entities: dict[Ref, Entity] = {Ref("Cluster", cluster): Entity("Cluster", cluster, {"name": cluster})}
    relations: dict[tuple[str, Ref, Ref], Relation] = {}
    for record in records(rest, NODE_FIELDS):
        node = record["NodeList"]
        ties = [Relation("IN", Ref("Node", node), Ref("Cluster", cluster))]
        host = Ref("Host", (word(record["NodeHost"]) or node).split(".")[0])
        aliases = [("slurm", node), ("hostname", word(record["NodeHost"])), ("address", word(record["NodeAddr"]))]
        for kind, alias in aliases:
            if alias and (kind == "slurm" or alias != node):
                entity = Entity("Alias", f"{kind}:{alias}", {"name": alias, "kind": kind})
                entities[entity.ref] = entity
                ties.append(Relation("ALIAS_OF", entity.ref, host))
        entities[host] = Entity("Host", host.key, {"name": host.key})
        entities[Ref("Node", node)] = Entity("Node", node, _node(record))
        ties.append(Relation("IS", Ref("Node", node), host))
        if partition := word(record["PartitionName"]):
            ties.append(Relation("PART_OF", Ref("Node", node), Ref("Partition", partition)))
        relations.update({(tie.kind, tie.source, tie.target): tie for tie in ties})
    own = frozenset({"Node", "Cluster", "IS", "IN", "PART_OF", "Alias", "ALIAS_OF"})
    return Snapshot(list(entities.values()), list(relations.values()), own)


def _node(record: dict[str, str]) -> dict[str, Scalar]:
    cpus = [whole(part) for part in record["CPUsState"].split("/")]  # allocated/idle/other/total
    if len(cpus) != 4:
        raise ValueError(f"CPU states are A/I/O/T, not {record['CPUsState']!r}")
    return {
        "name": record["NodeList"], "state": record["StateComplete"].upper(), "reason": word(record["Reason"]),
        "reason_by": word(record["User"]), "reason_since": iso(moment(record["Timestamp"])), "cpus": cpus[3],
        "cpus_allocated": cpus[0], "memory": octets(record["Memory"]), "memory_allocated": octets(record["AllocMem"]),
        "version": word(record["Version"]), "features": word(record["Features"]), "gres": word(record["Gres"]),
    }


def parse_partitions(text: str, at: datetime) -> Snapshot:
    """The partitions, those without nodes too."""
    entities = []
    for record in records(text, PARTITION_FIELDS):
        name = record["%P"].removesuffix("*")
        entities.append(Entity("Partition", name, {
            "name": name, "state": record["%a"].upper(), "limit": duration(record["%l"]), "nodes": word(record["%N"]),
            "node_count": whole(record["%D"]), "default": record["%P"].endswith("*"),
        }))
    return Snapshot(entities, complete=frozenset({"Partition"}))


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
        ("env", "SLURM_TIME_FORMAT=%s", "squeue", "-a", "-t", "all", "-h", "-O", output_format(JOB_FIELDS)),
        parse_jobs, 30, "controller", _JOB_CHANGES, settle=settle, events=job_events,
    ),
    Capture(
        "nodes",
        ("env", "SLURM_TIME_FORMAT=%s", "sh", "-c",
         'scontrol show config | grep "^ClusterName" && exec sinfo -a -N -h -O "$0"', output_format(NODE_FIELDS)),
        parse_nodes, 60, "controller", (*_NODE_CHANGES, *_JOB_CHANGES), events=node_events,
    ),
    Capture(
        "partitions", ("sinfo", "-a", "-h", "-o", US.join(PARTITION_FIELDS) + RS), parse_partitions, 300, "controller",
        _NODE_CHANGES,
    ),
)
