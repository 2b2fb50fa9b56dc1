"""Jobs as slurmctld's log alone tells them: submitted, started, ended, how. For a cluster nobody asks, or a log of old.

The events of one number are read in order; a submission after an end is another job of the same number, a start after
a requeue another attempt. What the log does not say stays unknown: a job that was there before it, or is there still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from qnib.engine import Engine
from qnib.errors import TooMuch
from qnib.monitoring.events import iso

MOST = 100_000
"""Most events read at once."""
_ORDER = (
    "job_submitted", "job_waits_interactively", "job_allocated", "job_allocated_by_backfill",
    "job_allocated_interactively", "job_exited_well", "job_exited_badly", "job_killed_by_signal", "job_out_of_memory",
    "job_timed_out", "job_inactive", "job_killed_with_its_node", "job_lost_by_node", "job_cancelled",
    "job_left_by_user", "job_ended", "allocation_ended", "job_lost_its_node", "job_requeued",
)  # fmt: skip
"""The rules it takes, and how lines of the same millisecond follow one another: the last word says what happened."""
_OUTCOMES = {
    "job_exited_badly": "FAILED", "job_killed_by_signal": "FAILED", "job_out_of_memory": "OUT_OF_MEMORY",
    "job_timed_out": "TIMEOUT", "job_inactive": "TIMEOUT",
    "job_cancelled": "CANCELLED", "job_left_by_user": "CANCELLED",
    "job_killed_with_its_node": "NODE_FAIL", "job_lost_by_node": "NODE_FAIL",
}  # fmt: skip
_ENDS = {"job_ended", "allocation_ended"}


def lives(engine: Engine, cluster: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """``{job, state, submit, start, end, nodes, partition, cpus, exit_code, signal, attempts}``, by submission.

    Times are ISO 8601 or None. `state` as SLURM names it; RUNNING and PENDING: the log ends before the job.
    Raises TooMuch for more than `MOST` events.
    """
    rows = engine.rows(
        "SELECT toUInt64(fields['job']) AS job, time, rules, CAST(fields, 'Map(String, String)') AS fields"
        " FROM qnib.events WHERE cluster = {cluster:String} AND time >= {start:DateTime64(6, 'UTC')}"
        " AND time < {end:DateTime64(6, 'UTC')} AND app = 'slurmctld' AND hasAny(rules, {rules:Array(String)})"
        " AND match(fields['job'], '^[0-9]+$')"
        " ORDER BY job, time, arrayMin(arrayMap(rule -> indexOf({rules:Array(String)}, rule),"
        " arrayIntersect(rules, {rules:Array(String)}))), id LIMIT {most:UInt32}",
        {"cluster": cluster, "start": start, "end": end, "rules": list(_ORDER), "most": MOST + 1},
    )
    if len(rows) > MOST:
        where = f"cluster {cluster}"
        raise TooMuch(f"More than {MOST} events of jobs.", where=where, try_next="take a shorter window.")
    found = [life for job in _by_job(rows) for life in _lives(job)]
    return sorted(found, key=lambda life: (life["submit"] or life["start"] or life["end"], life["job"]))


def _by_job(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    some: list[Mapping[str, Any]] = []
    for row in rows:
        if some and some[-1]["job"] != row["job"]:
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def _lives(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    life: dict[str, Any] | None = None
    for row in rows:
        names, fields, at = set(row["rules"]), row["fields"], iso(row["time"])
        submitted = names & {"job_submitted", "job_waits_interactively"}
        if life is None or (submitted and (life["end"] or life["submit"])):
            if life is not None:
                yield life
            life = {
                "job": row["job"], "state": "UNKNOWN", "submit": None, "start": None, "end": None, "nodes": "",
                "partition": "", "cpus": None, "exit_code": None, "signal": None, "attempts": 0,
            }  # fmt: skip
        _apply(life, names, fields, at)
    if life is not None:
        yield life


def _apply(life: dict[str, Any], names: set[str], fields: Mapping[str, str], at: str) -> None:
    outcome = next((_OUTCOMES[name] for name in _OUTCOMES if name in names), "")
    if names & {"job_submitted", "job_waits_interactively"}:
        life |= {"submit": at, "state": "PENDING"}
    elif names & {"job_allocated", "job_allocated_by_backfill", "job_allocated_interactively"}:
        if "job_allocated_interactively" in names and life["submit"] is None:
            life["submit"] = at  # granted as it was asked for
        life |= {"start": at, "end": None, "state": "RUNNING", "attempts": life["attempts"] + 1}
        life |= {"nodes": fields.get("nodes", ""), "partition": fields.get("partition") or life["partition"]}
        life["cpus"] = int(fields["cpus"]) if fields.get("cpus") else life["cpus"]
    elif names & {"job_requeued", "job_lost_its_node"}:
        life |= {"start": None, "end": None, "state": "PENDING", "exit_code": None, "signal": None}
    elif outcome:
        life |= {"end": at, "state": outcome}
        life["exit_code"] = int(fields["exit_code"]) if fields.get("exit_code") else life["exit_code"]
        life["signal"] = int(fields["signal"]) if fields.get("signal") else life["signal"]
    elif "job_exited_well" in names:
        life |= {"end": at, "state": "COMPLETED", "exit_code": 0}
    elif names & _ENDS:
        ended = life["state"] not in {"UNKNOWN", "PENDING", "RUNNING"}
        life |= {"end": life["end"] if ended else at, "state": life["state"] if ended else "COMPLETED"}
