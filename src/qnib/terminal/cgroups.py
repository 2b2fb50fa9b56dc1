"""Chooses how memory and CPU limits of nodes and jobs are enforced on this host, and makes the cgroups for it.

Each node gets a directory of its own, on cgroup v1 (and hybrid) one below every controller, which is bound into
its container, so that slurmd can make cgroups for jobs without any privilege. The node's limit sits one
level above what is bound: root inside the container cannot reach it. docs/limits.md has the whole ladder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from qnib.errors import Unavailable

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpu", "cpuacct", "cpuset", "freezer")
"""What slurmd's cgroup/v1 plugin asks for, and `cpu` for the node's own limit."""

V2_CONTROLLERS = ("cpu", "memory", "pids")
"""The same on cgroup v2."""

INNER = "in"

JOBS = "slurm_jobs"
"""Below it, on cgroup v1, prolog.sh makes ``job_<id>_<cores>`` with the controller cpu, which SLURM does not use."""

SHARES = 8 * 1024
"""CPU weight of a whole cluster. The kernel weighs a group like one process, and a busy machine has many."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of the ladder. `jobs_limited`: SLURM holds every job to its memory and accounts by cgroup."""

    name: str
    jobs_limited: bool
    sentence: str


_ALL = "SLURM holds each job to its memory and cores in cgroups of its own; nodes are limited above them"
V1 = Rung("cgroup-v1", True, _ALL)
V1_JOINED = Rung(
    "cgroup-v1-joined", True,
    "SLURM holds each job to its memory in a cgroup of its own, but not to its cores; nodes are limited above them",
)
"""Where the controllers cpu and cpuacct are one hierarchy: SLURM's plugin puts the tasks there itself."""
V2 = Rung("cgroup-v2", True, _ALL)
NODES_ONLY = Rung("node-limits", False, "the engine limits each node; jobs share their node's limit")
DENSE = Rung(
    "dense", False, "fifty nodes share a container, which the engine limits; no node and no job is held to anything"
)
"""Not of the ladder: what a cluster has that trades limits for numbers."""


def choose(cgroup_driver: str, root: Path = ROOT) -> Rung:
    """The best rung this host allows. `cgroup_driver` is the engine's: with systemd it owns the tree, not we."""
    if cgroup_driver != "cgroupfs":
        return NODES_ONLY
    writable = all((root / c).is_dir() and os.access(root / c, os.W_OK) for c in CONTROLLERS)
    if writable and (root / "memory" / "memory.limit_in_bytes").exists():
        return V1_JOINED if (root / "cpu" / "cpuacct.usage").exists() else V1
    # Anywhere but at the real root (which has no type) controllers can be handed on only where no process lives.
    given = root / ("cgroup.subtree_control" if (root / "cgroup.type").exists() else "cgroup.controllers")
    if os.access(root, os.W_OK) and set(V2_CONTROLLERS) <= _words(given):
        return V2
    return NODES_ONLY


def _words(file: Path) -> set[str]:
    return set(file.read_text().split()) if file.exists() else set()


def parent(cluster: str, host: str) -> str:
    """The engine's ``cgroup_parent`` for one container."""
    return f"/qnib-{cluster}/{host}/{INNER}"


def binds(rung: Rung, cluster: str, host: str) -> list[tuple[str, str, str]]:
    """(host path, path inside, mode) of the directories slurmd may write to."""
    inner = parent(cluster, host).lstrip("/")
    if rung is V2:
        # At the very path it has outside: slurmd puts together the mount point and what /proc/1/cgroup says.
        return [(str(ROOT / inner), str(ROOT / inner), "rw")]
    return [(str(ROOT / c / inner), str(ROOT / c), "rw") for c in CONTROLLERS]


def make(
    rung: Rung, cluster: str, host: str, *, memory: int, cpus: float, slurmd: bool = True, root: Path = ROOT,
) -> None:
    """Directories and limits of one container; `memory` in bytes (0: none), `cpus` in cores (0: none).

    `slurmd`: jobs will run in it.
    """
    if rung is V2:
        _make_v2(cluster, host, memory, cpus, root)
        if slurmd:
            _make_scope(root / parent(cluster, host).lstrip("/"), host)
    else:
        _make_v1(cluster, host, memory, cpus, root)


