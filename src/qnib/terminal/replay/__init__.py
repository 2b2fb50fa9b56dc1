"""Replays a trace of real jobs on a virtual cluster: each at its time, as a user, for as long, with its end; all times
compressed alike."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from qnib import clusters
from qnib.errors import NotFound, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import access, record
from qnib.terminal.package import INSIDE
from qnib.terminal.plan import node_names
from qnib.terminal.replay import accounts, swf
from qnib.terminal.replay.fitting import Fitted, Room, fit
from qnib.terminal.replay.traced import Trace

__all__ = ["Fitted", "Outcome", "Room", "Trace", "fit", "play", "read", "room_of"]

PROGRAM = f"{INSIDE}/qnib/terminal/workloads/replay.py"


@dataclass(slots=True)
class Outcome:
    """How a replay went, so far or in all."""

    planned: int
    submitted: dict[str, int] = field(default_factory=dict)
    """SLURM's number by the trace's."""
    late: list[float] = field(default_factory=list)
    """Seconds after its time, by submission."""
    refused: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    """State by the trace's number."""
    running: int = 0
    waiting: int = 0
    stopped: bool = False

    def drift(self) -> dict[str, float]:
        """Median, 95th percentile and most of the seconds that submissions were late."""
        known = sorted(self.late)
        if not known:
            return {"median": 0.0, "p95": 0.0, "most": 0.0}
        return {"median": known[len(known) // 2], "p95": known[int(0.95 * (len(known) - 1))], "most": known[-1]}

    def rows(self, fitted: Fitted) -> list[dict[str, Any]]:
        """By outcome in the trace: how many, how many of them ended here, and how many of those as they did there."""
        wanted = {job.number: job.outcome for job in fitted.jobs}
        found = Counter(wanted.values())
        return [
            {
                "outcome": outcome, "traced": count,
                "ended": sum(wanted[number] == outcome for number in self.ended),
                "as traced": sum(wanted[number] == outcome == state for number, state in self.ended.items()),
            }
            for outcome, count in sorted(found.items())
        ]


def read(file: Path) -> Trace:
    """The trace in a file, gzipped or not. Raises NotFound without it, WrongUse when it is neither SWF nor sacct's."""
    try:
        raw = file.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except FileNotFoundError as error:
        raise NotFound("There is no such file.", where=str(file), try_next="name a trace: SWF or sacct -P.") from error
    except (OSError, EOFError) as error:
        raise WrongUse(f"The file cannot be read: {error}.", where=str(file), try_next="another one.") from error
    text = raw.decode(errors="replace")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lstrip().startswith(";") or (len(first.split()) == swf.FIELDS and "|" not in first):
        return swf.parse(text)
    try:
        return accounts.parse(text)
    except ValueError as error:
        raise WrongUse(
            f"This is no trace: {error}.", where=str(file),
            try_next="the Standard Workload Format, or sacct -P with JobID, Submit, Start, End, State, NNodes, NCPUS.",
        ) from error


def room_of(settings: Settings, name: str | None = None) -> Room:
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    plan, nodes = record.plan_of(cluster), cluster.details["nodes"]
    cpus = min(plan.declared_cpus(host) for host in node_names(nodes))
    return Room(nodes, cpus, {group: list(members) for group, (_, members) in plan.groups.items()})


def play(
    settings: Settings, fitted: Fitted, *, name: str | None = None,
    seen: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Submit all, wait until all have ended; `seen` is told each change. KeyboardInterrupt cancels what it submitted
    and is told in the outcome (`stopped`). Raises Unavailable when the program in the controller ends by itself."""
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    partition = record.plan_of(cluster).whole
    if partition == "qnib":
        raise WrongUse(
            "A replay needs a partition with all nodes.", where=f"cluster {cluster.name}",
            try_next='a blueprint whose partitions include one with nodes = "all".',
        )
    outcome = Outcome(len(fitted.jobs))
    command = ["python3", PROGRAM, "--partition", partition]
    with _inside(settings, cluster.name, command) as running:
        assert running.stdin is not None and running.stdout is not None  # noqa: S101 - both were asked for
        try:
            running.stdin.write(json.dumps(fitted.lines()) + "\n")
            running.stdin.flush()
            _listen(running.stdout, outcome, seen)
        except KeyboardInterrupt:
            outcome.stopped = True
            running.stdin.close()  # which is how it learns of it
            _listen(running.stdout, outcome, seen)
    if not outcome.stopped and len(outcome.ended) + len(outcome.refused) < outcome.planned:
        raise Unavailable(
            f"The replay ended early, after {len(outcome.submitted)} of {outcome.planned} jobs.", where=cluster.name,
            try_next="`qnib status` shows whether the controller runs.",
        )
    return outcome


@contextmanager
def _inside(settings: Settings, name: str, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program in the controller, out of reach of this terminal's Ctrl-C."""
    running = subprocess.Popen(
        access.line(settings, "controller", command, name=name), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )
    try:
        yield running
        running.wait(30)
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()


def _listen(said: IO[str], outcome: Outcome, seen: Callable[[Outcome], None]) -> None:
    for line in said:
        told = json.loads(line)
        number = told.get("number", "")
        if "job" in told:
            outcome.submitted[number] = told["job"]
            outcome.late.append(told["late"])
        elif "why" in told:
            outcome.refused[number] = told["why"]
        elif "state" in told:
            outcome.ended[number] = told["state"]
        else:
            outcome.running, outcome.waiting = told["running"], told["waiting"]
        seen(outcome)
