"""Tables that squeue and sinfo print, with any columns in any order.

A table says its columns in one of two ways: by a header, as the tools print it unless told ``-h``; or by a first line
``$ squeue -h -o '%i|%T'``, the command that made it. Columns are told apart by what the format puts between
them, without one (squeue's own table) by the blanks of the header.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo

from qnib.domains.slurm import jobs, nodes
from qnib.domains.slurm.jobs import Job, Run
from qnib.domains.slurm.nodes import Node
from qnib.domains.slurm.sacct import job_name
from qnib.domains.slurm.values import (
    ENDED,
    code,
    duration,
    iso,
    moment,
    node_state,
    octets,
    state,
    whole,
    word,
    zone_of,
)
from qnib.model import Scalar, Snapshot

Row = Mapping[str, str]

JOB_LETTERS = {
    "%i": "jobarrayid", "%A": "jobid", "%F": "arrayjobid", "%K": "arraytaskid", "%P": "partition", "%j": "name",
    "%u": "username", "%g": "groupname", "%a": "account", "%q": "qos", "%T": "state", "%t": "statecompact",
    "%r": "reason", "%R": "reasonlist", "%V": "submittime", "%S": "starttime", "%e": "endtime", "%l": "timelimit",
    "%M": "timeused", "%N": "nodelist", "%D": "numnodes", "%C": "numcpus", "%m": "minmemory", "%Z": "workdir",
    "%o": "command", "%B": "batchhost",
}
"""squeue's letters by the names its -O knows."""
JOB_HEADERS = {
    "jobid": "jobarrayid", "job_id": "jobarrayid", "user": "username", "group": "groupname", "st": "statecompact",
    "time": "timeused", "nodes": "numnodes", "nodelist(reason)": "reasonlist", "cpus": "numcpus",
    "submit_time": "submittime", "start_time": "starttime", "end_time": "endtime", "time_limit": "timelimit",
    "min_memory": "minmemory", "work_dir": "workdir", "array_job_id": "arrayjobid", "array_task_id": "arraytaskid",
    "req_nodes": "numnodes", "min_cpus": "numcpus",
}
"""What squeue prints above its columns, where that is another name."""
NODE_LETTERS = {
    "%N": "nodelist", "%n": "nodehost", "%o": "nodeaddr", "%P": "partition", "%R": "partitionname", "%T": "statelong",
    "%t": "statecompact", "%E": "reason", "%u": "user", "%H": "timestamp", "%C": "cpusstate", "%c": "cpus",
    "%m": "memory", "%e": "freemem", "%f": "features", "%G": "gres", "%D": "nodes", "%a": "available", "%l": "time",
    "%v": "version",
}
NODE_HEADERS = {
    "hostnames": "nodehost", "node_addr": "nodeaddr", "nodeaddr": "nodeaddr", "state": "statelong",
    "avail": "available", "timelimit": "time", "avail_features": "features", "cpus(a/i/o/t)": "cpusstate",
}


def parse_squeue(text: str, at: datetime) -> Snapshot:
    """Jobs. Without SubmitTime the jobs that hold now under their numbers are meant (`identity.py`)."""
    zone, text = zone_of(text)
    return jobs.snapshot(_job(row, line, zone) for line, row in rows(text, "squeue", JOB_LETTERS, JOB_HEADERS))


