"""Fits a trace to a cluster: which of its jobs, when, how large, and whose. What had to be changed is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from qnib.errors import WrongUse
from qnib.terminal.replay.traced import Trace, Traced
from qnib.terminal.units import seconds

SHORT = 1.0
"""Seconds below which a job is mostly SLURM's own work."""


@dataclass(frozen=True, slots=True)
class Room:
    """The cluster: its nodes, the cores of each, its users by group."""

    nodes: int
    cpus: int
    groups: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Planned:
    """One job to submit; times in seconds since the replay began."""

    number: str
    at: float
    user: str
    tasks: int
    nodes: int
    seconds: float
    outcome: str
    exit_code: int
    after: str
    think: float
    held: bool
    """It never started: it waits until it is cancelled."""


@dataclass(slots=True)
class Fitted:
    jobs: list[Planned]
    speedup: float
    sentences: list[str] = field(default_factory=list)
    """What a person should know before it begins."""

    @property
    def seconds(self) -> float:
        """From the first submission to the last, dependencies not counted."""
        return max((job.at for job in self.jobs), default=0.0)

    def lines(self) -> list[dict[str, Any]]:
        return [asdict(job) for job in self.jobs]


def fit(trace: Trace, room: Room, *, speedup: float, most: int = 0, start: str = "") -> Fitted:
    """`most` jobs (0: all) from `start` on: a time, or a span after the first (``2h``). Raises WrongUse when none is
    left."""
    chosen = _chosen(trace, start, most)
    if not chosen:
        raise WrongUse(
            "There is no job to replay.", where="the trace" + (f" from {start} on" if start else ""),
            try_next="an earlier --from, or a file with jobs that ended.",
        )
    there = {job.number for job in chosen}
    who = users(chosen, room.groups)
    shares = Shares(trace, room)
    first = chosen[0].submit
    names = _names(chosen)
    jobs = [
        Planned(
            name, (job.submit - first) / speedup, who[job.user, job.group], *shares.of(job),
            (job.run if job.run is not None else job.waited) / speedup, job.outcome, job.exit_code,
            job.after if job.after in there else "", job.think / speedup, job.run is None,
        )
        for name, job in zip(names, chosen, strict=True)
    ]
    fitted = Fitted(jobs, speedup)
    fitted.sentences = _sentences(trace, room, chosen, fitted, who)
    return fitted


def _names(jobs: Sequence[Traced]) -> list[str]:
    """The numbers; one that comes again, as they do after years, with how often it came: 42, 42.2."""
    seen: Counter[str] = Counter()
    found = []
    for job in jobs:
        seen[job.number] += 1
        found.append(job.number if seen[job.number] == 1 else f"{job.number}.{seen[job.number]}")
    return found


def _chosen(trace: Trace, start: str, most: int) -> list[Traced]:
    since = 0.0
    if start:
        try:
            since = float(str(seconds(start)))
        except ValueError:
            try:
                moment = datetime.fromisoformat(start)
            except ValueError as error:
                raise WrongUse(
                    f"{start!r} is neither a span nor a time.", where="--from", try_next="2h, or 2016-12-30T00:00.",
                ) from error
            if trace.began is None:
                raise WrongUse(
                    "This trace does not say when it began.", where="--from", try_next="a span instead: --from 2h.",
                ) from None
            since = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - trace.began).total_seconds()
    found = [job for job in trace.jobs if job.submit >= since]
    return found[:most] if most else found


class Shares:
    """How much of the cluster is a job's. A machine that was larger is scaled down, a smaller one is not scaled up."""

    def __init__(self, trace: Trace, room: Room) -> None:
        self._room = room
        self.cores = min(1.0, room.nodes * room.cpus / max(1, trace.processors))
        self.nodes = min(1.0, room.nodes / max(1, trace.nodes))

    def of(self, job: Traced) -> tuple[int, int]:
        """Tasks of a core each, and nodes."""
        room = self._room
        tasks = min(room.nodes * room.cpus, max(1, round(job.processors * self.cores)))
        nodes = min(tasks, room.nodes, max(1, round(job.nodes * self.nodes)))
        return tasks, max(nodes, -(-tasks // room.cpus))


def users(jobs: Sequence[Traced], groups: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], str]:
    """Who of the cluster plays whom: the group with most jobs is its first, the busiest user of a group that one's
    first; where there are more of either than here, several share one."""
    busy = Counter(job.group for job in jobs)
    here = list(groups)
    home = {group: here[place % len(here)] for place, (group, _) in enumerate(_most(busy))}
    taken: Counter[str] = Counter()
    found: dict[tuple[str, str], str] = {}
    for (user, group), _ in _most(Counter((job.user, job.group) for job in jobs)):
        known = next((mine for (name, _), mine in found.items() if name == user), None)
        members = groups[home[group]]
        found[user, group] = known or members[taken[home[group]] % len(members)]
        taken[home[group]] += known is None
    return found


def _most(counted: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))


def _sentences(
    trace: Trace, room: Room, chosen: Sequence[Traced], fitted: Fitted, who: Mapping[tuple[str, str], str],
) -> list[str]:
    jobs, shares = fitted.jobs, Shares(trace, room)
    cores = room.nodes * room.cpus
    span = chosen[-1].submit
    told = [f"{trace.kind}: {len(trace.jobs)} jobs of a machine with {trace.processors} processors"
            f"{f' and {trace.nodes} nodes' if trace.nodes else ''}; {len(jobs)} of them are replayed."]
    for line, why in trace.bad[:5]:
        told.append(f"Line {line} is left out: {why}")
    if len(trace.bad) > 5:
        told.append(f"… and {len(trace.bad) - 5} more lines.")
    told += [f"Left out, {count} of them: {why}." for why, count in trace.skipped.items()]
    told += [f"Assumed of {count}: {why}." for why, count in trace.noted.items()]
    if shares.cores < 1:
        up = sum(job.processors * shares.cores < 0.5 for job in chosen)
        told.append(
            f"Scaled down: {trace.processors} processors to {cores} cores, {trace.nodes or '?'} nodes to {room.nodes}; "
            f"{up} jobs would have been less than half a core and take one."
        )
    else:
        cut = sum(plan.tasks < job.processors for plan, job in zip(jobs, chosen, strict=True))
        told.append("Sizes are as they were." if not cut else f"{cut} jobs were larger than this cluster: cut to it.")
    people = {user for user, _ in who}
    told.append(f"{len(people)} users of {len({group for _, group in who})} groups are played by "
                f"{', '.join(sorted(set(who.values())))}.")
    chained = sum(bool(job.after) for job in jobs)
    if chained:
        lost = sum(bool(job.after) for job in chosen) - chained
        told.append(f"{chained} come after another's end and a while to think" + (
            f"; {lost} whose other job is not replayed come at their time." if lost else "."))
    span -= chosen[0].submit
    load = sum(job.tasks * job.seconds for job in jobs if not job.held) / max(1.0, cores * fitted.seconds)
    told.append(f"{_span(span)} at {fitted.speedup:g} times the speed: submitted within {_span(fitted.seconds)}, "
                f"{load:.0%} of the cluster's cores on average" + (": the queue will grow." if load > 1 else "."))
    if short := sum(job.seconds < SHORT for job in jobs):
        told.append(f"{short} last less than {SHORT:g} s at this speed: SLURM's own work for a job is of that order.")
    return told


def _span(value: float) -> str:
    """Seconds as people say them: 42 s, 1:02:03, 3 d 01:00:00."""
    if value < 60:
        return f"{value:.0f} s"
    days, rest = divmod(round(value), 86400)
    clock = f"{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock
