"""A site's users by their habits, seeded: those who ask for what they need, those who ask for far more, those whose
jobs fail, those with a hundred small ones. Runs in the controller as root and submits as the users.

    python3 people.py [--partition NAME] [--seed N] [--for SECONDS]

Nobody has more than a few jobs at once; a small cluster is full all the same.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loop import as_user, users, working_nodes

HERE = Path(__file__).parent
LOOK_EVERY = 5.0
MOST = 3
"""Jobs of one user that wait or run."""


@dataclass(frozen=True)
class Wish:
    """What a user hands to SLURM: `options` of sbatch, and the command of the batch script."""

    name: str
    options: tuple[str, ...]
    command: str


Habit = Callable[[random.Random, int], Wish]
"""The next wish, given dice and the number of nodes there are."""


def python(program: str, mpi: bool = False) -> str:
    return f"srun --mpi={'pmix' if mpi else 'none'} python3 {HERE}/{program}"


def careful(dice: random.Random, nodes: int) -> Wish:
    """Asks for what the job needs, and a little more time."""
    width, seconds = dice.randint(1, max(1, min(4, nodes // 2))), dice.randint(40, 150)
    kind, program = dice.choice((
        ("gemm", f"gemm.py --iterations {seconds * 4} --rate 4"), ("cg", f"cg.py --iterations {seconds * 4} --rate 4"),
        ("alltoall", f"alltoall.py --rounds {seconds}"),
    ))
    options = (f"-N{width}", "--ntasks-per-node=1", f"--time={seconds // 60 + 2}")
    return Wish(kind, options, python(program, mpi=True))


def asker(dice: random.Random, nodes: int) -> Wish:
    """Wants much and uses little: half of the memory of a node and hours, for a minute of writing."""
    width = max(1, min(3, nodes // 2))
    options = (f"-N{width}", "--ntasks-per-node=1", "--mem=200", "--time=8:00:00")
    return Wish("writer", options, python(f"writer.py --blocks {dice.randint(20, 60)} --size 65536"))


def hasty(dice: random.Random, nodes: int) -> Wish:
    """Fails: too little memory, too little time, a wrong path, an error of its own."""
    del nodes
    return dice.choice((
        # Not as a step: SLURM calls a job OUT_OF_MEMORY when its script itself ran out of it.
        Wish("eater", ("-n1", "--mem=60", "--time=5"), f"exec python3 {HERE}/eater.py --megabytes 160 --seconds 20"),
        Wish("late", ("-n1", "--mem=60", "--time=1"), python("eater.py --megabytes 20 --seconds 200")),
        Wish("typo", ("-n1", "--mem=40", "--time=5"), "./no_such_program --input data"),
        Wish("failing", ("-n1", "--mem=60", "--time=5"), python("failing.py --seconds 20 --bad $(hostname)")),
    ))


def busy(dice: random.Random, nodes: int) -> Wish:
    """Many small ones: arrays, and chains in which each waits for the one before."""
    del nodes
    if dice.random() < 0.5:
        return Wish("sweep", (f"--array=1-{dice.randint(4, 12)}%2", "-n1", "--mem=40", "--time=3"),
                    python(f"eater.py --megabytes 10 --seconds {dice.randint(5, 15)}"))
    return Wish("chain", ("-n1", "--mem=40", "--time=3", "--dependency=singleton"),
                python(f"eater.py --megabytes 10 --seconds {dice.randint(5, 15)}"))


def fickle(dice: random.Random, nodes: int) -> Wish:
    """Submits for later and thinks again."""
    wish = careful(dice, nodes)
    return Wish("later", (*wish.options, f"--begin=now+{dice.randint(60, 600)}"), wish.command)


HABITS: dict[str, Habit] = {"careful": careful, "asker": asker, "hasty": hasty, "busy": busy, "fickle": fickle}


def habits(names: list[str]) -> dict[str, str]:
    """Who has which: by order, so that a cluster's users are always the same people."""
    kinds = list(HABITS)
    return {name: kinds[place % len(kinds)] for place, name in enumerate(names)}


def submit(user: str, wish: Wish, partition: str) -> None:
    """Hand a wish to SLURM. Raises CalledProcessError when it refuses."""
    home = f"/home/{user}"
    script = f"#!/bin/bash\nlogger -t slurm_$SLURM_JOB_ID '{wish.name} starts'\n{wish.command}\n"
    command = ["sbatch", "--quiet", f"--job-name={wish.name}", f"--partition={partition}", f"--chdir={home}",
               f"--output={home}/{wish.name}-%j.out", *wish.options]  # fmt: skip
    as_user(user, command, script)


def queued() -> dict[str, list[tuple[str, str]]]:
    """By user: (job, state) of all that waits or runs; an array is one job."""
    told = subprocess.run(["squeue", "-h", "-o", "%u %F %T"], capture_output=True, text=True, check=True).stdout
    found: dict[str, list[tuple[str, str]]] = {}
    for line in sorted(set(told.splitlines())):
        user, job, state = line.split()
        found.setdefault(user, []).append((job, state))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--partition", default="all")
    arguments.add_argument("--seed", type=int, default=2014)
    arguments.add_argument("--for", dest="seconds", type=float, default=float("inf"), help="stop after so many seconds")
    given = arguments.parse_args()

    dice = random.Random(given.seed)
    until = time.monotonic() + given.seconds
    who = habits(users())
    while time.monotonic() < until:
        nodes = len(working_nodes(given.partition))
        try:
            there = queued()
        except subprocess.CalledProcessError as error:  # the controller is busy: at the next look
            print(f"squeue: {error.stderr.strip()}", flush=True)
            time.sleep(LOOK_EVERY)
            continue
        for user, habit in who.items():
            mine = dict(there.get(user, []))
            waiting = [job for job, state in mine.items() if state == "PENDING"]
            if habit == "fickle" and waiting and dice.random() < 0.2:
                subprocess.run(["scancel", dice.choice(waiting)], check=False)
            if nodes and len(mine) < MOST and dice.random() < 0.4:
                wish = HABITS[habit](dice, nodes)
                try:
                    submit(user, wish, given.partition)
                except subprocess.CalledProcessError as error:
                    print(f"SLURM refused {wish.name} of {user}: {error.stderr.strip()}", flush=True)
        time.sleep(LOOK_EVERY)


if __name__ == "__main__":
    main()
