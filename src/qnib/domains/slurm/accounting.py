"""What a job's tasks use on this node, from the cgroups SLURM made for them.

Three ways, the first that is there: the v1 tree (``…/slurm_<node>/uid_U/job_J/step_S/task_T``), the v2 tree
(``…/<node>_slurmstepd.scope/job_J/step_S/user/task_T``), and without any cgroup the children of the processes
titled ``slurmstepd: [J.S]``. Jobs come and go between two looks; what vanished is simply not told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from qnib.domains.host import cgroup
from qnib.domains.paths import segment

Points = Sequence[tuple[str, float]]
Task = tuple[str, str, str, float | None, float | None]
"""Job, step and task; seconds of CPU consumed so far; octets of memory."""

_CLOCK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def start_jobs(host: str) -> Callable[[], Points]:
    """CPU (from the second look on) and memory of each task at each call."""
    mounts = cgroup.roots()
    before: dict[tuple[str, str, str], tuple[float, float]] = {}
    node = segment(host)
    daemons = Stepds()

    def read() -> Points:
        points: list[tuple[str, float]] = []
        now = time.monotonic()
        seen: dict[tuple[str, str, str], tuple[float, float]] = {}
        for job, step, task, seconds, memory in tasks(mounts, host, daemons=daemons):
            base = f"slurm.job.{segment(job)}.{segment(step)}.{segment(task)}.{node}"
            if memory is not None:
                points.append((f"{base}.memory", memory))
            if seconds is None:
                continue
            seen[job, step, task] = now, seconds
            last = before.get((job, step, task))
            if last and now > last[0]:
                points.append((f"{base}.cpu", round(100 * max(0.0, seconds - last[1]) / (now - last[0]), 3)))
        before.clear()
        before.update(seen)
        return points

    return read


class Stepds:
    """SLURM's step daemons by the titles of their processes. A machine may have thousands of others, so only new ones
    are looked at, and all of them once in `ALL` calls, because numbers are given again."""

    ALL = 12

    def __init__(self, proc: str = "/proc") -> None:
        self.proc = proc
        self._others: set[str] = set()
        self._found: dict[str, tuple[str, str]] = {}
        self._calls = 0

    def find(self) -> dict[int, tuple[str, str]]:
        """Job and step by process number; the extern step does nothing, so not that one."""
        if self._calls % self.ALL == 0:
            self._others.clear()
            self._found.clear()
        self._calls += 1
        names = {name for name in os.listdir(self.proc) if name.isdigit()}  # noqa: PTH208 - pathlib costs
        self._others &= names
        self._found = {name: step for name, step in self._found.items() if name in names}
        for name in names - self._others - self._found.keys():
            title = cgroup.text(f"{self.proc}/{name}/cmdline").split("\0")[0]
            if title.startswith("slurmstepd: [") and "." in title:
                job, _, step = title[13:].partition("]")[0].partition(".")
                self._found[name] = job, step
            elif "slurm" not in title:  # what slurmd has just forked still has slurmd's title
                self._others.add(name)
        return {int(name): step for name, step in self._found.items() if step[1] != "extern"}


def tasks(
    mounts: dict[str, str], host: str, proc: str = "/proc", daemons: Stepds | None = None
) -> Iterator[Task]:
    """The tasks now running here, by the best way there is; tasks of the extern step do nothing, so not those."""
    found = False
    for way in (_v1(mounts, host), _v2(mounts.get("unified", ""), host)):
        for task in way:
            found = True
            yield task
        if found:
            return
    yield from _processes(daemons or Stepds(proc))


def folders(parent: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Sub-folders of `parent` named ``prefix…`` as (rest of the name, path)."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    except OSError:
        return
    for name in sorted(names):
        yield name[len(prefix):], f"{parent}/{name}"


def _v1(mounts: dict[str, str], host: str) -> Iterator[Task]:
    memory, cpu = mounts.get("memory", ""), mounts.get("cpuacct", "")
    for top in (f"slurm_{host}", "slurm"):
        base = f"{memory if memory and os.path.isdir(f'{memory}/{top}') else cpu}/{top}"  # noqa: PTH112
        for _, user in folders(base, "uid_"):
            for job, job_folder in folders(user, "job_"):
                for step, step_folder in folders(job_folder, "step_"):
                    if step == "extern":
                        continue
                    for task, folder in folders(step_folder, "task_"):
                        inner = folder[len(base):]
                        usage = cgroup.cpu_v1(f"{cpu}/{top}{inner}") if cpu else None
                        used = cgroup.memory_v1(f"{memory}/{top}{inner}").get("used") if memory else None
                        yield job, step, _task(task), usage[0] if usage else None, used


def _v2(root: str, host: str) -> Iterator[Task]:
    if not root:
        return
    for parent in (f"{root}/system.slice", root):
        for scope in (f"{host}_slurmstepd.scope", "slurmstepd.scope"):
            for job, job_folder in folders(f"{parent}/{scope}", "job_"):
                for step, step_folder in folders(job_folder, "step_"):
                    if step == "extern":
                        continue
                    for task, folder in folders(f"{step_folder}/user", "task_"):
                        usage = cgroup.cpu_v2(folder)
                        yield job, step, _task(task), usage[0] if usage else None, cgroup.memory_v2(folder).get("used")


def _task(name: str) -> str:
    """A batch script's only task is called special."""
    return "0" if name == "special" else name


def _processes(daemons: Stepds) -> Iterator[Task]:
    """Tasks as the children of slurmstepd; their descendants' CPU time and memory count as theirs."""
    steps, proc = daemons.find(), daemons.proc
    if not steps:
        return
    parents: dict[int, int] = {}
    usage: dict[int, tuple[float, float]] = {}
    for name in os.listdir(proc):  # noqa: PTH208 - called every few seconds on a node, pathlib costs
        if not name.isdigit():
            continue
        fields = cgroup.text(f"{proc}/{name}/stat").rpartition(")")[2].split()
        if len(fields) < 22:
            continue
        pid = int(name)
        parents[pid] = int(fields[1])
        # Own time and that of children already gone, in ticks; resident pages.
        usage[pid] = sum(int(field) for field in fields[11:15]) / _CLOCK, float(int(fields[21]) * _PAGE)
    total: dict[int, tuple[float, float]] = {}
    for pid, (seconds, memory) in usage.items():
        top = pid
        while parents.get(top, 0) not in steps and top in parents:
            top = parents[top]
        if top in parents and pid not in steps:
            before = total.get(top, (0.0, 0.0))
            total[top] = before[0] + seconds, before[1] + memory
    rank: dict[int, int] = {}
    for top in sorted(total):
        stepd = parents[top]
        number = rank.get(stepd, 0)
        rank[stepd] = number + 1
        yield (*steps[stepd], str(number), *total[top])
