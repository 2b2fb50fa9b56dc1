"""The agent's looks at running jobs: at some seconds of age, a few times more while a job starts, then rarely.

It tells of what was loaded at any of these looks, so that hosts agree although they are not looked at in the same
moment. Of a user's environment it takes LOADEDMODULES and the names container engines set, nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from qnib.domains.host import cgroup
from qnib.domains.slurm.accounting import Stepds
from qnib.domains.software import processes
from qnib.domains.software.elf import build_id

EVERY = 3.0
"""Seconds between two looks at which jobs there are: a few folders are listed."""
SCAN = 12.0
"""The same where SLURM makes no cgroups, and all processes of the machine have to be looked at."""
AGES = (2.0, 8.0, 30.0, 60.0)
THEN = 300.0
"""Ages of a job, in seconds, at which its processes are looked at, and how often afterwards."""
AGAIN = 600.0
"""Seconds after which the same is told again."""
ALIKE, MOST = 3, 12
"""Processes of one program in a step, and of one job, that are looked at: ranks are alike."""
LARGEST, LONGEST = 2000, 300
"""Most libraries of a process or modules of a job, and characters of a name: users write what is read here."""
KEPT = 4000
"""Files whose build and package are remembered."""

LAUNCHERS = frozenset({
    "bash", "sh", "dash", "zsh", "ksh", "csh", "tcsh", "tini", "srun", "mpirun", "mpiexec", "mpiexec.hydra", "prterun",
    "prte", "prted", "orterun", "orted", "hydra_pmi_proxy", "hydra_bstrap_pr", "pmi_proxy", "slurmstepd",
    "slurm_script",
})
"""Programs that only start the job's own: the host of the batch script has them, the others have not."""
CONTAINERS = (
    ("apptainer", "APPTAINER_CONTAINER"), ("singularity", "SINGULARITY_CONTAINER"), ("shifter", "SHIFTER_IMAGE"),
    ("qnib", "QNIB_JOB_IMAGE"),
)
"""Engines for jobs, and the variable in which each tells the image, in the order they are asked for."""


@dataclass(slots=True)
class _Job:
    """What is known of one job on this machine."""

    first: float
    looks: int = 0
    next: float = 0.0
    libraries: dict[str, dict[str, str]] = field(default_factory=dict)
    """Path and build, by where they were seen: in steps, or only in the batch script."""
    modules: list[str] = field(default_factory=list)
    container: tuple[str, str] = ("", "")


def start_loaded(host: str) -> Callable[[], str | None]:
    """The text of `loaded.parse_loaded` when it is another than before, or ten minutes have passed."""
    return Watch(host).read


