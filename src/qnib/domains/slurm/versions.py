"""SLURM's JSON, lifted from the shape of one version to that of the next, up to the newest.

A shape is named by its data parser: v0.0.37 came with SLURM 21.08, v0.0.44 with 25.11. `lift` walks one record
through the steps below; a step knows two neighbours and nothing else, and states what changed between them for what
we read. The parser in `rest.py` then knows the newest shape only. What each version says is in the README's table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qnib.domains.slurm.values import in_order

Record = dict[str, Any]
Step = Callable[[str, Record], Record]
"""From the kind ("job", "past", "node", "partition") and a record to the record in the next version's shape."""

OLDEST, NEWEST = 37, 44
RELEASES = {
    "21.08": 37, "22.05": 38, "23.02": 39, "23.11": 40, "24.05": 41, "24.11": 42, "25.05": 43, "25.11": 44,
}
"""The newest parser each release brought, for answers that do not name theirs."""

_NO_VALUE, _INFINITE = 0xFFFFFFFE, 0xFFFFFFFF
_NO_VALUE_64, _INFINITE_64 = 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF

JOB_NUMBERS = (
    "array_job_id", "array_task_id", "cpus", "end_time", "het_job_id", "het_job_offset", "memory_per_cpu",
    "memory_per_node", "node_count", "resize_time", "start_time", "submit_time", "time_limit",
)
"""What we read of a job that was a plain number until v0.0.38."""


def lift(kind: str, record: Record, version: int) -> Record:
    """`record` of `version` in the newest shape; it is not changed itself.

    >>> lift("job", {"job_state": "RUNNING", "cpus": 4}, 38)["cpus"]
    {'set': True, 'infinite': False, 'number': 4}
    """
    record = dict(record)
    for step in range(version, NEWEST):
        record = STEPS[step](kind, record)
    return record


def number(value: object) -> Record:
    """A number as v0.0.39 and later write it.

    >>> number(None)["set"], number(0xFFFFFFFF)["infinite"], number("UNLIMITED")["infinite"], number("5")["number"]
    (False, True, True, 5)
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        if value.upper() in ("UNLIMITED", "INFINITE"):
            return {"set": False, "infinite": True, "number": 0}
        value = int(value) if value.lstrip("-").isdigit() else None
    if value is None or isinstance(value, bool) or value in (_NO_VALUE, _NO_VALUE_64, -2):
        return {"set": False, "infinite": False, "number": 0}
    if value in (_INFINITE, _INFINITE_64, -1):
        return {"set": False, "infinite": True, "number": 0}
    return {"set": True, "infinite": False, "number": value}


def listed(value: object) -> list[str]:
    """A list of words from what used to be one text with commas; a list stays one."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return [one for one in str(value or "").split(",") if one]


def v37_to_v38(kind: str, record: Record) -> Record:
    """Nothing we read changed its name: 22.05 states as integers what 21.08's specification calls strings, and both
    send integers or null."""
    return record


def v38_to_v39(kind: str, record: Record) -> Record:
    """23.02 generates its answers: numbers that may be unset or endless become objects, nodes and partitions get new
    names, a node's state and its flags become one list."""
    if kind == "job":
        record.update({name: number(record[name]) for name in JOB_NUMBERS if name in record})
        record["exit_code"] = number(record.get("exit_code"))
        record["job_resources"] = _nodes_listed(record)
    elif kind == "node":
        flags = listed(record.pop("state_flags", []))
        record["state"] = [*(one.upper() for one in listed(record.get("state"))), *flags]
        record["version"] = record.pop("slurmd_version", record.get("version", ""))
        record["free_mem"] = number(record.pop("free_memory", None))
        record["reason_changed_at"] = number(record.get("reason_changed_at"))
        record["features"] = listed(record.get("features"))
    elif kind == "partition":
        record = {
            "name": record.get("name"),
            "nodes": {"configured": record.get("nodes"), "total": record.get("total_nodes")},
            "cpus": {"total": record.get("total_cpus")}, "maximums": {"time": number(record.get("max_time_limit"))},
            "partition": {"state": record.get("state")},
        }
    elif kind == "past":
        record["time"] = {**record.get("time", {}), "limit": number(record.get("time", {}).get("limit"))}
    return record


