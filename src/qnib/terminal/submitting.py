"""Hands workloads to a cluster's SLURM as one of its users, and follows jobs to their ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qnib import clusters
from qnib.errors import NotFound, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import access, record
from qnib.terminal.workloads import kinds
from qnib.terminal.workloads.kinds import WORKLOADS, Wanted, Workload

LOOK_EVERY = 1.0
OVER = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
})


@dataclass(frozen=True, slots=True)
class Submitted:
    job: int
    name: str
    output: str
    """File of its output, of an array that of each task: ``%A_%a``."""
    waits: str = ""
    """What it waits for, in SLURM's words."""


@dataclass(frozen=True, slots=True)
class Stand:
    """One job, or one task of an array, as it stands."""

    job: str
    name: str
    state: str
    nodes: str
    reason: str


def workload(name: str) -> Workload:
    if name not in WORKLOADS:
        raise NotFound(
            f"There is no workload {name!r}.", where="qnib run",
            try_next=f"use one of {', '.join(WORKLOADS)}; `qnib run` says what each does.",
        )
    return WORKLOADS[name]


def submit(
    settings: Settings, what: str, wanted: Wanted, *, user: str = "", name: str | None = None,
) -> list[Submitted]:
    """Submit a workload's jobs as `user` (default: the cluster's first). Raises NotFound for a workload or user that
    is not there, WrongUse with SLURM's own words for what it refuses, Unavailable without a program it needs."""
    kind = workload(what)
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    plan = record.plan_of(cluster)
    user = user or plan.users[0]
    there = cluster.details["nodes"]
    if wanted.nodes > there:
        raise WrongUse(
            f"The cluster has {there} nodes, not {wanted.nodes}.", where="--nodes",
            try_next=f"`qnib scale --nodes {wanted.nodes}` first, or ask for fewer.",
        )
    if kind.nodes > there and not wanted.nodes:
        raise WrongUse(f"{what} takes {kind.nodes} nodes, the cluster has {there}.", where=what, try_next="--nodes 1.")
    if kind.needs and access.ask(settings, "controller", ["which", kind.needs], name=name).returncode:
        raise Unavailable(
            f"{what} needs {kind.needs}, which is not in this cluster's image.", where=f"cluster {cluster.name}",
            try_next=f'a cluster whose blueprint says software = ["{kind.needs}"]: `qnib up -f {what} --name {what}`, '
            f"then `qnib run {what} --name {what}`.",
        )
    made: list[Submitted] = []
    for part in kind.parts(wanted):
        before, first = (made[-1].job, made[0].job) if made else (None, None)
        options = kinds.options(kind, part, wanted, user, before)
        done = access.ask(
            settings, "controller", ["sbatch", "--parsable", *options], name=name, user=user,
            given=kinds.script(part, first),
        )
        if done.returncode:
            cancel(settings, [one.job for one in made], name=name)
            said = done.stderr.replace("sbatch: error: ", "").strip().rstrip(".").splitlines()
            raise WrongUse(
                f"SLURM refuses {part.name}: {said[-1] if said else 'it does not say why'}.", where=f"user {user}",
                try_next="ask for less, or look at `qnib exec controller -- sinfo`.",
            )
        waits = next((one.partition("=")[2] for one in options if one.startswith("--dependency=")), "")
        output = next(one.partition("=")[2] for one in options if one.startswith("--output="))
        made.append(Submitted(int(done.stdout.split(";")[0]), part.name, output, waits))
    return made


def cancel(settings: Settings, jobs: Sequence[int], *, name: str | None = None) -> None:
    if jobs:
        access.ask(settings, "controller", ["scancel", "--quiet", *map(str, jobs)], name=name)


def stand(settings: Settings, jobs: Sequence[int], *, name: str | None = None) -> list[Stand]:
    """The jobs and tasks as SLURM has them now; those it has forgotten, minutes after their end, are not there."""
    wanted = ",".join(map(str, jobs))
    command = ["squeue", "-h", "-a", "-r", "-t", "all", "-j", wanted, "-o", "%i|%j|%T|%N|%r"]
    done = access.ask(settings, "controller", command, name=name)
    if done.returncode:
        raise Unavailable(
            f"SLURM does not say how the jobs are: {done.stderr.strip()}.", where="controller",
            try_next="`qnib status` shows what runs.",
        )
    return [Stand(*line.split("|", 4)) for line in sorted(done.stdout.splitlines())]


def follow(
    settings: Settings, submitted: Sequence[Submitted], *, name: str | None = None,
) -> Iterator[tuple[list[Stand], dict[int, str]]]:
    """Until all have ended: how the jobs stand, and the newest line of each output."""
    numbers = [one.job for one in submitted]
    files = {one.output.replace("%j", str(one.job)): one.job for one in submitted if "%A" not in one.output}
    tail = 'for file in "$@"; do [ -s "$file" ] && printf "%s\\t%s\\n" "$file" "$(tail -n 1 "$file")"; done; true'
    while True:
        now = stand(settings, numbers, name=name)
        said = access.ask(settings, "controller", ["sh", "-c", tail, "tail", *files], name=name).stdout
        lines = dict(line.partition("\t")[::2] for line in said.splitlines() if "\t" in line)
        yield now, {files[file]: line for file, line in lines.items() if file in files}
        if all(one.state in OVER for one in now):
            return
        time.sleep(LOOK_EVERY)
