"""What ``scontrol show job``, ``show node`` and ``show partition`` print, with ``-o`` or without.

Fields are ``Name=value`` after blanks; a value runs to the next blank that is followed by a known kind of name, so
reasons and commands may hold blanks. Of two fields of one name the first counts. Times are local to the machine
(see `values.zone_of`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, tzinfo

from qnib.domains.slurm import jobs, nodes
from qnib.domains.slurm.jobs import Job, Run
from qnib.domains.slurm.nodes import Node
from qnib.domains.slurm.values import (
    ENDED,
    code,
    duration,
    fold,
    iso,
    moment,
    node_state,
    octets,
    state,
    tres,
    whole,
    word,
    zone_of,
)
from qnib.model import Scalar, Snapshot

_FIELD = re.compile(r"(?:^|[ \t]+)([A-Z][A-Za-z0-9_/:]*)=", re.MULTILINE)
_AFTER_NAME = re.compile(r"\n| HetJobIdSet=| UserId=")
_SHARE = re.compile(r"Nodes=(\S+) CPU_IDs=(\S+) Mem=(\d+)")
_WHO = re.compile(r"(\S+?)\((\d+)\)")
_REASON = re.compile(r"(?P<why>.*?)(?: \[(?P<who>[^@\]]+)@(?P<when>[^\]]+)\])?$", re.DOTALL)


def parse_show(text: str, at: datetime) -> Snapshot:
    """Jobs, nodes or partitions, whichever the text shows; all of one kind."""
    zone, text = zone_of(text)
    told = list(shown(text))
    kinds = {first for first, _, _ in told}
    if kinds == {"JobId"}:
        return jobs.snapshot(_job(fields, raw, zone) for _, fields, raw in told)
    if kinds == {"NodeName"}:
        return nodes.snapshot(_node(fields, zone) for _, fields, _ in told)
    if kinds == {"PartitionName"}:
        return nodes.partitions(_partition(fields) for _, fields, _ in told)
    raise ValueError(f"neither jobs nor nodes nor partitions as scontrol shows them: {text[:100]!r}")


def shown(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each record as (its first field's name, its fields, its raw text)."""
    for block in re.split(r"^(?=(?:JobId|NodeName|PartitionName)=)", text, flags=re.MULTILINE):
        if not block.strip():
            continue
        marks = _marks(block)
        if not marks or marks[0].start() != 0:
            raise ValueError(f"not what scontrol shows: {block[:100]!r}")
        fields: dict[str, str] = {}
        for mark, after in zip(marks, [*marks[1:], None], strict=True):
            value = block[mark.end():after.start() if after else len(block)].strip()
            fields.setdefault(mark[1], value)
        yield marks[0][1], fields, block


def _marks(block: str) -> list[re.Match[str]]:
    """Where fields begin; what looks like one in a job's name is none."""
    marks = list(_FIELD.finditer(block))
    name = next((mark for mark in marks if mark[1] == "JobName"), None)
    if name is None:
        return marks
    after = _AFTER_NAME.search(block, name.end())
    end = after.start() if after else len(block)
    return [mark for mark in marks if mark.start() <= name.start() or mark.start() >= end]


def _need(fields: dict[str, str], *names: str) -> None:
    missing = [name for name in names if name not in fields]
    if missing:
        first = next(iter(fields.items()))
        raise ValueError(f"{first[0]}={first[1]} has no {' and no '.join(missing)}: is the text cut off?")


