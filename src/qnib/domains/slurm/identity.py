"""A requeued job is the same job: SLURM gives it a new submit time, and we key jobs by that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from qnib.model import Entity, Known, Ref, Relation, Snapshot


def settle(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` with every requeued job under the key of its first submission; pure.

    A job whose first run we never saw keeps the key it has: there is nothing to join it to.
    """
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
