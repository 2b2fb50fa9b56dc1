"""Accounting in text: ``sacct -P`` with any columns in any order, and the files other tools keep of it.

The columns come from the header. Without one (``sacct -n``) they are recognised by their number where a tool is known
to write them so: 32 of Sonar, 26 of XDMoD. Sonar's named fields (``v=…,JobID=…``) are read, too. Rows of steps
fold into their job, rows of a requeued or resized job (``sacct -D``) into one job with its attempts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

from qnib.domains.slurm import jobs
from qnib.domains.slurm.jobs import Job, Run, Step
from qnib.domains.slurm.values import (
    ENDED,
    SHORT,
    code,
    duration,
    fold,
    iso,
    moment,
    octets,
    state,
    tres,
    whole,
    word,
    zone_of,
)
from qnib.model import Scalar, Snapshot

SONAR = (
    "JobIDRaw,JobID,User,Account,State,Start,End,AveCPU,AveDiskRead,AveDiskWrite,AveRSS,AveVMSize,ElapsedRaw,ExitCode,"
    "Layout,MaxRSS,MaxVMSize,MinCPU,ReqCPUS,ReqMem,ReqNodes,Reservation,Submit,Suspended,SystemCPU,TimelimitRaw,"
    "UserCPU,NodeList,Partition,AllocTRES,Priority,JobName"
).lower().split(",")
XDMOD = (
    "JobID,JobIDRaw,Cluster,Partition,QOS,Account,Group,GID,User,UID,Submit,Eligible,Start,End,Elapsed,ExitCode,State,"
    "NNodes,NCPUS,ReqCPUS,ReqMem,ReqTRES,AllocTRES,Timelimit,NodeList,JobName"
).lower().split(",")
_WITHOUT_HEADER = {len(columns): columns for columns in (SONAR, XDMOD)}

AGAIN = frozenset({"REQUEUED", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "RESIZING"})
"""Ends of a record after which the same job may go on in another one."""
SOON = timedelta(hours=1)
"""From the end of a run to the submit time of the requeue; more is another job whose number came round again."""
_PER_CPU = 1 << 31
"""SLURM marks memory per CPU with this bit; sacct before 16.05 printed it with the number."""

Row = Mapping[str, str]


def parse_sacct(text: str, at: datetime) -> Snapshot:
    """Jobs and their steps. Raises ValueError with the number of the line that is not like the others."""
    return jobs.snapshot(jobs_of(text))


def jobs_of(text: str, bad: list[tuple[int, str]] | None = None) -> list[Job]:
    """The jobs with their runs and steps. A line that says nothing of a job is told in `bad` with its number; without
    that list it raises ValueError, as a file that is none of sacct's does in any case."""
    zone, rest = zone_of(text)
    found: list[Job] = []
    by_name: dict[str, Job] = {}
    for line, row in rows(rest, 1 if rest is text else 2, bad):
        try:
            name, _, step = (row.get("jobidraw") or row.get("jobid") or "").partition(".")
            if not name:
                raise ValueError("a record without JobID")
            if not step:
                by_name[name] = _job(row, name, zone)
                found.append(by_name[name])
            elif name in by_name:
                by_name[name].steps.append(_step(row, step, zone))
            else:
                raise ValueError(f"step {step} of job {name}, which is not before it: sacct without -X, please")
        except ValueError as error:
            if bad is None:
                raise ValueError(f"line {line}: {error}") from error
            bad.append((line, str(error)))
    return gather(found)


