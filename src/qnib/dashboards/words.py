"""SLURM's words put into the four states people look for, and into sentences."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

Status = Literal["fine", "warn", "critical", "unknown"]

RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED", "RESIZING"}
)
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
BAD = frozenset({"FAILED", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "TIMEOUT", "DEADLINE", "LAUNCH_FAILED"})

Group = Literal["running", "pending", "finished"]


def group_of(state: str) -> Group:
    """Where a job stands for people: running, waiting or over."""
    if state in RUNNING:
        return "running"
    return "pending" if state in WAITING else "finished"


def job_status(state: str) -> Status:
    if state in BAD:
        return "critical"
    if state in {"CANCELLED", "PREEMPTED", "SUSPENDED", "STOPPED"}:
        return "warn"
    return "unknown" if not state else "fine"


def node_status(state: str) -> Status:
    """Of a node's state as SLURM writes it, flags and all: ``IDLE+DRAIN``, ``DOWN*``."""
    words = set(state.upper().replace("*", "").replace("+", " ").split())
    if words & {"DOWN", "FAIL", "ERROR", "NOT_RESPONDING"} or state.endswith("*"):
        return "critical"
    if words & {"DRAIN", "DRAINING", "DRAINED", "MAINT", "REBOOT", "FAILING"}:
        return "warn"
    return "fine" if words & {"IDLE", "ALLOCATED", "MIXED", "COMPLETING", "PLANNED"} else "unknown"


WAITING_FOR = {
    "Resources": "waits for enough free CPUs, memory or nodes",
    "Priority": "waits behind jobs with a higher priority",
    "Dependency": "waits for another job to end",
    "BeginTime": "waits for the start time that was asked for",
    "QOSMaxJobsPerUserLimit": "waits because its user runs as many jobs as allowed",
    "PartitionNodeLimit": "asks for more nodes than its partition has",
    "ReqNodeNotAvail": "asks for a node that is not available",
    "JobHeldUser": "is held by its user",
    "JobHeldAdmin": "is held by the operator",
}


ENDINGS = {
    "OUT_OF_MEMORY": "It used more memory than it had asked for and was killed.",
    "TIMEOUT": "It reached its time limit and was ended.",
    "CANCELLED": "It was cancelled.",
    "NODE_FAIL": "A node of it went down.",
    "PREEMPTED": "It was ended to make room for a job with a higher priority.",
}


def verdict(
    state: str, reason: str, exit_code: int | None, signal: int | None, elapsed: float, limit: float | None
) -> str:
    """One sentence on how a job stands or ended. `elapsed` and `limit` in seconds."""
    if state == "PENDING":
        return f"It {WAITING_FOR.get(reason, f'waits ({reason})' if reason else 'waits; SLURM gives no reason')}."
    if state in RUNNING:
        late = limit and elapsed > 0.9 * limit
        return "It runs and has used more than nine tenths of its time limit." if late else "It runs."
    if state == "COMPLETED":
        used = f" It used {elapsed / limit:.0%} of the time it asked for." if limit else ""
        return f"It ended well.{used}"
    if state == "FAILED":
        return f"It was ended by signal {signal}." if signal else f"It ended with exit code {exit_code}."
    return ENDINGS.get(state, f"Its state is {state or 'unknown'}.")


def seconds_between(start: datetime | None, end: datetime | None) -> float:
    return max(0.0, (end - start).total_seconds()) if start and end else 0.0
