"""Brings accounting into a running cluster, in its controller: waits until the cluster is ready and slurmdbd answers,
tells it of accounts, users and QOS, starts slurmctld anew with accounting, and then says whether slurmdbd answers.

slurmctld cannot begin with accounting: without slurmdbd it does not start for the first time, and with
limits it takes no job of anybody whose account it does not know yet. Jobs run on while it is started anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/run/services")
CONF = Path("/etc/qnib/accounting.conf")
KEPT = Path("/var/lib/slurm/accounting")
AGAIN = Path("/run/slurmctld.again")
CLUSTER_ID = Path("/var/lib/slurm/slurmctld/clustername")
ENVIRONMENT = {**os.environ, "SLURM_CONF": str(CONF)}
LOOK_EVERY = 5.0


def sacctmgr(*words: str) -> tuple[int, str]:
    """Exit status and what it said; 255 where slurmdbd kept it waiting."""
    try:
        done = subprocess.run(
            ["sacctmgr", "-i", *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=False,
        )
    except subprocess.TimeoutExpired:
        return 255, "slurmdbd does not answer within 20 s"
    return done.returncode, f"{done.stdout}\n{done.stderr}".strip()


def answers() -> bool:
    return sacctmgr("-n", "list", "cluster", "format=cluster")[0] == 0


def apply(commands: list[list[str]]) -> str:
    """Tell slurmdbd; what it refused, in words, or nothing. What an ``add`` finds there already is no trouble."""
    for words in commands:
        status, told = sacctmgr(*words)
        if status == 255 or (status and words[0] != "add"):
            return f"sacctmgr {' '.join(words)}: {' '.join(told.split())[-300:] or f'status {status}'}"
    return ""


def controller() -> list[int]:
    """slurmctld, and what it has forked off."""
    told = subprocess.run(["pgrep", "-x", "slurmctld"], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in told.split()]


def switch() -> None:
    """Start slurmctld anew with accounting."""
    there = controller()
    AGAIN.touch()
    if there:
        os.kill(there[0], signal.SIGTERM)
    while set(there) & set(controller()):
        time.sleep(0.02)


def up() -> bool:
    done = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False)
    return bool(re.search(r" is UP", done.stdout))


def tell(state: str, seconds: float | None = None, trouble: str = "") -> None:
    part = FOLDER / "accounting.part"
    part.write_text(json.dumps({"state": state, "seconds": seconds, "trouble": trouble, "at": time.time()}))
    part.replace(FOLDER / "accounting.json")


def wait(seen: object, pause: float = 0.1) -> None:
    while not seen():  # type: ignore[operator]
        time.sleep(pause)


def main() -> None:
    tell("starting")
    begin = FOLDER / "begin"
    wait(begin.exists)
    wait(answers, 0.2)
    commands = json.loads(Path("/etc/qnib/accounts.json").read_text())
    while trouble := apply(commands):
        sys.stderr.write(f"qnib: {trouble}\n")
        tell("starting", None, trouble)
        time.sleep(LOOK_EVERY)
    if not KEPT.exists():
        shutil.copy(CONF, "/etc/slurm/slurm.conf")
        # slurmctld has given the cluster a number of its own; slurmdbd gives it another, and is right.
        CLUSTER_ID.unlink(missing_ok=True)
        switch()
        KEPT.touch()
        wait(up)
    name = json.loads(Path("/etc/qnib/agent.json").read_text())["cluster"]

    def registered() -> bool:
        status, told = sacctmgr("-nP", "list", "cluster", f"name={name}", "format=controlhost")
        return status == 0 and bool(told.strip())

    wait(registered, 0.2)
    (FOLDER / "kept").touch()
    seconds = round(time.time() - begin.stat().st_mtime, 1)
    while True:
        status, told = sacctmgr("-n", "list", "cluster", "format=cluster")
        trouble = "" if status == 0 else f"slurmdbd does not answer: {' '.join(told.split())[-200:]}"
        tell("away" if trouble else "ready", seconds, trouble)
        time.sleep(LOOK_EVERY)


if __name__ == "__main__":
    main()
