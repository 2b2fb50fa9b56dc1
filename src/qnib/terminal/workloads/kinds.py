"""What `qnib run` can start: each workload as the jobs it hands to SLURM. Runs on the machine, not in a container."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qnib.terminal.package import INSIDE

FOLDER = f"{INSIDE}/qnib/terminal/workloads"
FIRST = "@first@"
"""In a command: the number of the workload's first job."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for; 0 and empty mean the workload's own."""

    nodes: int = 0
    tasks: int = 1
    """On each node."""
    memory: str = ""
    minutes: int = 0
    partition: str = ""
    array: str = ""
    after: Sequence[int] = ()
    """Jobs that must have ended before."""
    arguments: Sequence[str] = ()
    """For the program, after its own."""


@dataclass(frozen=True, slots=True)
class Part:
    """One job: options of sbatch, commands of its batch script."""

    name: str
    command: str
    options: Sequence[str] = ()
    follows: str = ""
    """Condition on the part before: ``afterok``, ``afterany`` …; empty: it waits for nothing."""


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    about: str
    ends: str
    """State its last job ends in."""
    parts: Callable[[Wanted], list[Part]] = field(repr=False)
    nodes: int = 1
    needs: str = ""
    """A program that has to be in the image; a Debian package of the same name has it."""


def python(program: str, given: Wanted, mpi: bool = False) -> str:
    more = f" {shlex.join(given.arguments)}" if given.arguments else ""
    return f"srun --mpi={'pmix' if mpi else 'none'} python3 {FOLDER}/{program}{more}"


def _bare(program: str, given: Wanted) -> str:
    """Without a step of its own: SLURM gives a job the state OUT_OF_MEMORY when its script itself ran out of it."""
    return f"exec {python(program, given).partition(' ')[2].partition(' ')[2]}"


def _one(name: str, program: str, *options: str, mpi: bool = False) -> Callable[[Wanted], list[Part]]:
    return lambda given: [Part(name, python(program, given, mpi), options)]


def _video(given: Wanted) -> list[Part]:
    """Make, convert in an array, join: the parts wait for the film, the end waits for the parts."""
    parts = max(1, given.nodes) * 2
    folder, one = f'--folder "$HOME/video-{FIRST}"', ("-N1", "-n1", "--mem=160", "--time=10")

    def stage(name: str) -> str:
        return python(f"video.py {name} {folder} --parts {parts}", given)

    return [
        Part("film", stage("film"), one),
        Part("convert", stage("convert"), (*one, f"--array=1-{parts}"), "afterok"),
        Part("join", stage("join"), one, "afterok"),
    ]


def _chain(given: Wanted) -> list[Part]:
    """Three in a row, each only after the one before was well."""
    command = python("eater.py --megabytes 10 --seconds 3", given)
    return [Part("chain", command, ("-n1", "--mem=40", "--time=3"), "afterok" if place else "") for place in range(3)]


def _broken(given: Wanted) -> list[Part]:
    """The first fails, so the second's condition can never come true."""
    fails = python('failing.py --seconds 5 --bad "$(hostname)"', given)
    return [
        Part("first", fails, ("-n1", "--mem=40", "--time=3")),
        Part("second", "true", ("-n1", "--mem=40", "--time=3", "--kill-on-invalid-dep=yes"), "afterok"),
    ]


def _cancelled(given: Wanted) -> list[Part]:
    """Its own user ends it, while it runs."""
    command = f"{python('eater.py --megabytes 10 --seconds 60', given)} &\nsleep 10\nscancel $SLURM_JOB_ID\nwait"
    return [Part("cancelled", command, ("-n1", "--mem=40", "--time=3"))]


