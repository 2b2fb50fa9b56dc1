"""Jobs as a trace tells them, whatever wrote it: Standard Workload Format, or sacct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Traced:
    """One job of the trace. Times are in seconds since the first was submitted."""

    number: str
    submit: float
    run: float | None
    """Seconds it ran; None: it was cancelled before it started."""
    waited: float
    """Seconds from its submission to its start, or to its end where it never started."""
    processors: int
    nodes: int
    """0: the trace does not tell."""
    user: str
    group: str
    outcome: str
    """State it ended in, in SLURM's words."""
    exit_code: int = 0
    after: str = ""
    """Number of the job that had to end before this one was submitted …"""
    think: float = 0.0
    """… and how long after that it was."""


@dataclass(slots=True)
class Trace:
    kind: str
    jobs: list[Traced] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    """Line and what is wrong with it."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that are no jobs to replay, by why."""
    noted: Counter[str] = field(default_factory=Counter)
    """Jobs of which the trace does not tell all, by what is assumed."""
    processors: int = 0
    """Of the machine that was traced; as its header says, else the most that were in use at once."""
    nodes: int = 0
    began: datetime | None = None
    """When the first was submitted, if the trace knows."""

    def measured(self) -> Trace:
        """The same with jobs in order of submission, times from the first on, and a size that was not told measured."""
        first = min((job.submit for job in self.jobs), default=0.0)
        self.jobs = sorted(
            (_moved(job, first) if first else job for job in self.jobs), key=lambda job: (job.submit, job.number)
        )
        self.processors = self.processors or peak((job, job.processors) for job in self.jobs)
        self.nodes = self.nodes or peak((job, job.nodes) for job in self.jobs)
        return self


def _moved(job: Traced, first: float) -> Traced:
    from dataclasses import replace

    return replace(job, submit=job.submit - first)


def peak(used: Iterable[tuple[Traced, int]]) -> int:
    """The most that jobs had at once."""
    steps: list[tuple[float, int]] = []
    for job, amount in used:
        if job.run:
            began = job.submit + job.waited
            steps += [(began, amount), (began + job.run, -amount)]
    most = now = 0
    for _, step in sorted(steps):  # an end comes before a beginning of the same moment
        now += step
        most = max(most, now)
    return most