class Watch:
    """Follows the jobs of this machine. `proc` and `now` are for tests."""

    def __init__(self, host: str, proc: str = "/proc", now: Callable[[], float] = time.monotonic) -> None:
        self._host, self._proc, self._now = host, proc, now
        self._mounts = cgroup.roots()
        self._jobs: dict[str, _Job] = {}
        self._builds: dict[tuple[str, str], str] = {}
        self._owners: dict[str, str] = {}
        self._told, self._told_at = "", -AGAIN
        self._daemons = Stepds(proc)
        self._scan_at = -SCAN

    def read(self) -> str | None:
        now = self._now()
        found = processes.by_cgroup(self._mounts, self._host)
        if not found:
            if now < self._scan_at + SCAN:
                return None
            self._scan_at = now
            found = list(processes.by_parent(self._daemons))
        running: dict[str, list[tuple[str, int]]] = {}
        for number, step, pid in found:
            running.setdefault(number, []).append((step, pid))
        self._jobs = {number: self._jobs.get(number) or _Job(now) for number in running}
        for number, job in self._jobs.items():
            if now >= (job.next or job.first + AGES[0]):
                self._look(job, running[number])
                job.looks += 1
                ahead = next((age for age in AGES[job.looks:] if job.first + age > now), 0.0)
                job.next = job.first + ahead if ahead else now + THEN
        text = self._text()
        if text == self._told and (now - self._told_at < AGAIN or not self._jobs):
            return None
        self._told, self._told_at = text, now
        return text

    def _look(self, job: _Job, processes_of: Sequence[tuple[str, int]]) -> None:
        """Look at some of the job's processes; those that end meanwhile are left out."""
        seen: dict[tuple[str, str], int] = {}
        looked = 0
        for step, pid in processes_of:
            program = processes.command(pid, self._proc)
            if not program or program in LAUNCHERS or looked >= MOST or seen.get((step, program), 0) >= ALIKE:
                continue
            try:
                with processes.as_owner(pid, self._proc):
                    found = self._maps(pid)
                    modules, container = environment(_octets(f"{self._proc}/{pid}/environ"))
            except OSError:
                continue
            seen[step, program] = seen.get((step, program), 0) + 1
            looked += 1
            where = "batch" if step == "batch" else "steps"
            job.libraries.setdefault(where, {}).update(found)
            job.modules = modules or job.modules
            job.container = container if container[0] else job.container
        if job.looks >= 2:  # short jobs are not worth a look at dpkg's lists
            self._owners = owners(self._owners, {path for told in job.libraries.values() for path in told})

    def _maps(self, pid: int) -> dict[str, str]:
        """Build by path of the libraries that a process has mapped."""
        found: dict[str, str] = {}
        if len(self._builds) > KEPT:
            self._builds.clear()
        for path, file in mapped(_octets(f"{self._proc}/{pid}/maps").decode(errors="replace")):
            build = self._builds.get((path, file))
            if build is None:
                try:  # as the process sees the file: it may live in a container of its own
                    build = build_id(f"{self._proc}/{pid}/root{path}")
                except OSError:
                    build = ""
                self._builds[path, file] = build
            found[path] = build
        return found

    def _text(self) -> str:
        """Jobs that have not been looked at yet, or have nothing but a launcher, are not told of."""
        parts: list[str] = []
        count = 0
        for number in sorted(self._jobs, key=lambda name: (len(name), name)):
            job = self._jobs[number]
            libraries = job.libraries.get("steps") or job.libraries.get("batch")
            if not libraries:
                continue
            count += 1
            parts.append(f"job\t{number}")
            parts += [f"module\t{name}" for name in job.modules]
            if job.container[0]:
                parts.append("\t".join(("container", *job.container)))
            parts += [f"library\t{path}\t{libraries[path]}\t{self._owners.get(path, '')}" for path in sorted(libraries)]
        return "\n".join([f"jobs\t{count}", *parts]) + "\n"


def mapped(maps: str) -> Iterable[tuple[str, str]]:
    """Path and file (device and number) of the libraries in the text of a process' maps: code, with .so in its name."""
    found: dict[tuple[str, str], None] = {}
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6 or "x" not in fields[1]:
            continue
        path = fields[5].removesuffix(" (deleted)")
        if path.startswith("/") and ".so" in path.rpartition("/")[2] and path.isprintable() and len(found) < LARGEST:
            found[path, f"{fields[3]}:{fields[4]}"] = None
    return found


def environment(raw: bytes) -> tuple[list[str], tuple[str, str]]:
    """The modules a process was started with, and engine and image of the container that it says it is in."""
    told = dict(part.partition(b"=")[::2] for part in raw.split(b"\0"))
    names = told.get(b"LOADEDMODULES", b"").decode(errors="replace").split(":")
    modules = [name for name in names if name.isprintable() and 0 < len(name) < LONGEST and " " not in name][:LARGEST]
    for engine, name in CONTAINERS:
        image = " ".join(told.get(name.encode(), b"").decode(errors="replace").split())
        if image.isprintable() and 0 < len(image) < LONGEST:
            return modules, (engine, image)
    return modules, ("", "")


def owners(known: dict[str, str], paths: Iterable[str], info: str = "/var/lib/dpkg/info") -> dict[str, str]:
    """`known` with the packages that own these files, by dpkg's own lists; empty for one that belongs to none."""
    wanted = {path for path in paths if path not in known}
    if not wanted:
        return known
    found = {} if len(known) > KEPT else dict(known)
    # What was moved from /lib to /usr/lib keeps its old name in the lists.
    names = {path: path for path in wanted} | {path.removeprefix("/usr"): path for path in wanted}
    try:
        lists = [entry.path for entry in os.scandir(info) if entry.name.endswith(".list")]
    except OSError:
        lists = []
    for file in lists:
        for line in names.keys() & set(cgroup.text(file).splitlines()):
            found[names[line]] = file.rpartition("/")[2].removesuffix(".list").partition(":")[0]
    return found | {path: "" for path in wanted if path not in found}


def _octets(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs
        return file.read()