WORKLOADS = {one.name: one for one in (
    Workload("gemm", "Blocked matrix product over MPI; --size N, --iterations N, --rate N", "COMPLETED",
             _one("gemm", "gemm.py", mpi=True), 2),
    Workload("pingpong", "Messages of growing size to and fro between pairs; --rounds N", "COMPLETED",
             _one("pingpong", "pingpong.py", mpi=True), 2),
    Workload("alltoall", "Every rank sends every other a block; --rounds N, --block OCTETS", "COMPLETED",
             _one("alltoall", "alltoall.py", mpi=True), 2),
    Workload("cg", "Conjugate gradients with halo exchange, as in HPCG; --grid N, --iterations N", "COMPLETED",
             _one("cg", "cg.py", mpi=True), 2),
    Workload("writer", "Blocks to a file system and back; --blocks N, --size OCTETS, --folder PATH", "COMPLETED",
             _one("writer", "writer.py", "--mem=80")),
    Workload("eater", "Memory, step by step; --megabytes N, --seconds N", "COMPLETED",
             _one("eater", "eater.py", "--mem=120")),
    Workload("video", "ffmpeg: a film, an array that converts its parts, a job that joins them; --frames N",
             "COMPLETED", _video, 2, needs="ffmpeg"),
    Workload("sweep", "An array of eight small jobs, two at a time", "COMPLETED",
             lambda given: [Part("sweep", python("eater.py --megabytes 10 --seconds 2", given),
                                 (f"--array={given.array or '1-8%2'}", "-n1", "--mem=40", "--time=3"))]),
    Workload("chain", "Three jobs, each after the one before", "COMPLETED", _chain),
    Workload("broken", "A job that fails, and one that waits for its success in vain", "CANCELLED", _broken),
    Workload("failing", "Runs well for a while, then one node cannot write: exit code 42", "FAILED",
             _one("failing", 'failing.py --seconds 10 --bad "$(hostname)"', "--mem=60")),
    Workload("late", "Asks for one minute and needs more: ended by the time limit", "TIMEOUT",
             _one("late", "eater.py --megabytes 10 --seconds 300", "--mem=60", "--time=1")),
    Workload("greedy", "Takes more memory than it asked for: ended by the kernel", "OUT_OF_MEMORY",
             lambda given: [Part("greedy", _bare("eater.py --megabytes 160 --seconds 5", given),
                                 ("-n1", "--mem=60", "--time=3"))]),
    Workload("cancelled", "Its user thinks again after ten seconds", "CANCELLED", _cancelled),
)}  # fmt: skip

SCRIPT = """#!/bin/bash
logger -t slurm_$SLURM_JOB_ID "{name} starts on $SLURM_JOB_NODELIST"
{command}
status=$?
logger -t slurm_$SLURM_JOB_ID "{name} ended with status $status"
exit $status
"""


def script(part: Part, first: int | None) -> str:
    """The batch script; `first` is the number of the workload's first job, None while this is it."""
    return SCRIPT.format(name=part.name, command=part.command.replace(FIRST, str(first or "$SLURM_JOB_ID")))


def options(workload: Workload, part: Part, given: Wanted, user: str, before: int | None) -> list[str]:
    """What sbatch is told; a person's wishes come last, for the last of two wins."""
    home, own = f"/home/{user}", [one.partition("=")[0] for one in part.options]
    nodes = given.nodes or workload.nodes
    found = [f"--job-name={part.name}", f"--chdir={home}", "--time=10"]
    found.append(f"--output={home}/{part.name}-{'%A_%a' if '--array' in own else '%j'}.out")
    if not {"-N1", "-n1"} & set(own):
        found += [f"--nodes={nodes}", f"--ntasks-per-node={given.tasks}"]
    found += part.options
    waits = [f"afterany:{job}" for job in given.after] if before is None else []
    if before is not None and part.follows:
        waits.append(f"{part.follows}:{before}")
    found += [f"--dependency={','.join(waits)}"] if waits else []
    found += [f"--mem={given.memory}"] if given.memory else []
    found += [f"--time={given.minutes}"] if given.minutes else []
    found += [f"--partition={given.partition}"] if given.partition else []
    found += [f"--array={given.array}"] if given.array and "--array" not in own else []
    return found
