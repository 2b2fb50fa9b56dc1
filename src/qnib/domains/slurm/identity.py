"""What one look at the queue cannot know: that a requeued job is the same job, how a forgotten one ended, since when
a resized one has a node, and which job another source means.

SLURM gives a requeued job a new submit time, and we key jobs by that. A job it forgot before we saw its end
(a controller without state, a very short MinJobAge) has ended all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from qnib.model import Entity, Known, Ref, Relation, Scalar, Snapshot

LATELY = timedelta(days=1)
"""So long after its end a job may be told to run by an answer that comes too late."""


def settle(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen`, a list of all jobs, with every requeued job under the key of its first submission; pure.

    A job whose first run we never saw keeps the key it has: there is nothing to join it to.
    """
    seen = _not_again(_same_jobs(seen, known), known, at)
    return _ended(_resized(seen, known), known, at)


def join(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen`, some jobs of another source than the queue, under the keys the record knows them by; pure.

    The same job is: the same number and submit time; else the same SLUID; else the same number with a run that began
    at the same second; else, where the source tells no submit time, the open job of that number, or its last.
    """
    jobs = [entity for entity in seen.entities if entity.kind == "Job"]
    record = known.entities("Job")
    keys = {entity.key for entity in record}
    strange = [job for job in jobs if job.key not in keys]
    if not strange or not keys:
        return seen
    by_number: dict[str, list[Entity]] = {}
    by_sluid = {str(job.properties["sluid"]): job.key for job in record if job.properties.get("sluid")}
    for job in sorted(record, key=lambda job: (job.until is None, _submit(job.key))):
        by_number.setdefault(job.key.partition("@")[0], []).append(job)
        if array := job.properties.get("array_job"):
            by_number.setdefault(f"{array}_{job.properties.get('array_task')}", []).append(job)
    runs = {(run.key.partition("@")[0], run.properties.get("start")): run.key for run in known.entities("Attempt")}
    new: dict[str, str] = {}
    for job in strange:
        number = job.key.partition("@")[0]
        same = by_number.get(number, [])
        if (sluid := str(job.properties.get("sluid") or "")) in by_sluid:
            new[job.key] = by_sluid[sluid]
        elif _submit(job.key) == 0 and same:
            new[job.key] = same[-1].key
    for run in (entity for entity in seen.entities if entity.kind == "Attempt"):
        other = runs.get((run.key.partition("@")[0], run.properties.get("start")))
        job_key = run.key.partition("#")[0]
        if other and job_key not in keys:
            new.setdefault(job_key, other.partition("#")[0])
            new[run.key] = other
    submits = {job.key: job.properties.get("submit") for job in record}
    return _renamed(seen, new, submits)


def _resized(seen: Snapshot, known: Known) -> Snapshot:
    """A node that a running attempt did not have before has joined it now, not when the attempt began."""
    before = {run.key: run for run in known.open("Attempt")}
    grown = {
        run.key for run in seen.entities
        if run.kind == "Attempt" and run.until is None and run.key in before
        and before[run.key].properties.get("nodes") != run.properties.get("nodes")
    }
    if not grown:
        return seen
    had = {(tie.source, tie.target) for tie in known.ties("JOBCLIENT") if tie.until is None}

    def tie(old: Relation) -> Relation:
        run = f"{old.source.key}#{old.properties.get('attempt')}"
        new = old.kind == "JOBCLIENT" and run in grown and (old.source, old.target) not in had
        return replace(old, since=None) if new else old

    return replace(seen, relations=[tie(old) for old in seen.relations])


def _ended(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` with an end for every job, attempt and allocation that is open in the record and not told any more."""
    told = {(entity.kind, entity.key) for entity in seen.entities}
    entities, relations = list(seen.entities), list(seen.relations)
    gone = False
    for kind in ("Job", "Attempt"):
        for entity in known.open(kind):
            if (kind, entity.key) not in told:
                gone = True
                lost = {"state": "UNKNOWN", "end": at.isoformat().replace("+00:00", "Z")}
                entities.append(replace(entity, properties={**entity.properties, **lost}, since=None, until=at))
    # Who submitted it, and what it is charged to, ends with a job only.
    for kind in ("JOBCLIENT", "ATTEMPT_OF", "QUEUED_IN", *(("SUBMITTED", "CHARGED_TO") if gone else ())):
        ties = {(tie.source.key, tie.target.key) for tie in seen.relations if tie.kind == kind}
        for tie in known.ties(kind):
            if tie.until is None and (tie.source.key, tie.target.key) not in ties:
                relations.append(replace(tie, since=None, until=at))
    return replace(seen, entities=entities, relations=relations)


def _not_again(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` without jobs whose end is known: the answer was under way, or the nodes being cleaned, when SLURM pushed
    it. A run that is over does not go on; one that begins after a requeue is another."""
    held = {job.key for job in known.open("Job")}
    told = [job for job in seen.entities if job.kind == "Job" and job.until is None and job.key not in held]
    if not told:
        return seen
    over = {job.key: job for job in known.ended("Job", at - LATELY)}
    stale = {job.key for job in told if (last := over.get(job.key)) is not None and _same_run(job, last, at)}
    if not stale:
        return seen

    def is_stale(ref: Ref) -> bool:
        return ref.kind in ("Job", "Attempt", "Step") and ref.key.partition("#")[0] in stale

    return replace(
        seen, entities=[one for one in seen.entities if not is_stale(one.ref)],
        relations=[tie for tie in seen.relations if not is_stale(tie.source) and not is_stale(tie.target)],
    )  # fmt: skip


def _same_run(job: Entity, last: Entity, at: datetime) -> bool:
    if _attempt(job) > _attempt(last):
        return False
    start = job.properties.get("start")
    return start == last.properties.get("start") if start else last.until is not None and at <= last.until


def _same_jobs(seen: Snapshot, known: Known) -> Snapshot:
    again = [e for e in seen.entities if e.kind == "Job" and _attempt(e) > 1]
    if not again:
        return seen
    first: dict[str, Entity] = {}
    for job in sorted(known.entities("Job"), key=lambda job: _submit(job.key)):
        first.setdefault(job.key.partition("@")[0], job)
    keys: dict[str, str] = {}
    submits: dict[str, Scalar] = {}
    for job in again:
        former = first.get(job.key.partition("@")[0])
        if former and _submit(former.key) < _submit(job.key) and _attempt(former) <= _attempt(job):
            keys[job.key] = former.key
            submits[former.key] = former.properties.get("submit")
    return _renamed(seen, keys, submits)


def _renamed(seen: Snapshot, keys: Mapping[str, str], submits: Mapping[str, Scalar]) -> Snapshot:
    """`seen` with the keys of jobs and attempts, and of what hangs on them, replaced; jobs keep their first submit
    time."""
    if not keys:
        return seen

    def ref(old: Ref) -> Ref:
        if old.kind not in ("Job", "Attempt", "Step"):
            return old
        run, dot, step = old.key.partition(".")
        if run in keys:
            return Ref(old.kind, keys[run] + dot + step)
        base, mark, rest = old.key.partition("#")
        return Ref(old.kind, keys[base] + mark + rest) if base in keys else old

    def entity(old: Entity) -> Entity:
        new = replace(old, key=ref(old.ref).key)
        if old.kind == "Job" and new.key != old.key and submits.get(new.key):
            new = replace(new, properties={**old.properties, "submit": submits[new.key]})
        return new

    def relation(old: Relation) -> Relation:
        return replace(old, source=ref(old.source), target=ref(old.target))

    return replace(
        seen, entities=[entity(e) for e in seen.entities], relations=[relation(r) for r in seen.relations]
    )


def _attempt(job: Entity) -> int:
    number = job.properties.get("attempt")
    return number if isinstance(number, int) else 1


def _submit(key: str) -> int:
    return int(key.partition("@")[2] or 0)
