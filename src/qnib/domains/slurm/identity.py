"""What one look at the queue cannot know: that a requeued job is the same job, and how a forgotten one ended.

SLURM gives a requeued job a new submit time, and we key jobs by that. A job it forgot before we saw its end
(a controller without state, a very short MinJobAge) has ended all the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from qnib.model import Entity, Known, Ref, Relation, Snapshot


def settle(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` with every requeued job under the key of its first submission; pure.

    A job whose first run we never saw keeps the key it has: there is nothing to join it to.
    """
    seen = _same_jobs(seen, known)
    return _ended(seen, known, at)


def _ended(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` with an end for every job, attempt and allocation that is open in the record and not told any more."""
    told = {entity.ref for entity in seen.entities}
    ties = {(tie.kind, tie.source, tie.target) for tie in seen.relations}
    entities, relations = list(seen.entities), list(seen.relations)
    for kind in ("Job", "Attempt"):
        for entity in known.open(kind):
            if entity.ref not in told:
                lost = {"state": "UNKNOWN", "end": at.isoformat().replace("+00:00", "Z")}
                entities.append(replace(entity, properties={**entity.properties, **lost}, since=None, until=at))
    for kind in ("JOBCLIENT", "ATTEMPT_OF", "SUBMITTED", "CHARGED_TO", "QUEUED_IN"):
        for tie in known.ties(kind):
            if tie.until is None and (tie.kind, tie.source, tie.target) not in ties:
                relations.append(replace(tie, since=None, until=at))
    return Snapshot(entities, relations, seen.complete)


def _same_jobs(seen: Snapshot, known: Known) -> Snapshot:
    again = [e for e in seen.entities if e.kind == "Job" and _attempt(e) > 1]
    if not again:
        return seen
    first: dict[str, Entity] = {}
    for job in sorted(known.entities("Job"), key=lambda job: _submit(job.key)):
        first.setdefault(job.key.partition("@")[0], job)
    keys: dict[str, Entity] = {}
    for job in again:
        former = first.get(job.key.partition("@")[0])
        if former and _submit(former.key) < _submit(job.key) and _attempt(former) <= _attempt(job):
            keys[job.key] = former

    def ref(old: Ref) -> Ref:
        base, mark, rest = old.key.partition("#")
        if old.kind in ("Job", "Attempt") and base in keys:
            return Ref(old.kind, keys[base].key + mark + rest)
        return old

    def entity(old: Entity) -> Entity:
        new = replace(old, key=ref(old.ref).key)
        if old.kind == "Job" and old.key in keys:
            submit = keys[old.key].properties.get("submit", old.properties.get("submit"))
            new = replace(new, properties={**old.properties, "submit": submit})
        return new

    def relation(old: Relation) -> Relation:
        return replace(old, source=ref(old.source), target=ref(old.target))

    return Snapshot([entity(e) for e in seen.entities], [relation(r) for r in seen.relations], seen.complete)


def _attempt(job: Entity) -> int:
    number = job.properties.get("attempt")
    return number if isinstance(number, int) else 1


def _submit(key: str) -> int:
    return int(key.partition("@")[2] or 0)
