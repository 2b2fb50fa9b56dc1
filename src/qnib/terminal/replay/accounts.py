"""SLURM's own accounting as a trace: what ``sacct -P`` printed, and the files that other tools keep of it."""

from __future__ import annotations

from datetime import timedelta

from qnib.domains.slurm import sacct
from qnib.domains.slurm.jobs import Job
from qnib.terminal.replay.traced import Trace, Traced

_LIKE = {
    "COMPLETED": "COMPLETED", "FAILED": "FAILED", "CANCELLED": "CANCELLED", "TIMEOUT": "TIMEOUT",
    "OUT_OF_MEMORY": "OUT_OF_MEMORY", "NODE_FAIL": "FAILED", "BOOT_FAIL": "FAILED", "LAUNCH_FAILED": "FAILED",
    "DEADLINE": "CANCELLED", "PREEMPTED": "CANCELLED", "REVOKED": "CANCELLED",
}
"""What a state is replayed as: no node is made to die for a trace."""


def parse(text: str) -> Trace:
    """Raises ValueError only where the file is none of sacct's at all; a bad line is told with its number."""
    trace = Trace("sacct")
    bad: list[tuple[int, str]] = []
    jobs = sacct.jobs_of(text, bad)
    trace.bad = bad
    known = [job.submit for job in jobs if job.submit]
    if not known:
        return trace
    trace.began = min(known)
    for job in jobs:
        _take(trace, job)
    return trace.measured()


def _take(trace: Trace, job: Job) -> None:
    told = job.told
    if job.submit is None or trace.began is None:
        trace.skipped["without a time of submission"] += 1
        return
    if job.state not in _LIKE or job.end is None:
        trace.skipped["had not ended"] += 1
        return
    if _LIKE[job.state] != job.state:
        trace.noted[f"{job.state} is replayed as {_LIKE[job.state]}"] += 1
    last = [run for run in job.runs if run.attempt == job.runs[-1].attempt]
    if len(job.runs) > len(last):
        trace.noted["was requeued: its last attempt is replayed"] += 1
    if not last and _LIKE[job.state] not in ("CANCELLED", "TIMEOUT"):
        trace.skipped["without a time it ran"] += 1
        return
    run = sum(((part.end or job.end) - part.start for part in last), timedelta()).total_seconds()
    began = last[0].start if last else job.end
    nodes = int(str(told.get("node_count") or 1))
    trace.jobs.append(Traced(
        number=job.number, submit=(job.submit - trace.began).total_seconds(), run=max(0.0, run) if last else None,
        waited=max(0.0, (began - job.submit).total_seconds()), processors=max(1, int(str(told.get("cpus") or nodes))),
        nodes=max(1, nodes), user=str(told.get("user") or "unknown"),
        group=str(told.get("group") or told.get("account") or "unknown"),
        outcome=_LIKE[job.state] if last else "CANCELLED",
        exit_code=int(str(told.get("exit_code") or 0)),
    ))
