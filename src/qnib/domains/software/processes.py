"""The processes of SLURM's jobs on this machine, and what each of them has mapped and was given.

By the cgroups SLURM made (v1 and v2), else by the children of ``slurmstepd: [J.S]``. What belongs to another user the
kernel shows to that user: where the agent lacks CAP_SYS_PTRACE it becomes the user for the time of a read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from qnib.domains.host.cgroup import text
from qnib.domains.slurm.accounting import Stepds, folders

Process = tuple[str, str, int]
"""Job, step, process number."""


def by_cgroup(mounts: dict[str, str], host: str) -> list[Process]:
    """All processes of jobs now running here, but those of the extern step: a few folders are listed."""
    found = list(_v1(mounts.get("memory") or mounts.get("cpuacct", ""), host))
    return found or list(_v2(mounts.get("unified", ""), host))


def _v1(mount: str, host: str) -> Iterator[Process]:
    if not mount:
        return
    for top in (f"slurm_{host}", "slurm"):
        for _, user in folders(f"{mount}/{top}", "uid_"):
            yield from _below(user, "")


def _v2(root: str, host: str) -> Iterator[Process]:
    if not root:
        return
    for parent in (f"{root}/system.slice", root):
        for scope in (f"{host}_slurmstepd.scope", "slurmstepd.scope"):
            yield from _below(f"{parent}/{scope}", "/user")


def _below(folder: str, inner: str) -> Iterator[Process]:
    for job, jobs in folders(folder, "job_"):
        for step, steps in folders(jobs, "step_"):
            if step == "extern":
                continue
            for _, task in folders(steps + inner, "task_"):
                for pid in text(f"{task}/cgroup.procs").split():
                    if pid != "0":  # one that this machine's processes cannot see
                        yield job, step, int(pid)


def by_parent(daemons: Stepds) -> Iterator[Process]:
    """The same where SLURM makes no cgroups: by the parents of all processes, where there is a step daemon at all."""
    steps = daemons.find()
    if not steps:
        return
    parents: dict[int, int] = {}
    for name in os.listdir(daemons.proc):  # noqa: PTH208 - called every few seconds on a node, pathlib costs
        fields = text(f"{daemons.proc}/{name}/stat").rpartition(")")[2].split() if name.isdigit() else []
        if len(fields) > 1:
            parents[int(name)] = int(fields[1])
    for pid, parent in parents.items():
        top, seen = parent, 0
        while top not in steps and top in parents and seen < 100:
            top, seen = parents[top], seen + 1
        if top in steps and pid not in steps:
            yield (*steps[top], pid)


def command(pid: int, proc: str = "/proc") -> str:
    """The program's name as the kernel keeps it, 15 characters; empty when it has ended."""
    return text(f"{proc}/{pid}/comm").strip()


@contextmanager
def as_owner(pid: int, proc: str = "/proc") -> Iterator[None]:
    """For the time of a read be who owns that process, where we are root. Raises OSError when it has ended.

    Only the effective IDs change: nobody but root may signal or trace us meanwhile.
    """
    owner = os.stat(f"{proc}/{pid}")  # noqa: PTH116 - pathlib costs
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    try:
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(0)
    finally:
        os.setegid(group)
