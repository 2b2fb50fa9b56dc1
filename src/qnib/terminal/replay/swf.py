"""The Standard Workload Format of the Parallel Workloads Archive: eighteen numbers a line, a header of comments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from qnib.terminal.replay.traced import Trace, Traced

FIELDS = 18
_HEAD = re.compile(r";\s*(\w+):\s*(\S.*?)\s*$")
_OUTCOME = {0: "FAILED", 1: "COMPLETED", 5: "CANCELLED", -1: "COMPLETED"}
_PARTS = (2, 3, 4)
"""Statuses of lines that tell of a part of a job that was swapped out or checkpointed; its whole has a line, too."""


def parse(text: str) -> Trace:
    """Never raises: a line that is none of the format is told with its number."""
    trace = Trace("SWF")
    began: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(";"):
            if found := _HEAD.match(line.strip()):
                name, value = found.groups()
                if name in ("MaxProcs", "MaxNodes", "UnixStartTime") and value.split()[0].isdigit():
                    amount = int(value.split()[0])
                    trace.processors = amount if name == "MaxProcs" else trace.processors
                    trace.nodes = amount if name == "MaxNodes" else trace.nodes
                    began = amount if name == "UnixStartTime" else began
        elif line.strip():
            try:
                _take(trace, line)
            except ValueError as error:
                trace.bad.append((number, str(error)))
    trace.processors = max(trace.processors, trace.nodes)
    first = min((job.submit for job in trace.jobs), default=0.0)
    if began is not None:
        trace.began = datetime.fromtimestamp(began, UTC) + timedelta(seconds=first)
    return trace.measured()


def _take(trace: Trace, line: str) -> None:
    words = line.split()
    if len(words) != FIELDS:
        raise ValueError(f"{len(words)} fields where {FIELDS} are due: {line.strip()[:80]!r}")
    try:
        told = [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"not a number: {line.strip()[:80]!r}") from error
    job, submit, wait, run, got = told[:5]
    asked, status, user, group, before, think = told[7], int(told[10]), told[11], told[12], told[16], told[17]
    if submit < 0:
        raise ValueError("a job without a time of submission")
    if status in _PARTS:
        trace.skipped["a part of a job that has a line of its own"] += 1
        return
    if status not in _OUTCOME:
        raise ValueError(f"no status of the format: {status}")
    processors = int(got if got > 0 else asked)
    if processors < 1:
        trace.skipped["without a number of processors"] += 1
        return
    if run < 0 and status != 5:
        trace.skipped["without a time it ran"] += 1
        return
    if status == -1:
        trace.noted["no outcome is told: taken as completed"] += 1
    nodes = -(-processors * trace.nodes // trace.processors) if trace.nodes and trace.processors else 0
    trace.jobs.append(Traced(
        number=str(int(job)), submit=submit, run=run if run > 0 or status != 5 else None, waited=max(0.0, wait),
        processors=processors, nodes=nodes, user=f"user{int(user)}" if user >= 0 else "unknown",
        group=f"group{int(group)}" if group >= 0 else "unknown", outcome=_OUTCOME[status],
        exit_code=1 if status == 0 else 0, after=str(int(before)) if before > 0 else "", think=max(0.0, think),
    ))