def _job(fields: dict[str, str], raw: str, zone: tzinfo) -> Job:
    _need(fields, "JobState", "SubmitTime", "Partition")
    number, submit = whole(fields["JobId"]), moment(fields["SubmitTime"], zone)
    if number is None or submit is None:
        raise ValueError(f"a job without id or submit time: {fields['JobId']!r} {fields['SubmitTime']!r}")
    now, folded = state(fields["JobState"]), fold(word(fields.get("NodeList", "")))
    ended = now in ENDED
    start = moment(fields.get("StartTime", ""), zone) if folded and now != "PENDING" else None
    end = moment(fields.get("EndTime", ""), zone) if ended else None
    outcome = code(fields.get("ExitCode", "")) if ended else {"exit_code": None, "signal": None}
    user, group = (_WHO.match(fields.get(name, "")) for name in ("UserId", "GroupId"))
    attempt, cpus = (whole(fields.get("Restarts", "")) or 0) + 1, whole(fields.get("NumCPUs", ""))
    memory = octets(fields.get("MinMemoryNode") or fields.get("MinMemoryCPU") or "")
    told: dict[str, Scalar] = {
        "id": number, "name": fields.get("JobName", ""), "user": user[1] if user else "",
        "group": group[1] if group else "", "account": word(fields.get("Account", "")),
        "partition": word(fields["Partition"]), "qos": word(fields.get("QOS", "")),
        "reason": word(fields.get("Reason", "")), "start": iso(start), "end": iso(end),
        "limit": duration(fields.get("TimeLimit", "")), "nodes": folded,
        "node_count": whole(fields.get("NumNodes", "")) or 0, "cpus": cpus, "min_memory": memory, **outcome,
        "attempt": attempt, "work_dir": word(fields.get("WorkDir", "")), "command": word(fields.get("Command", "")),
        "tres": word(fields.get("AllocTRES") or fields.get("TRES") or ""),
    }
    for theirs, ours in (("ArrayJobId", "array_job"), ("HetJobId", "het_job"), ("HetJobOffset", "het_offset")):
        if theirs in fields:
            told[ours] = whole(fields[theirs])
    if "ArrayTaskId" in fields:
        told["array_task"] = fields["ArrayTaskId"]
    if "SLUID" in fields:
        told["sluid"] = fields["SLUID"]
    job = Job(str(number), submit, now, told, end)
    if start is not None:
        sum_, count = octets(tres(str(told["tres"])).get("mem", "")), whole(fields.get("NumNodes", "")) or 1
        share: dict[str, Scalar] = {"cpus": cpus, "memory": sum_ // max(1, count) if sum_ else memory, **outcome}
        job.runs.append(Run(attempt, start, end, folded, now, share, dict(_shares(raw))))
    return job


def _shares(raw: str) -> Iterator[tuple[str, dict[str, Scalar]]]:
    """What ``show -d job`` tells of each node: CPU numbers as a folded set, memory in MiB (0: not counted)."""
    from qnib.domains.slurm.values import expand

    for found in _SHARE.finditer(raw):
        cpus = len(expand(f"[{found[2]}]")) if found[2][:1].isdigit() else None
        share: dict[str, Scalar] = {"cpus": cpus} if cpus else {}
        if int(found[3]):
            share["memory"] = int(found[3]) << 20
        for host in expand(found[1]):
            yield host, share


def _node(fields: dict[str, str], zone: tzinfo) -> Node:
    _need(fields, "State")
    why = _REASON.match(fields.get("Reason", ""))
    since = why["when"] if why and why["when"] else ""
    told: dict[str, Scalar] = {
        "state": node_state(fields["State"]), "reason": word(why["why"]) if why else "",
        "reason_by": (why["who"] or "") if why else "", "reason_since": iso(moment(since, zone)),
        "cpus": whole(fields.get("CPUTot", "")), "cpus_allocated": whole(fields.get("CPUAlloc", "")),
        "memory": octets(fields.get("RealMemory", "")), "memory_allocated": octets(fields.get("AllocMem", "")),
        "version": word(fields.get("Version", "")), "features": word(fields.get("AvailableFeatures", "")),
        "gres": word(fields.get("Gres", "")),
    }
    names = [name for name in word(fields.get("Partitions", "")).split(",") if name]
    return Node(fields["NodeName"], told, fields.get("NodeHostName", ""), fields.get("NodeAddr", ""), names)


def _partition(fields: dict[str, str]) -> dict[str, Scalar]:
    _need(fields, "State")
    return {
        "name": fields["PartitionName"], "state": fields["State"].upper(), "limit": duration(fields.get("MaxTime", "")),
        "nodes": word(fields.get("Nodes", "")), "node_count": whole(fields.get("TotalNodes", "")),
        "default": fields.get("Default") == "YES",
    }
