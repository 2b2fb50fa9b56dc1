"""Jobs, nodes and partitions of SLURM's JSON in its newest shape (v0.0.44); older ones are lifted to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from qnib.domains.slurm.jobs import Job, Run, Step
from qnib.domains.slurm.nodes import Node
from qnib.domains.slurm.values import ENDED, fold, iso, word
from qnib.domains.slurm.versions import Record, number
from qnib.model import Scalar

_MIB = 1 << 20



def plain(value: Any) -> int | None:
    """A number of the newest shape, None where it is unset or endless; a bare number is itself."""
    told = number(value)
    return int(told["number"]) if told.get("set") and not told.get("infinite") else None


def _time(value: Any) -> datetime | None:
    seconds = plain(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def base_state(states: Sequence[str]) -> str:
    """The one word squeue would print: what is under way (COMPLETING, RESIZING) says more than what it was."""
    words = [str(one).upper() for one in states]
    base = {"PENDING", "RUNNING", "SUSPENDED"} | ENDED
    return next((one for one in words if one not in base), words[0] if words else "")


def _outcome(told: Any, ended: bool) -> dict[str, int | None]:
    if not ended or not isinstance(told, dict):
        return {"exit_code": None, "signal": None}
    return {
        "exit_code": plain(told.get("return_code")) or 0, "signal": plain((told.get("signal") or {}).get("id")) or 0,
    }


def job(one: Record) -> Job:
    """A job as slurmctld knows it. Raises ValueError for one without id or submit time."""
    id_, submit = plain(one.get("job_id")), _time(one.get("submit_time"))
    if not id_ or submit is None:
        raise ValueError(f"a job without id or submit time: {one.get('job_id')!r} {one.get('submit_time')!r}")
    state, folded = base_state(one.get("job_state") or []), fold(str(one.get("nodes") or ""))
    ended = state in ENDED
    end = _time(one.get("end_time")) if ended else None
    start = _time(one.get("start_time")) if folded and state != "PENDING" else None
    outcome = _outcome(one.get("exit_code"), ended)
    attempt, cpus = (plain(one.get("restart_cnt")) or 0) + 1, plain(one.get("cpus"))
    memory = plain(one.get("memory_per_node")) or plain(one.get("memory_per_cpu"))
    array, het = plain(one.get("array_job_id")), plain(one.get("het_job_id"))
    task = str(one.get("array_task_string") or "") or _digits(one.get("array_task_id")) if array else ""
    limit = plain(one.get("time_limit"))
    told: dict[str, Scalar] = {
        "id": id_, "name": _text(one, "name"), "user": _text(one, "user_name"), "account": _text(one, "account"),
        "partition": _text(one, "partition"), "qos": _text(one, "qos"), "reason": word(_text(one, "state_reason")),
        "start": iso(start), "end": iso(end), "limit": limit * 60 if limit is not None else None, "nodes": folded,
        "node_count": plain(one.get("node_count")) or 0, "cpus": cpus,
        "min_memory": memory * _MIB if memory is not None else None, **outcome, "attempt": attempt,
        "work_dir": _text(one, "current_working_directory"), "command": _text(one, "command"),
        "array_job": array or None, "array_task": task,
        "tres": _text(one, "tres_alloc_str") or _text(one, "tres_req_str"),
    }
    if group := _text(one, "group_name"):
        told["group"] = group
    if het:
        told |= {"het_job": het, "het_offset": plain(one.get("het_job_offset"))}
    if sluid := str((one.get("step_id") or {}).get("sluid") or ""):
        told["sluid"] = sluid
    told_job = Job(str(id_), submit, state, told, end)
    if start is not None:
        share: dict[str, Scalar] = {"cpus": cpus, "memory": told["min_memory"], **outcome}
        told_job.runs.append(Run(attempt, start, end, folded, state, share, dict(_shares(one.get("job_resources")))))
    return told_job


def _shares(resources: Any) -> Iterator[tuple[str, dict[str, Scalar]]]:
    """What the job has of each node: exact, where the older ways tell its sum only."""
    below = resources.get("nodes") if isinstance(resources, dict) else None
    for one in (below.get("allocation") or []) if isinstance(below, dict) else []:
        cpus, memory = (one.get("cpus") or {}).get("count"), (one.get("memory") or {}).get("allocated")
        share = {"cpus": plain(cpus), "memory": memory * _MIB if isinstance(memory, int) else None}
        yield str(one.get("name")), {k: v for k, v in share.items() if v is not None}


def past(one: Record) -> Job:
    """A record of accounting: a job, or one of its attempts or sizes. Raises ValueError as `job` does."""
    id_, times = plain(one.get("job_id")), one.get("time") or {}
    submit = _time(times.get("submission"))
    if not id_ or submit is None:
        raise ValueError(f"a job without id or submit time: {one.get('job_id')!r} {times.get('submission')!r}")
    current = one.get("state") or {}
    state, folded = base_state(current.get("current") or []), fold(word(_text(one, "nodes")))
    end, start = _time(times.get("end")), _time(times.get("start"))
    if start is not None and (not folded or state == "PENDING" or (end is not None and start > end)):
        start = None
    outcome = _outcome(one.get("exit_code"), end is not None)
    attempt = (plain(one.get("restart_cnt")) or 0) + 1
    got = {str(t.get("type")): t.get("count") for t in (one.get("tres") or {}).get("allocated") or []}
    cpus, limit = plain(got.get("cpu")) or plain((one.get("required") or {}).get("CPUs")), plain(times.get("limit"))
    array, het = one.get("array") or {}, one.get("het") or {}
    told: dict[str, Scalar] = {
        "id": id_, "name": _text(one, "name"), "user": _text(one, "user"), "account": _text(one, "account"),
        "group": _text(one, "group"), "partition": _text(one, "partition"), "qos": _text(one, "qos"),
        "reason": word(str(current.get("reason") or "")), "start": iso(start),
        "end": iso(end if state in ENDED else None), "limit": limit * 60 if limit is not None else None,
        "nodes": folded, "node_count": plain(one.get("allocation_nodes")) or 0, "cpus": cpus, **outcome,
        "attempt": attempt, "work_dir": _text(one, "working_directory"),
    }
    if plain(array.get("job_id")):
        told |= {"array_job": plain(array["job_id"]), "array_task": _digits(array.get("task_id"))}
    if plain(het.get("job_id")):
        told |= {"het_job": plain(het["job_id"]), "het_offset": plain(het.get("job_offset"))}
    steps = [_step(step) for step in one.get("steps") or []]
    over = end if state in ENDED else None
    told_job = Job(str(id_), submit, state, told, over, steps=steps, script=_text(one, "script"))
    if start is not None:
        memory = plain(got.get("mem"))
        # Accounting keeps the memory of the whole job; nodes share it evenly as far as it knows.
        each = memory * _MIB // max(1, plain(one.get("allocation_nodes")) or 1) if memory else None
        told_job.runs.append(Run(attempt, start, end, folded, state, {"cpus": cpus, "memory": each, **outcome}))
    return told_job


def _step(one: Record) -> Step:
    times, step = one.get("time") or {}, one.get("step") or {}
    told: dict[str, Scalar] = {
        "name": str(step.get("name") or ""), "state": base_state(one.get("state") or []),
        "nodes": str((one.get("nodes") or {}).get("range") or ""),
        "tasks": plain((one.get("tasks") or {}).get("count")), **_outcome(one.get("exit_code"), True),
    }
    own = step.get("id")
    name = str(own.get("step_id") if isinstance(own, dict) else own or "").rpartition(".")[2]
    return Step(name, _time(times.get("start")), _time(times.get("end")), told)


def node(one: Record) -> Node:
    """A node. Raises ValueError for one without name."""
    name = _text(one, "name")
    if not name:
        raise ValueError(f"a node without name: {str(one)[:200]!r}")
    memory, used = one.get("real_memory"), one.get("alloc_memory")
    told: dict[str, Scalar] = {
        "state": "+".join(str(state).upper() for state in one.get("state") or []), "reason": word(_text(one, "reason")),
        "reason_by": word(_text(one, "reason_set_by_user")), "reason_since": iso(_time(one.get("reason_changed_at"))),
        "cpus": plain(one.get("cpus")), "cpus_allocated": plain(one.get("alloc_cpus")),
        "memory": memory * _MIB if isinstance(memory, int) else None,
        "memory_allocated": used * _MIB if isinstance(used, int) else None, "version": _text(one, "version"),
        "features": ",".join(one.get("features") or []), "gres": word(_text(one, "gres")),
    }
    partitions = [str(partition) for partition in one.get("partitions") or []]
    return Node(name, told, _text(one, "hostname"), _text(one, "address"), partitions)


def groups(one: Record) -> Iterator[Node]:
    """A row of ``sinfo --json`` since 23.02: nodes that are alike. Sizes are told where all of the row have them."""
    states = (one.get("node") or {}).get("state") or []
    names = (one.get("nodes") or {}).get("nodes") or []
    told: dict[str, Scalar] = {
        "state": "+".join(str(s).upper() for s in ([states] if isinstance(states, str) else states)),
        "reason": word(str((one.get("reason") or {}).get("description") or "")),
        "features": str((one.get("features") or {}).get("total") or ""),
        "gres": word(str((one.get("gres") or {}).get("total") or "")),
    }
    for name, key in (("cpus", "cpus"), ("memory", "memory")):
        least, most = ((one.get(key) or {}).get(bound) for bound in ("minimum", "maximum"))
        if isinstance(least, int) and least == most and least > 0:
            told[name] = least * _MIB if name == "memory" else least
    part = str((one.get("partition") or {}).get("name") or "")
    for name in names:
        yield Node(str(name), dict(told), partitions=[part] if part else [])


def partition(one: Record) -> dict[str, Scalar]:
    """A partition's properties. Raises ValueError for one without name."""
    name, below = _text(one, "name"), one.get("nodes") or {}
    if not name:
        raise ValueError(f"a partition without name: {str(one)[:200]!r}")
    limit = plain((one.get("maximums") or {}).get("time"))
    return {
        "name": name, "state": "+".join((one.get("partition") or {}).get("state") or []),
        "limit": limit * 60 if limit is not None else None, "nodes": word(str(below.get("configured") or "")),
        "node_count": plain(below.get("total")),
    }


def _text(one: Record, name: str) -> str:
    value = one.get(name)
    return value if isinstance(value, str) else ""


def _digits(value: Any) -> str:
    told = plain(value)
    return "" if told is None else str(told)


def reservation(one: Record) -> dict[str, Scalar]:
    """A reservation's properties; its fields have the same names in all versions. Raises ValueError without name."""
    name = _text(one, "name")
    if not name:
        raise ValueError(f"a reservation without name: {str(one)[:200]!r}")
    return {
        "name": name, "start": iso(_time(one.get("start_time"))), "end": iso(_time(one.get("end_time"))),
        "nodes": fold(word(_text(one, "node_list"))), "node_count": plain(one.get("node_count")),
        "partition": _text(one, "partition"), "users": _text(one, "users"), "accounts": _text(one, "accounts"),
        "flags": ",".join(one.get("flags") or []),
    }


def qos(one: Record) -> dict[str, Scalar]:
    """A quality of service's properties. Raises ValueError without name."""
    name = _text(one, "name")
    if not name:
        raise ValueError(f"a QOS without name: {str(one)[:200]!r}")
    return {"name": name, "description": _text(one, "description"), "priority": plain(one.get("priority"))}
