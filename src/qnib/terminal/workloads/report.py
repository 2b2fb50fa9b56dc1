"""How a job tells the world about itself: a line to syslog under its own name, and the same to its output."""

from __future__ import annotations

import os
import subprocess
import time


def say(text: str, *, severity: str = "user.info") -> None:
    """One line as ``slurm_<jobid>``. A node without a syslog listener loses the line, never the job."""
    print(text, flush=True)
    job = os.environ.get("SLURM_JOB_ID", "0")
    subprocess.run(["logger", "-p", severity, "-t", f"slurm_{job}", "--", text], check=False, stderr=subprocess.DEVNULL)


class Progress:
    """Says ``progress 31/100 rate 1.9 it/s`` every `interval` seconds and at the end."""

    def __init__(self, total: int, interval: float = 2.0, unit: str = "it/s") -> None:
        self.total, self.interval, self.unit = total, interval, unit
        self._said_at = time.monotonic()
        self._said_done = 0

    def step(self, done: int) -> None:
        now = time.monotonic()
        if (now - self._said_at < self.interval and done < self.total) or done == self._said_done:
            return
        rate = (done - self._said_done) / max(now - self._said_at, 1e-9)
        say(f"progress {done}/{self.total} rate {rate:.1f} {self.unit}")
        self._said_at, self._said_done = now, done