def rows(text: str, first: int = 1, bad: list[tuple[int, str]] | None = None) -> Iterator[tuple[int, Row]]:
    """The lines as (number, values by column in lower case); `bad` as in `jobs_of`."""
    lines = text.splitlines()
    if not lines:
        return
    if lines[0].startswith("v=") and "=" in lines[0]:
        yield from _named(lines, first, bad)
        return
    head = [name.strip().lower() for name in lines[0].split("|")]
    columns: Sequence[str]
    if "jobid" in head or "jobidraw" in head:
        columns, lines, first = head, lines[1:], first + 1
    else:
        known = _WITHOUT_HEADER.get(len(head))
        if known is None or state(lines[0].split("|")[known.index("state")]) not in {*ENDED, *SHORT.values()}:
            raise ValueError(
                f"no header in the first line, and {len(head)} columns as no tool known here writes them: "
                f"{lines[0][:100]!r}; use sacct -P without -n"
            )
        columns = known
    for number, line in enumerate(lines, first):
        values = line.split("|")
        if len(values) == len(columns) + 1 and not values[-1]:  # sacct -p ends every line with one
            values.pop()
        if len(values) != len(columns):
            _unlike(number, f"{len(values)} columns where {len(columns)} are due: {line[:100]!r}", bad)
            continue
        yield number, dict(zip(columns, values, strict=True))


def _unlike(number: int, what: str, bad: list[tuple[int, str]] | None) -> None:
    if bad is None:
        raise ValueError(f"line {number}: {what}")
    bad.append((number, what))


def _named(lines: Sequence[str], first: int, bad: list[tuple[int, str]] | None) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, first):
        if not line.startswith("v="):
            _unlike(number, f"no v= at its start as in the others: {line[:100]!r}", bad)
            continue
        fields = next(csv.reader([line]))
        yield number, {name.lower(): value for name, _, value in (one.partition("=") for one in fields)}


