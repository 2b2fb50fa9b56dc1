"""Submits the jobs of a trace at their times. Runs in the controller as root; `qnib replay` starts it and listens.

    python3 replay.py --partition all <PLAN

The plan is one line: a list of jobs as `qnib.terminal.replay.fitting.Planned`. On the output is a line of JSON for
each submission (how late it was), refusal and end, and how many run and wait. When the input ends before the jobs have,
all of them are cancelled.
"""

from __future__ import annotations

import argparse
import heapq
import json
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loop import as_user

SCRIPT = Path(__file__).with_name("replayed.sh")
LOOK_EVERY, TELL_EVERY = 0.5, 3.0
OVER = frozenset((
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
))

Job = dict[str, Any]


def tell(**told: object) -> None:
    print(json.dumps(told), flush=True)


def options(job: Job, partition: str) -> list[str]:
    """What sbatch is told of a job."""
    minutes = int(job["seconds"] / 60) + 10
    found = [
        f"--job-name=replay-{job['number']}", f"--partition={partition}", f"--chdir=/home/{job['user']}",
        "--output=/dev/null", "--no-requeue", f"--time={minutes}",
        f"--ntasks={job['tasks']}", f"--nodes={job['nodes']}",
    ]
    found += ["--hold"] if job["held"] else []
    found += ["--mem=40"] if job["outcome"] == "OUT_OF_MEMORY" else []
    return found


class Replay:
    def __init__(self, jobs: list[Job], partition: str) -> None:
        self.jobs = {job["number"]: job for job in jobs}
        self._order = {number: place for place, number in enumerate(self.jobs)}
        self._partition = partition
        self._began = time.monotonic()
        self.due: list[tuple[float, int, str]] = []
        """When, place in the trace, number."""
        self._behind: dict[str, list[str]] = {}
        """By the job they come after: those that wait for its end."""
        for number, job in self.jobs.items():
            if job["after"]:
                self._behind.setdefault(job["after"], []).append(number)
            else:
                self._plan(number, job["at"])
        self.open: dict[int, str] = {}
        """Numbers of the trace by SLURM's, of those submitted and not ended."""
        self._cancel: list[tuple[float, int, str]] = []
        """When, SLURM's number, user: held jobs whose time has come."""
        self._told, self._told_at = (0, 0), 0.0

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def _plan(self, number: str, at: float) -> None:
        heapq.heappush(self.due, (at, self._order[number], number))

    def submit_due(self) -> None:
        while self.due and self.due[0][0] <= self.now:
            at, _, number = heapq.heappop(self.due)
            job = self.jobs[number]
            ends = [f"{job['seconds']:.3f}", job["outcome"], str(job["exit_code"])]
            command = ["sbatch", "--parsable", *options(job, self._partition), str(SCRIPT), *ends]
            late = self.now - at
            try:
                made = int(as_user(job["user"], command, "").split(";")[0])
            except subprocess.CalledProcessError as error:
                tell(number=number, why=(error.stderr or "").strip()[-200:])
                self._ended(number)
                continue
            self.open[made] = number
            if job["held"]:
                heapq.heappush(self._cancel, (self.now + job["seconds"], made, job["user"]))
            tell(number=number, job=made, late=round(late, 3))

    def cancel_due(self) -> None:
        while self._cancel and self._cancel[0][0] <= self.now:
            _, job, user = heapq.heappop(self._cancel)
            as_user(user, ["scancel", str(job)], "")

    def look(self) -> None:
        """See which have ended, and let those that come after them come."""
        if not self.open:
            return
        told = subprocess.run(
            ["squeue", "-h", "-a", "-t", "all", "-o", "%A %T"], capture_output=True, text=True, check=False,
        )
        if told.returncode:  # the controller is busy: at the next look
            return
        states = {int(job): state for job, state in (line.split() for line in told.stdout.splitlines())}
        for job, number in list(self.open.items()):
            if (state := states.get(job, "")) in OVER:
                del self.open[job]
                tell(number=number, state=state)
                self._ended(number)
        known = [states.get(job) for job in self.open]
        counts = known.count("RUNNING") + known.count("COMPLETING"), known.count("PENDING")
        if counts != self._told or self.now > self._told_at + TELL_EVERY:
            self._told, self._told_at = counts, self.now
            tell(running=counts[0], waiting=counts[1])

    def _ended(self, number: str) -> None:
        for other in self._behind.pop(number, []):
            self._plan(other, self.now + self.jobs[other]["think"])

    def stop(self) -> None:
        """Cancel what is there, and see it end."""
        self.due.clear()
        self._behind.clear()
        self._cancel.clear()
        numbers = [str(job) for job in self.open]
        for start in range(0, len(numbers), 200):
            subprocess.run(["scancel", "--quiet", *numbers[start : start + 200]], check=False)
        deadline = time.monotonic() + 20
        while self.open and time.monotonic() < deadline:
            self.look()
            time.sleep(LOOK_EVERY)

    def wait(self) -> bool:
        """Until there is something to do; False when the input has ended."""
        times = [self.due[0][0]] if self.due else []
        times += [self._cancel[0][0]] if self._cancel else []
        pause = max(0.0, min([self.now + LOOK_EVERY, *times]) - self.now)
        readable, _, _ = select.select([sys.stdin], [], [], pause)
        return not readable or bool(sys.stdin.read(1))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--partition", default="all")
    given = arguments.parse_args()
    replay = Replay(json.loads(sys.stdin.readline() or "[]"), given.partition)
    looked = 0.0
    while replay.due or replay.open:
        replay.submit_due()
        replay.cancel_due()
        if replay.now >= looked + LOOK_EVERY:
            looked = replay.now
            replay.look()
        if not replay.wait():
            replay.stop()
            return


if __name__ == "__main__":
    main()
