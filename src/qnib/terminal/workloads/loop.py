"""Keeps a small site's jobs coming: several users, always one job running, always room for a newcomer.

Runs in the controller as root and submits as the users. At most one CPU per node is ever taken: each job waits
for the one before it in its lane (a SLURM dependency), and a lane has nodes of its own.

    python3 loop.py [--partition NAME] [--seed N] [--for SECONDS]
"""

from __future__ import annotations

import argparse
import os
import pwd
import random
import re
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
AHEAD = 2
"""Jobs that wait in each lane behind the running one: enough that a lane is never empty between two looks."""
LOOK_EVERY = 5.0
KEEP_OUTPUTS = 60


@dataclass(frozen=True)
class Job:
    kind: str
    user: str
    nodes: tuple[str, ...]
    command: str


def users() -> list[str]:
    """The cluster's own users, as their home tells."""
    return sorted(entry.pw_name for entry in pwd.getpwall() if entry.pw_dir.startswith("/home/"))


def working_nodes(partition: str) -> list[str]:
    """Nodes of the partition that take jobs, by number: compute2 before compute10."""
    command = ["sinfo", "-h", "-N", "-p", partition, "-o", "%N %t"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    states = dict(line.split() for line in told.stdout.splitlines())
    found = {name for name, state in states.items() if state in ("idle", "mix", "alloc", "comp")}
    return sorted(found, key=lambda name: int(re.sub(r"\D", "", name) or 0))


def waiting_or_running() -> set[int]:
    """Jobs SLURM still has on its hands."""
    told = subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True, check=True)
    return {int(line) for line in told.stdout.split()}


def lanes(nodes: list[str]) -> list[list[str]]:
    """Disjoint groups of two to four nodes; a big cluster is used in its first four nodes and its last four."""
    if len(nodes) < 4:
        return [nodes]
    half = min(2, len(nodes) // 2)
    return [nodes[:half], nodes[-half:]]


def choose(dice: random.Random, lane: list[str], bad: str, who: list[str], number: int) -> Job:
    """The next job on these nodes. Every fourth one is made to fail if it can reach the bad node."""
    user = dice.choice(who)
    seconds = dice.randint(60, 170)
    if bad in lane and number % 4 == 0:
        return Job("failing", user, tuple(lane), f"failing.py --seconds {dice.randint(18, 40)} --bad {bad}")
    if len(lane) > 1 and dice.random() < 0.3:
        return Job("pingpong", user, tuple(lane), f"pingpong.py --rounds {seconds}")
    rate = dice.choice((3.0, 4.0, 5.0))
    return Job("gemm", user, tuple(lane), f"gemm.py --iterations {int(seconds * rate)} --rate {rate}")


SCRIPT = """#!/bin/bash
logger -t slurm_$SLURM_JOB_ID "{kind} starts on $SLURM_JOB_NODELIST"
srun {mpi} python3 {folder}/{command}
status=$?
logger -t slurm_$SLURM_JOB_ID "{kind} ended with status $status"
exit $status
"""


def submit(job: Job, after: list[int], partition: str) -> int:
    """Hand the job to SLURM as its user; its id. Raises CalledProcessError when SLURM refuses."""
    home = Path("/home") / job.user
    command = [
        "sbatch", "--parsable",
        f"--job-name={job.kind}", f"--partition={partition}",
        f"--nodes={len(job.nodes)}", f"--ntasks={len(job.nodes)}", "--ntasks-per-node=1",
        f"--nodelist={','.join(job.nodes)}", "--time=10", f"--output={home}/{job.kind}-%j.out", f"--chdir={home}",
    ]
    if after:
        command.append("--dependency=" + ",".join(f"afterany:{before}" for before in after))
    script = SCRIPT.format(
        kind=job.kind, folder=HERE, command=job.command, mpi="--mpi=none" if job.kind == "failing" else "--mpi=pmix",
    )
    return int(as_user(job.user, command, script).split(";")[0])


def as_user(user: str, command: list[str], given: str) -> str:
    """What a command of a user's printed. Raises CalledProcessError when it fails."""
    entry = pwd.getpwnam(user)
    rights = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]
    environment = {"PATH": os.environ["PATH"], "HOME": f"/home/{user}", "USER": user, "LOGNAME": user}
    done = subprocess.run(
        [*rights, *command], input=given, capture_output=True, text=True, check=True, env=environment,
    )
    return done.stdout


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--partition", default="all", help="where the jobs go; all nodes they use are in it")
    arguments.add_argument("--seed", type=int, default=2014)
    arguments.add_argument("--for", dest="seconds", type=float, default=float("inf"), help="stop after so many seconds")
    given = arguments.parse_args()

    dice = random.Random(given.seed)
    who = users()
    until = time.monotonic() + given.seconds
    mine: deque[tuple[int, Job]] = deque()
    numbers = [1, 0]  # the second lane begins with the job that fails
    while time.monotonic() < until:
        nodes = working_nodes(given.partition)
        groups = lanes(nodes) if nodes else []
        there = waiting_or_running()
        for job_id, job in list(mine):
            if job_id in there and not set(job.nodes) <= set(nodes):
                # Its nodes are leaving: what runs may finish, what waits would wait for ever.
                subprocess.run(["scancel", "--state=PENDING", str(job_id)], check=False)
        queues = [[job_id for job_id, job in mine if job_id in there and set(job.nodes) & set(lane)] for lane in groups]
        while short := [place for place, queue in enumerate(queues) if len(queue) < AHEAD]:
            # Now and then a job over all lanes: it waits for both, and both wait for it.
            wide = len(groups) > 1 and len(short) == len(groups) and min(numbers) > 0 and dice.random() < 0.5
            taken = short if wide else short[:1]
            lane = [node for place in taken for node in groups[place]]
            number = 1 if wide else numbers[taken[0]]
            job = choose(dice, lane, nodes[-1], who, number)
            try:
                job_id = submit(job, sorted({queues[place][-1] for place in taken if queues[place]}), given.partition)
            except subprocess.CalledProcessError as error:
                print(f"SLURM refused {job.kind}: {error.stderr.strip()}", flush=True)
                break
            mine.append((job_id, job))
            for place in taken:
                numbers[place] += 1
                queues[place].append(job_id)
        while len(mine) > KEEP_OUTPUTS:
            job_id, job = mine.popleft()
            (Path("/home") / job.user / f"{job.kind}-{job_id}.out").unlink(missing_ok=True)
        time.sleep(LOOK_EVERY)


if __name__ == "__main__":
    main()