def parse_sinfo(text: str, at: datetime) -> Snapshot:
    """Nodes, where a column names them; else partitions."""
    zone, text = zone_of(text)
    told = list(rows(text, "sinfo", NODE_LETTERS, NODE_HEADERS))
    found: dict[str, Node] = {}
    partitions: dict[str, dict[str, Scalar]] = {}
    for line, row in told:
        names, partition = _nodes(row), word(row.get("partition") or row.get("partitionname") or "")
        default, partition = partition.endswith("*"), partition.removesuffix("*")
        if not names and not partition:
            raise ValueError(f"line {line}: neither a node nor a partition; ask sinfo for NodeList or PartitionName")
        for name in names:
            node = found.setdefault(name, Node(name, {}))
            node.told |= _node(row, zone)
            node.hostname, node.address = word(row.get("nodehost", "")), word(row.get("nodeaddr", ""))
            if partition and partition not in node.partitions:
                node.partitions.append(partition)
        if partition and (not names or "available" in row):
            about: dict[str, Scalar] = {"name": partition}
            if "available" in row:
                about["state"] = row["available"].upper()
            if "partition" in row:  # the other column does not mark the default one
                about["default"] = default
            if "time" in row:
                about["limit"] = duration(row["time"])
            partitions[partition] = about
    seen = nodes.snapshot(found.values())
    return Snapshot([*seen.entities, *nodes.partitions(partitions.values()).entities], seen.relations)


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def rows(text: str, tool: str, letters: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    """The lines as (number, values by the column's name in lower case). Raises ValueError in words."""
    lines = text.splitlines()
    if lines and lines[0].lstrip("#$ ").startswith(tool):
        columns, between = _format(lines[0].lstrip("#$ "), letters)
        body = enumerate(lines[1:], 2)
    else:
        head = lines[0] if lines else ""
        between = next((mark for mark in "|,;\t" if mark in head), "")
        found = head.split(between) if between else head.split()
        columns = [headers.get(name.strip().lower(), name.strip().lower()) for name in found]
        known = {*letters.values(), *headers.values(), *headers}
        if not columns or not {column for column in columns if column in known}:
            raise ValueError(f"neither a header of {tool}'s nor `$ {tool} …` in the first line: {head[:100]!r}")
        body = enumerate(lines[1:], 2)
    for number, line in body:
        if not line.strip():
            continue
        values = line.rstrip("\n").split(between, len(columns) - 1) if between else line.split(None, len(columns) - 1)
        if len(values) == len(columns) - 1 and not between:  # the last column may be empty
            values.append("")
        if len(values) != len(columns):
            raise ValueError(f"line {number}: {len(values)} columns where {len(columns)} are due: {line[:100]!r}")
        yield number, {name: value.strip() for name, value in zip(columns, values, strict=True)}


def _format(command: str, letters: Mapping[str, str]) -> tuple[list[str], str]:
    """Columns and what is between them, from the -o or -O of the command that made the table."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"the command of the first line cannot be read ({error}): {command[:100]!r}") from error
    for place, one in enumerate(words):
        if one in ("-o", "-O", "--format", "--Format") and place + 1 < len(words):
            option, value = one, words[place + 1]
        elif one.startswith(("--format=", "--Format=")):
            option, _, value = one.partition("=")
        else:
            continue
        if option in ("-o", "--format"):
            marks = re.findall(r"%[.\d]*[A-Za-z]", value)
            gaps = set(re.split(r"%[.\d]*[A-Za-z]", value)[1:-1])
            between = gaps.pop() if len(gaps) == 1 else ""
            return [letters.get("%" + mark[-1], mark) for mark in marks], between.strip() and between
        fields = [field.partition(":") for field in value.split(",")]
        gaps = {gap for _, _, gap in fields[:-1]}
        between = gaps.pop() if len(gaps) == 1 else ""
        return [name.strip().lower() for name, _, _ in fields], "" if between.strip(" .0123456789") == "" else between
    raise ValueError(f"no -o or -O in the first line, so nobody knows the columns: {command[:100]!r}")


# ── what it says ──────────────────────────────────────────────────────────────────────────────


def _job(row: Row, line: int, zone: tzinfo) -> Job:
    name = row.get("jobid") or row.get("jobarrayid") or ""
    now = state(row.get("state") or row.get("statecompact") or "")
    if not name[:1].isdigit() or not now:
        raise ValueError(f"line {line}: a job without id or state: {name!r} {now!r}")
    told: dict[str, Scalar] = {}
    same = {
        "name": "name", "username": "user", "groupname": "group", "account": "account", "partition": "partition",
        "qos": "qos", "reason": "reason", "workdir": "work_dir", "command": "command", "tres-alloc": "tres",
    }
    told |= {ours: word(row[theirs]) for theirs, ours in same.items() if theirs in row}
    listed = row.get("reasonlist", "")
    if listed.startswith("("):
        told["reason"] = word(listed.strip("()"))
    folded = word(row.get("nodelist", "")) or ("" if listed.startswith("(") else listed)
    if folded or "nodelist" in row:
        told["nodes"] = folded
    for theirs, ours in (("numcpus", "cpus"), ("numnodes", "node_count"), ("arrayjobid", "array_job")):
        if theirs in row:
            told[ours] = whole(row[theirs])
    if "timelimit" in row:
        told["limit"] = duration(row["timelimit"])
    if "minmemory" in row:
        told["min_memory"] = octets(row["minmemory"])
    name, named = job_name(name)
    told |= named
    submit, ended = moment(row.get("submittime", ""), zone), now in ENDED
    start = moment(row.get("starttime", ""), zone) if now != "PENDING" else None
    end = moment(row.get("endtime", ""), zone) if ended else None
    if start:
        told["start"] = iso(start)
    if end:
        told["end"] = iso(end)
    if ended and "exit_code" in row:
        told |= code(row["exit_code"])
    job = Job(name, submit, now, told, end)
    if start is not None and folded:
        attempt = (whole(row.get("restartcnt", "")) or 0) + 1
        told["attempt"] = attempt
        share: dict[str, Scalar] = {"cpus": told.get("cpus"), "memory": told.get("min_memory")}
        job.runs.append(Run(attempt, start, end, folded, now, share))
    return job


def _nodes(row: Row) -> list[str]:
    from qnib.domains.slurm.values import expand

    return expand(word(row.get("nodelist") or row.get("nodehost") or ""))


def _node(row: Row, zone: tzinfo) -> dict[str, Scalar]:
    told: dict[str, Scalar] = {}
    if now := row.get("statecomplete") or row.get("statelong") or row.get("statecompact"):
        told["state"] = node_state(now, short="statecomplete" not in row)
    for theirs, ours in (("reason", "reason"), ("user", "reason_by"), ("version", "version"), ("features", "features"),
                         ("gres", "gres")):
        if theirs in row:
            told[ours] = word(row[theirs])
    if "timestamp" in row:
        told["reason_since"] = iso(moment(row["timestamp"], zone))
    if "memory" in row:
        told["memory"] = octets(row["memory"])
    if "allocmem" in row:
        told["memory_allocated"] = octets(row["allocmem"])
    if "cpusstate" in row:
        parts = [whole(part) for part in row["cpusstate"].split("/")]
        if len(parts) != 4:
            raise ValueError(f"CPU states are A/I/O/T, not {row['cpusstate']!r}")
        told |= {"cpus": parts[3], "cpus_allocated": parts[0]}
    return told