def v39_to_v40(kind: str, record: Record) -> Record:
    """23.11: states become lists, an exit code becomes an object with its parts."""
    if kind == "job":
        record["job_state"] = listed(record.get("job_state"))
        record["exit_code"] = exit_code(record.get("exit_code"))
    elif kind == "partition":
        state = record.get("partition", {}).get("state")
        record["partition"] = {**record.get("partition", {}), "state": listed(state)}
    elif kind == "past":
        record["state"] = {**record.get("state", {}), "current": listed(record.get("state", {}).get("current"))}
        record["exit_code"] = exit_code(record.get("exit_code"))
        record["steps"] = [_past_step(step) for step in record.get("steps") or []]
    return record


def v40_to_v41(kind: str, record: Record) -> Record:
    """24.05: the nodes of an allocation move below ``nodes.allocation`` and take the words used elsewhere."""
    told = record.get("job_resources")
    if kind == "job" and isinstance(told, dict) and "allocated_nodes" in told:
        allocation = [
            {
                "name": one.get("nodename"),
                "cpus": {"count": one.get("cpus_allocated"), "used": one.get("cpus_used")},
                "memory": {"allocated": one.get("memory_allocated"), "used": one.get("memory_used")},
                "sockets": [
                    {"index": int(index), "cores": [
                        {"index": int(core), "status": [str(status).upper()]}
                        for core, status in (socket.get("cores") or {}).items()
                    ]}
                    for index, socket in (one.get("sockets") or {}).items() if isinstance(socket, dict)
                ],
            }
            for one in told.get("allocated_nodes") or []
        ]
        record["job_resources"] = {"nodes": {"list": told.get("nodes"), "allocation": allocation}}
    return record


def v41_to_v42(kind: str, record: Record) -> Record:
    """24.11 renames what a job asked of switches (``minimum_switches``) and tells restarts of past jobs; of what we
    read nothing moves."""
    if kind == "job" and "minimum_switches" in record:
        record["required_switches"] = record.pop("minimum_switches")
    return record


def v42_to_v43(kind: str, record: Record) -> Record:
    """25.05 adds fields (a node's topology, expanded file names) and moves none."""
    return record


def v43_to_v44(kind: str, record: Record) -> Record:
    """25.11 adds the job's SLUID in ``step_id`` and moves nothing."""
    return record


STEPS: Mapping[int, Step] = {
    37: v37_to_v38, 38: v38_to_v39, 39: v39_to_v40, 40: v40_to_v41, 41: v41_to_v42, 42: v42_to_v43, 43: v43_to_v44,
}


def exit_code(value: object) -> Record:
    """An exit code of any version as its parts: the status wait(2) gives, or SLURM's own object of v0.0.39.

    >>> exit_code(256)["return_code"]["number"], exit_code(9)["signal"]["id"]["number"]
    (1, 9)
    """
    if isinstance(value, dict) and "status" in value:
        signal = value.get("signal") or {}
        return {
            "status": listed(value["status"]), "return_code": number(value.get("return_code")),
            "signal": {"id": number(signal.get("id", signal.get("signal_id"))), "name": signal.get("name", "")},
        }
    told = number(value)
    if not told["set"]:
        return {"status": ["PENDING"], "return_code": number(None), "signal": {"id": number(None), "name": ""}}
    status = int(told["number"])
    if killed := status & 0x7F:
        return {"status": ["SIGNALED"], "return_code": number(None), "signal": {"id": number(killed), "name": ""}}
    left = status >> 8 & 0xFF
    return {
        "status": ["ERROR" if left else "SUCCESS"], "return_code": number(left),
        "signal": {"id": number(None), "name": ""},
    }


def _past_step(step: Record) -> Record:
    times = step.get("time") or {}
    return {
        **step, "state": listed(step.get("state")), "exit_code": exit_code(step.get("exit_code")),
        "time": {**times, "start": number(times.get("start")), "end": number(times.get("end"))},
    }


def _nodes_listed(record: Record) -> object:
    """Until v0.0.38 the nodes of an allocation are an object by index, without names: they are in the order of the
    folded set beside them. They count CPUs, which v0.0.39 and v0.0.40 do not: that is carried along for v0.0.41."""
    told = record.get("job_resources")
    by_index = told.get("allocated_nodes") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(by_index, dict):
        return told
    names = in_order(str(told.get("nodes") or ""))
    found = [
        {"nodename": names[int(index)], "cpus_allocated": one.get("cpus"), "memory_allocated": one.get("memory")}
        for index, one in by_index.items() if str(index).isdigit() and int(index) < len(names)
    ]
    return {**told, "allocated_nodes": found}