def _make_v1(cluster: str, host: str, memory: int, cpus: float, root: Path) -> None:
    outer, inner = f"qnib-{cluster}/{host}", parent(cluster, host).lstrip("/")
    for controller in CONTROLLERS:
        (root / controller / inner).mkdir(parents=True, exist_ok=True)
    (root / "cpu" / f"qnib-{cluster}" / "cpu.shares").write_text(str(SHARES))
    top = root / "cpuset"
    for part in (f"qnib-{cluster}", outer, inner):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (top / part / name).write_text((top / part).parent.joinpath(name).read_text())
        (top / part / "cgroup.clone_children").write_text("1")
    if memory:
        # The inner value is for reading by the agent; the outer one is the wall.
        for part in (outer, inner):
            (root / "memory" / part / "memory.limit_in_bytes").write_text(str(memory))
    if cpus:
        for part in (outer, inner):
            (root / "cpu" / part / "cpu.cfs_period_us").write_text("100000")
            (root / "cpu" / part / "cpu.cfs_quota_us").write_text(str(int(cpus * 100_000)))


def set_cpus(rung: Rung, cluster: str, host: str, cpus: float, root: Path = ROOT) -> None:
    """Change what a node may use, now; `cpus` in cores. Raises Unavailable where the engine's limits cannot change."""
    if not rung.jobs_limited:
        raise Unavailable(
            "Nodes here are limited by the engine, once and for all.", where=f"rung {rung.name}",
            try_next="docs/limits.md says what another rung needs.",
        )
    wall = f"qnib-{cluster}/{host}"
    quota = max(1000, int(cpus * 100_000))
    if rung is V2:
        (root / wall / "cpu.max").write_text(f"{quota} 100000")
    else:
        # No part may be given more than what is around it, so the order depends on the direction.
        top = root / "cpu" / wall
        parts = [(top, quota), (top / INNER, quota)]
        for job in (top / INNER / JOBS).glob("job_*_*"):
            parts.append((job, min(quota, 100_000 * int(job.name.rpartition("_")[2]))))
        if quota < int((top / "cpu.cfs_quota_us").read_text()):
            parts.reverse()
        for part, most in parts:
            with contextlib.suppress(FileNotFoundError):  # a job that ended
                (part / "cpu.cfs_quota_us").write_text(str(most))


def _make_v2(cluster: str, host: str, memory: int, cpus: float, root: Path) -> None:
    outer, inner = root / f"qnib-{cluster}" / host, root / parent(cluster, host).lstrip("/")
    _hand_on(root)
    for part in (outer.parent, outer, inner):
        part.mkdir(exist_ok=True)
        _hand_on(part)
    for part in (outer, inner):  # as above: a wall, and its height for the agent to read
        if memory:
            (part / "memory.max").write_text(str(memory))
            if (part / "memory.swap.max").exists():
                # A job over its memory would else be moved to the host's swap instead of being ended.
                (part / "memory.swap.max").write_text("0")
        if cpus:
            (part / "cpu.max").write_text(f"{int(cpus * 100_000)} 100000")


def _hand_on(part: Path) -> None:
    """Let the children have the controllers. Only a cgroup without processes of its own can, which all of ours are."""
    # cpuset limits nothing here, but slurmd calls it an error three times over when it is not there.
    for wanted in ((*V2_CONTROLLERS, "cpuset"), V2_CONTROLLERS):
        if set(wanted) <= _words(part / "cgroup.subtree_control"):
            return
        try:
            (part / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in wanted))
        except OSError:
            if wanted == V2_CONTROLLERS:
                raise
        else:
            return


def _make_scope(inner: Path, host: str) -> None:
    """Where slurmd puts its jobs. Left to it, slurmd complains of each part of the tree it cannot write to."""
    place = inner / "system.slice"
    place.mkdir(exist_ok=True)
    _hand_on(place)
    (place / f"{host}_slurmstepd.scope").mkdir(exist_ok=True)


def remove(cluster: str, host: str = "", *, patience: float = 10.0, root: Path = ROOT) -> None:
    """Remove what `make` made for `host` (empty: for the whole cluster), and what grew below it.

    Processes left inside (a container that was killed hard) are ended. Raises Unavailable when a directory
    is still busy after `patience` seconds.
    """
    name = f"qnib-{cluster}/{host}" if host else f"qnib-{cluster}"
    # An engine may use more controllers than we asked for (pids, blkio, devices, systemd).
    tops = [p / name for p in root.iterdir() if (p / name).is_dir()] if root.is_dir() else []
    tops += [root / name] if (root / name).is_dir() else []
    deadline = time.monotonic() + patience
    while True:
        tops = [top for top in tops if not _prune(top)]
        if not tops:
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                "A cgroup of the cluster is still in use.", where=str(tops[0]),
                try_next="look at its cgroup.procs, then run `qnib down` again.",
            )
        time.sleep(0.05)


def _prune(top: Path) -> bool:
    """Remove the tree from its leaves up; False while something still lives in it."""
    gone = True
    for directory, _, _ in os.walk(top, topdown=False):
        path = Path(directory)
        try:
            procs = path / "cgroup.procs"
            for pid in procs.read_text().split() if procs.exists() else []:
                os.kill(int(pid), signal.SIGKILL)
            path.rmdir()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            gone = False
    return gone
