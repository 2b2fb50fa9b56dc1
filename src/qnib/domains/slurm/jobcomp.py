"""Finished jobs as SLURM's ``jobcomp/elasticsearch`` pushes them: one JSON document for each.

Written from the documents' fields: times are UTC without saying so, spans are in seconds, ``exit_code`` is
``code:signal``. A resize makes a document of its own with the state RESIZING, from the last size to this one.
Several documents may follow each other, one a line, also with the action lines of a bulk request between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from qnib.domains.slurm import jobs
from qnib.domains.slurm.jobs import Job, Run
from qnib.domains.slurm.sacct import gather
from qnib.domains.slurm.values import ENDED, code, fold, iso, moment, octets, state, tres, word
from qnib.model import Scalar, Snapshot

_NO_VALUE = 0xFFFFFFFE


def parse_jobcomp(text: str, at: datetime) -> Snapshot:
    """The jobs of the documents in `text`. Raises ValueError with the document that is none of a job."""
    return jobs.snapshot(gather([_job(one) for one in documents(text)]))


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Each JSON object in `text` except the action lines of a bulk request."""
    reader = json.JSONDecoder()
    place = 0
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        try:
            told, place = reader.raw_decode(text, place)
        except ValueError as error:
            raise ValueError(f"not a whole JSON document at octet {place}: {rest[:100]!r}") from error
        if not isinstance(told, dict):
            raise ValueError(f"not a document of a job: {str(told)[:100]!r}")
        if len(told) == 1 and next(iter(told)) in ("index", "create"):
            continue
        yield told.get("_source", told)


def _job(one: dict[str, Any]) -> Job:
    number, submit = one.get("jobid"), moment(str(one.get("@submit") or ""))
    if not isinstance(number, int) or submit is None:
        raise ValueError(f"a job without jobid or @submit: {json.dumps(one)[:200]}")
    now = state(str(one.get("state") or ""))
    if now not in ENDED | {"RESIZING", "REQUEUED"}:
        raise ValueError(f"job {number} is {now or 'without state'}: only finished jobs are pushed")
    start, end = moment(str(one.get("@start") or "")), moment(str(one.get("@end") or ""))
    nodes = fold(word(str(one.get("nodes") or "")))
    if not nodes or (start and end and start > end):
        start = None  # cancelled before it ran
    outcome = code(str(one.get("exit_code") or ""))
    cpus, limit = _whole(one.get("total_cpus")), one.get("time_limit")
    told: dict[str, Scalar] = {
        "id": number, "name": str(one.get("job_name") or ""), "user": str(one.get("username") or ""),
        "group": str(one.get("groupname") or ""), "account": str(one.get("account") or ""),
        "partition": str(one.get("partition") or ""), "qos": str(one.get("qos") or ""), "start": iso(start),
        "end": iso(end) if now in ENDED else None, "limit": _whole(limit), "nodes": nodes,
        "node_count": _whole(one.get("total_nodes")) or 0,
        "cpus": cpus, **outcome, "work_dir": str(one.get("work_dir") or ""), "tres": str(one.get("tres_alloc") or ""),
    }
    if (array := _whole(one.get("array_job_id"))) is not None:
        told |= {"array_job": array, "array_task": str(one.get("array_task_id", ""))}
    if het := _whole(one.get("het_job_id", one.get("pack_job_id"))):
        told |= {"het_job": het, "het_offset": _whole(one.get("het_job_offset", one.get("pack_job_offset")))}
    job = Job(str(number), submit, now, told, end if now in ENDED else None, script=str(one.get("script") or ""))
    if start is not None:
        memory, count = octets(tres(str(told["tres"])).get("mem", "")), _whole(one.get("total_nodes")) or 1
        share: dict[str, Scalar] = {"cpus": cpus, "memory": memory // max(1, count) if memory else None, **outcome}
        job.runs.append(Run(1, start, end, nodes, now, share))
    return job


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value < _NO_VALUE else None
