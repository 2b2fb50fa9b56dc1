"""`qnib doctor`: what this machine lacks for a virtual cluster, and a proof of each limit on a small one."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from qnib.errors import QnibError
from qnib.settings import Settings
from qnib.terminal import attendant, cgroups, mirror, rates, record
from qnib.terminal.blueprint import Blueprint, Fabric, Nodes
from qnib.terminal.cgroups import V1, V2, Rung
from qnib.terminal.engines import CAPABILITIES, ContainerEngine, open_engine
from qnib.terminal.hosts import engine_of
from qnib.terminal.plan import Plan
from qnib.terminal.starting import Say, up
from qnib.terminal.stopping import down

State = Literal["holds", "does not hold", "not on this rung", "missing"]

MEMORY, DISK, RATE = 192, 16, 50 << 10
"""Of the nodes of the proof: MiB, MiB, octets a second."""

NEEDED = (
    ("mmdebstrap", "mmdebstrap", "builds the cluster's image"),
    ("nft", "nftables", "counts what nodes send each other: without it the fabric carries no traffic"),
    ("tc", "iproute2", "slows a node's network"),
    ("nsenter", "util-linux", "slows a node's network"),
)
"""(program, Debian package, what for) beside what the engine itself asks for."""


@dataclass(frozen=True, slots=True)
class Row:
    """`state`: it holds, does not, is said not to on this rung, or is missing with a way to get it in `told`."""

    check: str
    state: State
    told: str

    @property
    def well(self) -> bool:
        return self.state in ("holds", "not on this rung")


def examine(settings: Settings, say: Say = lambda step: None) -> Iterator[Row]:
    """First what is there, then, where nothing is missing, a cluster of two nodes that is taken down again."""
    missing = False
    for row in _there(settings):
        missing |= not row.well
        yield row
    if missing:
        return
    name = f"doctor{os.getpid()}"
    two = [Nodes(count=1, cpus=cpus, memory=MEMORY, disk=DISK) for cpus in (2, 1)]
    try:
        cluster = up(settings, Blueprint(nodes=two, fabric=Fabric(hosts=1)), name=name, say=say)
        engine = engine_of(settings, cluster)
        try:
            yield from Proof(settings, engine, record.plan_of(cluster), record.rung_of(cluster)).rows(say)
        finally:
            engine.close()
    finally:
        down(settings, name=name)


def _there(settings: Settings) -> Iterator[Row]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        engine = open_engine(settings)
    except QnibError as error:
        yield Row("a container engine", "missing", f"{error.what} {error.try_next}")
        return
    try:
        rung = cgroups.choose(engine.cgroup_driver())
        yield Row("a container engine", "holds", engine.name)
        state: State = "holds" if rung.jobs_limited else "not on this rung"
        yield Row("limits of jobs", state, f"{rung.name}: {rung.sentence}")
    finally:
        engine.close()
    for program, package, use in NEEDED:
        if found := shutil.which(program, path=path):
            yield Row(program, "holds", found)
        else:
            yield Row(program, "missing", f"apt-get install {package}; it {use}")
    if mirror.keyring() is None:
        yield Row("Debian's archive keys", "missing", "apt-get install debian-archive-keyring")


class Proof:
    """Each `_…` gives what was seen, and whether the limit held."""

    def __init__(self, settings: Settings, engine: ContainerEngine, plan: Plan, rung: Rung) -> None:
        self._settings, self._engine, self._plan, self._rung = settings, engine, plan, rung

    def rows(self, say: Say) -> Iterator[Row]:
        jobs = self._rung.jobs_limited
        cores = self._rung in (V1, V2)
        tries: list[tuple[str, bool, str, Callable[[], tuple[bool, str]]]] = [
            ("a job over its memory is ended, its neighbour lives", jobs, "jobs share the node's memory", self._memory),
            ("a one-core job uses one core", cores, "jobs share the node's cores", self._core),
            ("a node cannot use more memory than its own", True, "", self._node_memory),
            ("a node cannot use more cores than its own", True, "", self._node_cores),
            ("a node's disk is as large as was said", True, "", self._disk),
            ("a node's network gives what was said", True, "", self._rate),
            ("no container has more rights than it needs", True, "", self._rights),
            ("what nodes send each other is counted", True, "", self._counted),
        ]
        for check, promised, otherwise, look in tries:
            if not promised:
                yield Row(check, "not on this rung", f"{self._rung.name}: {otherwise}")
                continue
            say(check)
            try:
                held, told = look()
            except (QnibError, ValueError) as error:
                held = False
                told = f"{error.what} {error.try_next}" if isinstance(error, QnibError) else str(error)
            yield Row(check, "holds" if held else "does not hold", told)

    def _run(self, host: str, *command: str) -> tuple[int, str]:
        status, told = self._engine.run_inside(self._plan.container(host), command)
        return status, told.strip()

    def _memory(self) -> tuple[bool, str]:
        greedy = "x = bytearray(120 << 20); x[::4096] = b'1' * len(x[::4096])"
        script = (
            "sbatch -Q --parsable -n1 --mem=40 -w compute0 -o /dev/null -J neighbour --wrap 'sleep 300' >/dev/null; "
            "for i in $(seq 100); do [ -n \"$(squeue -h -n neighbour -t running -o %A)\" ] && break; sleep 0.1; done; "
            f"srun --mpi=none -n1 --mem=30 -w compute0 -J greedy python3 -c \"{greedy}\" >/dev/null 2>&1; "
            "for i in $(seq 100); do [ -z \"$(squeue -h -n greedy -o %A)\" ] && break; sleep 0.1; done; "
            "squeue -h -t all -n greedy,neighbour -o '%j %T'; scancel -n neighbour"
        )
        told = dict(line.split() for line in self._run("controller", "bash", "-c", script)[1].splitlines())
        held = told.get("greedy") == "OUT_OF_MEMORY" and told.get("neighbour") == "RUNNING"
        return held, f"asked for 30 MiB and took 120: {told.get('greedy')}; beside it: {told.get('neighbour')}"

    def _core(self) -> tuple[bool, str]:
        return self._busy("controller", "srun", "--mpi=none", "-n1", "-c1", "-w", "compute1")

    def _node_cores(self) -> tuple[bool, str]:
        return self._busy("compute1")

    def _busy(self, host: str, *before: str) -> tuple[bool, str]:
        """Two busy processes for two seconds."""
        busy = (
            "import os, time\n"
            "before, end = sum(os.times()[:4]), time.time() + 2\n"
            "twin = os.fork()\n"
            "while time.time() < end: pass\n"
            "twin or os._exit(0)\n"
            "os.wait(); print(sum(os.times()[:4]) - before, time.time() - end + 2)\n"
        )
        status, told = self._run(host, *before, "python3", "-c", busy)
        if status:
            return False, told[-200:]
        used, wall = map(float, told.split())
        return used < 1.15 * wall + 0.1, f"two busy processes used {used:.1f} s of CPU in {wall:.1f} s, of one core"

    def _node_memory(self) -> tuple[bool, str]:
        take = MEMORY + 64
        greedy = (
            "open('/proc/self/oom_score_adj', 'w').write('1000')\n"  # it, not slurmd
            f"x = bytearray({take} << 20); x[::4096] = b'1' * len(x[::4096])"
        )
        status, _ = self._run("compute1", "python3", "-c", greedy)
        ended = status == 137  # by signal 9
        return ended, f"took {take} MiB of {MEMORY}: {'ended by the kernel' if ended else f'status {status}'}"

    def _disk(self) -> tuple[bool, str]:
        _, told = self._run("compute1", "sh", "-c", f"dd if=/dev/zero of=/tmp/d bs=1M count={2 * DISK} 2>&1; rm /tmp/d")
        return "No space left" in told, f"wrote {2 * DISK} MiB to {DISK}: {told.splitlines()[0] if told else ''}"

    def _rate(self) -> tuple[bool, str]:
        size = 4 * RATE
        rates.limit(self._engine, self._plan, "compute1", RATE)
        try:
            send = (
                "import socket, threading, time\n"
                "s = socket.create_server(('', 7070))\n"
                "def take():\n c = s.accept()[0]\n while c.recv(1 << 16): pass\n print(time.time() - began)\n"
                "t = threading.Thread(target=take); began = time.time(); t.start(); t.join(30)"
            )
            put = f"import socket; socket.create_connection(('compute0', 7070)).sendall(b'x' * {size})"
            wait = "for i in $(seq 50); do grep -q ':1B9E ' /proc/net/tcp && exit; sleep 0.1; done"
            self._run("compute0", "bash", "-c", f"setsid python3 -c \"{send}\" >/tmp/took 2>&1 </dev/null & {wait}")
            self._run("compute1", "python3", "-c", put)
            read = "for i in $(seq 300); do [ -s /tmp/took ] && break; sleep 0.1; done; cat /tmp/took"
            _, told = self._run("compute0", "sh", "-c", read)
        finally:
            rates.limit(self._engine, self._plan, "compute1", None)
        took = float(told)
        return size / took < 1.4 * RATE, f"{size / took / 1024:.0f} of {RATE >> 10} KB/s"

    def _rights(self) -> tuple[bool, str]:
        told = {}
        for host in ("controller", "fabric", "compute0"):
            _, status = self._run(host, "sed", "-n", "s/^\\(CapEff\\|NoNewPrivs\\):\\s*//p", "/proc/1/status")
            told[host] = status.split()
        most = max(bin(int(one[0], 16)).count("1") for one in told.values())
        held = most <= len(CAPABILITIES) and all(one[1] == "1" for one in told.values())
        return held, f"{most} capabilities ({', '.join(CAPABILITIES)}), no new privileges"

    def _counted(self) -> tuple[bool, str]:
        deadline = time.monotonic() + 15
        while not (told := attendant.state(self._settings, self._plan.name)).get("carried"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        trouble = str(told.get("trouble") or "")
        carried = told.get("carried", 0)
        return bool(told["running"] and carried) and not trouble, trouble or f"{carried} octets so far"
