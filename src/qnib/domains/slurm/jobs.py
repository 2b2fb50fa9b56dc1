"""One job as any source tells it, and what that means in entities and relations. Every reader of jobs ends here.

What a source does not tell is left out, never guessed: the record keeps what another source told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from qnib.domains.slurm.values import ENDED, expand, iso
from qnib.model import Entity, Ref, Relation, Scalar, Snapshot

OWN = frozenset({"Job", "Attempt", "SUBMITTED", "CHARGED_TO", "QUEUED_IN", "ATTEMPT_OF", "JOBCLIENT"})
"""What a list of all jobs is complete in. Steps and scripts come from other sources than jobs do."""


@dataclass(slots=True)
class Step:
    """A step of a job: ``0``, ``batch``, ``extern``. Times are in UTC."""

    id: str
    start: datetime | None = None
    end: datetime | None = None
    told: dict[str, Scalar] = field(default_factory=dict)
    attempt: int = 0
    """0: that of the job's last run."""


@dataclass(slots=True)
class Run:
    """One allocation: an attempt of a job, or the part of one between two resizes."""

    attempt: int
    start: datetime
    end: datetime | None
    nodes: str
    state: str
    told: dict[str, Scalar] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    """What the job has of each node, where the source says so; else the even share is assumed."""


@dataclass(slots=True)
class Job:
    number: str
    """SLURM's own number, or ``123_4`` where a source shows only that name of an array's task."""
    submit: datetime | None
    """None: the source does not tell; the key then ends with 0."""
    state: str
    told: dict[str, Scalar]
    """Properties as `entities.py` declares them; those the source does not tell are not there."""
    end: datetime | None = None
    runs: list[Run] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    script: str = ""

    @property
    def key(self) -> str:
        return f"{self.number}@{int(self.submit.timestamp()) if self.submit else 0}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def snapshot(jobs: Iterable[Job], complete: frozenset[str] = frozenset()) -> Snapshot:
    """All that `jobs` tell; users and accounts once."""
    entities: dict[Ref, Entity] = {}
    relations: list[Relation] = []
    for job in jobs:
        for entity in entities_of(job, relations):
            entities[entity.ref] = entity
    return Snapshot(list(entities.values()), relations, complete)


def entities_of(job: Job, relations: list[Relation]) -> Iterator[Entity]:
    """The job and what hangs on it; ties are appended to `relations`."""
    ref, submit, end = Ref("Job", job.key), job.submit, job.end
    latest = job.runs[-1] if job.runs else None
    told = {**job.told, "state": job.state}
    if submit:
        told["submit"] = iso(submit)
    begun = latest.start if latest and job.state != "PENDING" else None
    yield Entity("Job", job.key, told, since=end or begun or submit, until=end)
    if user := _text(told, "user"):
        group = _text(told, "group")
        yield Entity("User", user, {"name": user, **({"group": group} if group else {})})
        relations.append(Relation("SUBMITTED", Ref("User", user), ref, since=submit, until=end))
    if account := _text(told, "account"):
        yield Entity("Account", account, {"name": account})
        relations.append(Relation("CHARGED_TO", ref, Ref("Account", account), since=submit, until=end))
    relations.extend(
        Relation("QUEUED_IN", ref, Ref("Partition", name), since=submit, until=end)
        for name in _text(told, "partition").split(",") if name
    )
    if job.script:
        import hashlib  # brings OpenSSL along, which is too much for an agent

        mark = hashlib.sha256(job.script.encode()).hexdigest()[:16]
        yield Entity("Script", mark, {"text": job.script, "lines": job.script.count("\n")})
        relations.append(Relation("RAN", ref, Ref("Script", mark), since=submit, until=end))
    yield from _attempts(job, ref, relations)
    for step in job.steps:
        run = f"{job.key}#{step.attempt or (latest.attempt if latest else 1)}"
        own, since = Ref("Step", f"{run}.{step.id}"), step.start or step.end
        facts: dict[str, Scalar] = {"id": step.id, "start": iso(step.start), "end": iso(step.end), **step.told}
        yield Entity("Step", own.key, facts, since=since, until=step.end)
        relations.append(Relation("STEP_OF", own, Ref("Attempt", run), since=since, until=step.end))


def _attempts(job: Job, ref: Ref, relations: list[Relation]) -> Iterator[Entity]:
    """Each attempt with its last size, and each host for as long as it belonged to the allocation."""
    attempts: dict[int, list[Run]] = {}
    for run in job.runs:
        attempts.setdefault(run.attempt, []).append(run)
    ties: dict[Ref, Relation] = {}
    for number, runs in attempts.items():
        first, last = runs[0], runs[-1]
        key = f"{job.key}#{number}"
        facts: dict[str, Scalar] = {
            "number": number, "state": last.state, "start": iso(first.start), "end": iso(last.end),
            "nodes": last.nodes, **{k: last.told.get(k) for k in ("exit_code", "signal")},
        }
        yield Entity("Attempt", key, facts, since=first.start, until=last.end)
        relations.append(Relation("ATTEMPT_OF", Ref("Attempt", key), ref, since=first.start, until=last.end))
        for run in runs:
            for tie in _allocation(run, ref):
                before = ties.get(tie.target)
                if before is not None and before.until == tie.since:  # kept through a resize
                    tie = Relation(tie.kind, ref, tie.target, tie.properties, before.since, tie.until)  # noqa: PLW2901
                ties[tie.target] = tie
    relations.extend(ties.values())


def _allocation(run: Run, ref: Ref) -> Iterator[Relation]:
    hosts = expand(run.nodes)
    cpus = run.told.get("cpus")
    # SLURM's lists tell a job's sum only; the share of each node is exact when the nodes are alike.
    even = cpus // max(1, len(hosts)) if isinstance(cpus, int) else None
    for host in hosts:
        share = {"cpus": even, "memory": run.told.get("memory"), **run.shares.get(host, {})}
        facts: dict[str, Scalar] = {"attempt": run.attempt, **{k: v for k, v in share.items() if v is not None}}
        yield Relation("JOBCLIENT", ref, Ref("Host", host), facts, since=run.start, until=run.end)


def _text(told: Mapping[str, Scalar], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""