def _job(row: Row, name: str, zone: tzinfo) -> Job:
    submit = moment(row.get("submit", ""), zone)
    now = state(row.get("state", ""))
    if not now:
        raise ValueError(f"job {name} without State")
    start, end = moment(row.get("start", ""), zone), moment(row.get("end", ""), zone)
    nodes = fold(word(row.get("nodelist", "")))
    if now == "PENDING" or ("nodelist" in row and not nodes) or (start and end and start > end):
        start = None  # never ran; then Start is an estimate, or the moment it was cancelled
    got = tres(row.get("alloctres", ""))
    cpus = _first(row, "ncpus", "alloccpus") or whole(got.get("cpu", "")) or _first(row, "reqcpus")
    count = _first(row, "nnodes", "allocnodes") or whole(got.get("node", "")) or _first(row, "reqnodes")
    outcome = code(row.get("exitcode", "")) if end else {"exit_code": None, "signal": None}
    over = end if now in ENDED else None
    told: dict[str, Scalar] = {"start": iso(start), "end": iso(over), "cpus": cpus, "node_count": count, **outcome}
    columns = {
        "jobname": "name", "user": "user", "group": "group", "account": "account", "partition": "partition",
        "qos": "qos", "reason": "reason", "workdir": "work_dir", "submitline": "command",
        "alloctres": "tres", "sluid": "sluid",
    }
    told |= {ours: word(row[theirs]) for theirs, ours in columns.items() if theirs in row}
    if "nodelist" in row:
        told["nodes"] = nodes
    if "timelimitraw" in row:
        told["limit"] = 60 * minutes if (minutes := whole(row["timelimitraw"])) is not None else None
    elif "timelimit" in row:
        told["limit"] = duration(row["timelimit"])
    if (asked := _asked(row.get("reqmem", ""))) is not None:
        told["min_memory"] = asked
    number, named = job_name(row.get("jobid") or name)
    name = name if "jobidraw" in row else number
    told |= named
    if name.isdigit():
        told["id"] = int(name)
    attempt = (_first(row, "restarts") or 0) + 1
    told["attempt"] = attempt
    job = Job(name, submit, now, told, over)
    if start is not None:
        memory = octets(got["mem"]) if "mem" in got else None
        share: dict[str, Scalar] = {"cpus": cpus, "memory": memory // max(1, count or 1) if memory else None, **outcome}
        job.runs.append(Run(attempt, start, end, nodes, now, share))
    return job


def job_name(shown: str) -> tuple[str, dict[str, Scalar]]:
    """The job's number as far as its display name tells it, and what else that says: ``12_3`` is a task of an array
    and has a number of its own, ``12_[4-9]`` are those that wait under the array's, ``12+1`` is a part of a
    heterogeneous job."""
    array, underscore, task = shown.partition("_")
    leader, plus, offset = shown.partition("+")
    if underscore and array.isdigit():
        told: dict[str, Scalar] = {"array_job": int(array), "array_task": task.strip("[]")}
        return (array, {**told, "id": int(array)}) if task.startswith("[") else (shown, told)
    if plus and leader.isdigit():
        return shown, {"het_job": int(leader), "het_offset": whole(offset)}
    return shown, {"id": int(shown)} if shown.isdigit() else {}


def _step(row: Row, name: str, zone: tzinfo) -> Step:
    told: dict[str, Scalar] = {
        "name": row.get("jobname", ""), "state": state(row.get("state", "")), "nodes": word(row.get("nodelist", "")),
        "tasks": _first(row, "ntasks"), **code(row.get("exitcode", "")),
    }
    if row.get("maxrss"):
        told["max_memory"] = octets(row["maxrss"], "K")
    return Step(name, moment(row.get("start", ""), zone), moment(row.get("end", ""), zone), told)


def _asked(value: str) -> int | None:
    size = octets(value) if value else None
    if size is not None and size >> 20 & _PER_CPU:
        size -= _PER_CPU << 20
    return size


def _first(row: Row, *names: str) -> int | None:
    return next((found for name in names if (found := whole(row.get(name, ""))) is not None), None)


# ── records into jobs ─────────────────────────────────────────────────────────────────────────


def gather(records: Sequence[Job]) -> list[Job]:
    """One job for all records of it, in the order of their first ones.

    Records of one number and submit time are the sizes of one allocation. A later submit time is a requeue when the
    record before ended in a way that allows one (`AGAIN`) or this one counts restarts, within an hour and by the same
    user; else the number is another job's.
    """
    by_number: dict[str, list[Job]] = {}
    for record in records:
        by_number.setdefault(record.number, []).append(record)
    found: list[Job] = []
    for same in by_number.values():
        same.sort(key=lambda one: (one.submit.timestamp() if one.submit else 0, _begin(one)))
        chain: list[Job] = []
        for record in same:
            if chain and not _goes_on(chain[-1], record):
                found.append(_join(chain))
                chain = []
            chain.append(record)
        found.append(_join(chain))
    return found


def _begin(job: Job) -> float:
    return job.runs[0].start.timestamp() if job.runs else float("inf")


def _goes_on(before: Job, after: Job) -> bool:
    if before.submit == after.submit:
        return True
    end = before.end or (before.runs[-1].end if before.runs else None)
    if end is None or after.submit is None or before.told.get("user") != after.told.get("user"):
        return False
    restarted = int(str(after.told.get("attempt") or 1)) > int(str(before.told.get("attempt") or 1))
    return (before.state in AGAIN or restarted) and timedelta() <= after.submit - end <= SOON


def _join(chain: Sequence[Job]) -> Job:
    """The job of these records: submitted as the first, standing as the last, with the runs of all."""
    if len(chain) == 1:
        return chain[0]
    first, last = chain[0], chain[-1]
    runs: list[Run] = []
    steps: list[Step] = []
    number = int(str(first.told.get("attempt") or 1))
    for before, record in zip([None, *chain], chain, strict=False):
        if before is not None and before.submit != record.submit:
            number = max(number + 1, int(str(record.told.get("attempt") or 1)))
        runs += [replace(run, attempt=number) for run in record.runs]
        steps += [replace(step, attempt=number) for step in record.steps]
    began = next((run.start for run in runs if run.attempt == number), None)
    told = {**last.told, "attempt": number, "start": iso(began)}
    return replace(last, submit=first.submit, told=told, runs=runs, steps=steps, script=last.script or first.script)
