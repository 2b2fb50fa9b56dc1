"""Jobs rebuilt from slurmctld's log alone, against a reading of the raw file that knows nothing of rules."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qnib.monitoring.lives import lives

from .conftest import NOW, Plant
from .test_rules_on_logs import shipped, slurmctld

pytestmark = pytest.mark.engine
_JOB = re.compile(r"JobId=(\d+)")
END = datetime(2022, 7, 1, tzinfo=UTC)


def read_by_hand(lines: list[str]) -> dict[int, dict[str, Any]]:
    """Submit, last start, end and state per job number: plain string tests, line by line."""
    jobs: dict[int, dict[str, Any]] = {}
    for line in lines:
        at, text = line[1:24], line[26:]
        found = _JOB.search(text)
        if not found:
            continue
        job = jobs.setdefault(int(found[1]), {"submit": None, "start": None, "end": None, "state": None})
        if text.startswith("_slurm_rpc_submit_batch_job: JobId="):
            job |= {"submit": at, "state": "PENDING"}
        elif "_slurm_rpc_allocate_resources JobId=" in text:
            job["submit"] = job["submit"] or at
            job |= {"state": "PENDING"} if "(null)" in text else {"start": at, "state": "RUNNING"}
        elif "sched: Allocate JobId=" in text or "_start_job: Started JobId=" in text:
            job |= {"start": at, "end": None, "state": "RUNNING"}
        elif "Requeuing JobId=" in text or "requeue job JobId=" in text:
            job |= {"start": None, "end": None, "state": "PENDING"}
        elif "REQUEST_KILL_JOB JobId=" in text or text.endswith("cancelled by interactive user"):
            job |= {"end": at, "state": "CANCELLED"}
        elif "Time limit exhausted" in text or "inactivity time limit" in text:
            job |= {"end": at, "state": "TIMEOUT"}
        elif "OOM failure" in text:
            job |= {"end": at, "state": "OUT_OF_MEMORY"}
        elif "WTERMSIG" in text:
            job |= {"end": at, "state": "FAILED"}
        elif "WEXITSTATUS" in text:
            job |= {"end": at, "state": "COMPLETED" if text.endswith("WEXITSTATUS 0") else "FAILED"}
        elif job["state"] in (None, "PENDING", "RUNNING") and (
            text.startswith("_job_complete:") or "error Job/step already completing" in text
        ):
            job |= {"end": at, "state": "COMPLETED"}
    return {number: job for number, job in jobs.items() if job["state"]}


def test_a_month_of_jobs(plant: Plant) -> None:
    lines = slurmctld(plant)
    by_hand = read_by_hand(lines)
    rebuilt = lives(plant.engine, "demo", END - timedelta(days=31), END)
    assert len({life["job"] for life in rebuilt}) == len(rebuilt), "no number was used twice in that month"
    wrong = {}
    for life in rebuilt:
        told = {name: life[name] and life[name][:23].rstrip("Z") for name in ("submit", "start", "end")}
        told["state"] = life["state"]
        meant = {name: value and value.rstrip("0").rstrip(".") for name, value in by_hand[life["job"]].items()}
        told = {name: value and value.rstrip("0").rstrip(".") for name, value in told.items()}
        if told != meant:
            wrong[life["job"]] = (told, meant)
    assert not wrong, (len(wrong), list(wrong.items())[:3])
    assert {life["job"] for life in rebuilt} == set(by_hand)
    states = Counter(life["state"] for life in rebuilt)
    print(states)
    assert states.total() == len(by_hand) and states["COMPLETED"] > 1000
    ended = [life for life in rebuilt if life["start"] and life["end"]]
    assert all(life["start"] <= life["end"] for life in ended)
    assert {"cpu-epyc", "gpu-titan"} <= {life["partition"] for life in rebuilt}


def test_a_requeued_job_and_a_number_used_again(plant: Plant) -> None:
    shipped(plant)
    said = [
        "_slurm_rpc_submit_batch_job: JobId=7 InitPrio=1 usec=376",
        "sched: Allocate JobId=7 NodeList=compute0 #CPUs=4 Partition=all",
        "requeue job JobId=7 due to failure of node compute0",
        "sched: Allocate JobId=7 NodeList=compute1 #CPUs=4 Partition=all",
        "_job_complete: JobId=7 WEXITSTATUS 3",
        "_job_complete: JobId=7 done",
        "_slurm_rpc_submit_batch_job: JobId=7 InitPrio=1 usec=376",
    ]
    plant.syslog(*(f"<30>1 2026-11-20T11:00:0{n}Z ctl slurmctld - - - {text}" for n, text in enumerate(said)))
    found = lives(plant.engine, "demo", NOW - timedelta(days=1), NOW)
    assert [(f["state"], f["nodes"], f["attempts"], f["exit_code"], f["start"], f["end"]) for f in found] == [
        ("FAILED", "compute1", 2, 3, "2026-11-20T11:00:03Z", "2026-11-20T11:00:04Z"),
        ("PENDING", "", 0, None, None, None),
    ]
