"""A cluster over two machines, each with a real Docker engine: one reached over SSH, one over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pytest import MonkeyPatch

from qnib import clusters, terminal
from qnib.domains.infiniband.counters import parse_counters
from qnib.errors import Unavailable
from qnib.settings import Settings, Terminal
from qnib.terminal import attendant
from qnib.terminal.slurm_conf import SECONDS_OVER_HOSTS
from tests.conftest import skip
from tests.terminal.machines import PATH, Machine, Machines, lacking

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ALLREDUCE = (
    "from mpi4py import MPI; import numpy as np; w = MPI.COMM_WORLD; a = np.full(500_000, float(w.rank)); "
    "b = np.empty_like(a); w.Allreduce(a, b); print(b[-1], MPI.Get_processor_name())"
)
NOTICED = SECONDS_OVER_HOSTS + 40
"""Seconds until SLURM has called the nodes of a host that vanished down: docs/guides/hosts.md says so."""


def until(seen: Callable[[], object], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@dataclass(frozen=True)
class Two:
    """Two machines, and this one's settings to reach them."""

    machines: Machines
    settings: Settings
    name: str

    @property
    def a(self) -> Machine:
        return self.machines.machines[0]

    @property
    def b(self) -> Machine:
        return self.machines.machines[1]

    @property
    def hosts(self) -> str:
        return f"ssh://root@{self.a.address},tcp://{self.b.address}"

    @property
    def environment(self) -> dict[str, str]:
        told = self.settings.terminal
        plain = {name: value for name, value in os.environ.items() if not name.startswith("QNIB_")}
        return plain | {
            "QNIB_HOME": str(self.settings.home), "QNIB_CLUSTER": self.name,
            "QNIB_TERMINAL__CERTIFICATES": told.certificates, "QNIB_TERMINAL__SSH_CONFIG": told.ssh_config,
        }

    def qnib(self, *words: str, check: bool = True, timeout: float = 200) -> subprocess.CompletedProcess[str]:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "qnib", *words], capture_output=True, text=True, timeout=timeout, check=False,
            env=self.environment,
        )
        took = time.monotonic() - began
        said = f"qnib {' '.join(words)}: {done.returncode} after {took:.1f} s\n{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, said
        print(said)
        return done

    def run(self, host: str, *command: str, user: str = "root") -> str:
        """What a command in a container printed, asked of its machine: `qnib exec` connects anew each time."""
        machine = self.b if host in self.on_b else self.a
        home = "/root" if user == "root" else f"/home/{user}"
        return machine.run("docker", "exec", "-u", user, "-w", home, f"qnib-{self.name}-{host}", *command)

    @property
    def on_b(self) -> list[str]:
        there = clusters.load(self.settings.clusters, self.name).details["places"]
        return [f"compute{number}" for number, place in enumerate(there) if place == 1]

    def status(self) -> dict[str, Any]:
        return terminal.status(self.settings, self.name)

    def hosts_told(self, key: str) -> list[str]:
        return [host[key] for host in self.status()["hosts"]]

    def nodes(self) -> dict[str, str]:
        """SLURM's word for each node: without marks."""
        told = self.run("controller", "sinfo", "-h", "-N", "-p", "all", "-o", "%N %t")
        return {name: state.rstrip("*~#!%$@^-") for name, state in (line.split() for line in told.splitlines())}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    if reason := lacking():
        skip(reason)
    patch = MonkeyPatch()
    folder, home = tmp_path_factory.mktemp("machines"), tmp_path_factory.mktemp("home")
    machines = Machines(folder, home)
    told = Terminal(certificates=str(machines.certificates), ssh_config=str(machines.ssh_config))
    found = Two(machines, Settings(home=home, terminal=told), f"two{os.getpid()}")
    try:
        patch.setenv("PATH", PATH)
        machines.open(2)
        found.qnib("up", "--name", found.name, "--nodes", "4", "--hosts", found.hosts, timeout=300)
        yield found
    finally:
        attendant.end(found.settings, found.name, count=False)
        for machine in machines.machines[:1]:  # there is one only when a test failed: why?
            last = "docker ps -qf label=qnib.role=controller | xargs -rn1 docker logs --tail 40 2>&1"
            print(machine.run("bash", "-c", last, check=False))
        machines.close()  # and whatever a test that failed left on them
        patch.undo()


def test_nodes_are_spread_and_all_is_said(two: Two) -> None:
    told = two.status()
    assert (told["state"], told["rung"], told["gateway"]) == ("ready", "node-limits", two.machines.here)
    assert until(lambda: all(two.hosts_told("traffic")))
    assert two.hosts_told("nodes") == ["compute[0-1]", "compute[2-3]"]
    ssh, tls = two.hosts_told("traffic")
    assert ssh == "counted" and "Over TLS" in tls
    assert two.qnib("status").stdout.count("  here  nodes=compute[") == 2
    on_a, on_b = {"controller", "fabric", "compute0", "compute1"}, {"compute2", "compute3"}
    for machine, there in ((two.a, on_a), (two.b, on_b)):
        names = machine.run("docker", "ps", "--format", "{{.Names}}").split()
        assert {name.removeprefix(f"qnib-{two.name}-") for name in names} == there


def test_what_goes_between_hosts_is_in_the_fabrics_counters(two: Two) -> None:
    """The host reached over SSH counts; what its nodes exchanged with those of the other is seen there."""

    def carried() -> int:
        return int(two.status()["attendant"]["carried"])

    def received() -> int:
        """Octets that the adapter of the receiver counted, as the ordinary tool tells. SLURM chose which is rank 1."""
        told = parse_counters(two.run("fabric", "ibqueryerrors", "--counters"))
        return 4 * max(told[host, 1]["rcv_data"] for host in ("compute1", "compute2"))

    size = 8 << 20
    assert carried() == 0  # steps so far sent nothing from node to node
    script = (
        "from mpi4py import MPI; import numpy as np; w = MPI.COMM_WORLD; a = np.zeros(1 << 20); "
        "w.Send(a, 1) if w.rank == 0 else w.Recv(a, 0)"
    )
    two.run("controller", "srun", "--mpi=pmix", "-w", "compute1,compute2", "-N2", "python3", "-c", script)
    assert until(lambda: carried() > size, 20), carried()
    assert carried() < 1.2 * size  # once, though both ends are on bridges
    assert until(lambda: received() > size, 20), received()


def test_one_mpi_job_spans_both_hosts(two: Two) -> None:
    words = ("srun", "--mpi=pmix", "-N4", "python3", "-c", ALLREDUCE)
    told = two.qnib("exec", "--user", "alice", "controller", "--", *words).stdout.splitlines()
    assert sorted(told) == [f"6.0 compute{number}" for number in range(4)]


def test_every_host_has_homes_of_its_own(two: Two) -> None:
    two.run("compute0", "sh", "-c", "echo here >told", user="bob")
    assert two.run("controller", "cat", "told", user="bob") == "here\n"
    told = two.run("controller", "srun", "-N4", "sh", "-c", "echo $(hostname) $(pwd) $(ls)", user="bob").splitlines()
    home = "/home/bob"
    assert sorted(told) == [f"compute0 {home} told", f"compute1 {home} told", f"compute2 {home}", f"compute3 {home}"]
    carried = "/tmp/carried"  # noqa: S108 - each node's own
    two.run("controller", "salloc", "-Q", "-N4", "sbcast", "told", carried, user="bob")
    assert two.run("compute3", "cat", carried, user="bob") == "here\n"


def test_nothing_of_this_machine_is_mounted(two: Two) -> None:
    for machine, name in ((two.a, "compute0"), (two.a, "fabric"), (two.b, "compute3")):
        told = machine.run("docker", "inspect", "-f", "{{json .HostConfig.Binds}}", f"qnib-{two.name}-{name}")
        assert not [bind for bind in json.loads(told) or [] if bind.startswith("/")]
    done = two.qnib("exec", "--user", "jane", "compute3", "--", "cat", "/etc/qnib/munge.key", check=False)
    assert done.returncode != 0 and "denied" in done.stderr


def test_a_slow_network_is_held_where_its_host_lets_us(two: Two) -> None:
    slow = terminal.fault_inject(two.settings, "link-rate", "compute1", "1MB/s", name=two.name)
    send = "import socket; s = socket.create_connection(('compute1', 7071)); s.sendall(b'x' * (3 << 20)); s.close()"
    take = (
        "import socket, time; s = socket.create_server(('', 7071)); c = s.accept()[0]; t = time.time()\n"
        "while c.recv(1 << 16): pass\nprint(time.time() - t)"
    )
    script = f"python3 -c \"{take}\" >/tmp/took & while ! grep -q ':1B9F ' /proc/net/tcp; do sleep 0.1; done"
    two.run("compute1", "bash", "-c", f"({script}) </dev/null 2>&1")
    two.run("compute2", "python3", "-c", send)
    took = float(two.run("compute1", "bash", "-c", "while [ ! -s /tmp/took ]; do sleep 0.1; done; cat /tmp/took"))
    assert 2 < took < 6
    terminal.fault_clear(two.settings, slow.id, name=two.name)
    with pytest.raises(Unavailable, match="TLS"):
        terminal.fault_inject(two.settings, "link-rate", "compute2", name=two.name)


def test_it_grows_and_shrinks(two: Two) -> None:
    two.qnib("scale", "--nodes", "6")
    assert two.hosts_told("nodes") == ["compute[0-1,4]", "compute[2-3,5]"]
    assert len(set(two.run("controller", "srun", "-N6", "hostname").split())) == 6
    terminal.scale(two.settings, 4, name=two.name)
    assert set(two.nodes()) == {"compute0", "compute1", "compute2", "compute3"}


def test_a_host_that_vanishes_takes_its_nodes_and_nothing_else(two: Two) -> None:
    two.run("controller", "sbatch", "-Q", "-J", "stays", "-w", "compute0", "-o", "/dev/null", "--wrap", "sleep 300")
    assert until(lambda: "RUNNING" in two.run("controller", "squeue", "-h", "-n", "stays", "-o", "%T"))
    two.machines.pull_plug(two.b)
    gone = time.monotonic()
    assert two.hosts_told("state") == ["here", "away"]
    with pytest.raises(Unavailable):  # not without the host: its addresses are held for it
        terminal.scale(two.settings, 5, name=two.name)
    assert until(lambda: [two.nodes().get(f"compute{n}") for n in (2, 3)] == ["down", "down"], NOTICED)
    print(f"down after {time.monotonic() - gone:.1f} s")
    assert {state for name, state in two.nodes().items() if name in ("compute0", "compute1")} <= {"mix", "idle"}
    assert two.run("controller", "squeue", "-h", "-n", "stays", "-o", "%T %M").startswith("RUNNING")
    assert sorted(two.run("controller", "srun", "-N2", "hostname").split()) == ["compute0", "compute1"]


def assert_nothing_left(machine: Machine) -> None:
    left = "docker ps -aq; docker volume ls -q; docker network ls | grep -e overlay -e gwbridge"
    assert machine.run("bash", "-c", left, check=False) == ""
    assert "inactive" in machine.run("docker", "info", "-f", "{{.Swarm.LocalNodeState}}")


def test_down_does_what_it_can_and_finishes_later(two: Two) -> None:
    done = two.qnib("down", check=False)
    _, tls = two.hosts.split(",")
    assert done.returncode == 1 and tls in done.stderr and "qnib down" in done.stderr
    assert_nothing_left(two.a)
    notes = clusters.load(two.settings.clusters, two.name).details["hosts"]
    assert [note["done"] for note in notes] == [True, False]
    refused = two.qnib("up", "--hosts", two.hosts, check=False)
    assert refused.returncode == 1 and "part of it" in refused.stderr
    two.machines.plug_in(two.b)
    assert "Removed" in two.qnib("down").stdout
    assert_nothing_left(two.b)
    kept = [file.name for file in (two.settings.home / "clusters" / two.name).iterdir()]
    assert kept == ["faults.jsonl"]


def test_what_an_up_that_was_killed_left_is_removed(two: Two) -> None:
    words = [sys.executable, "-m", "qnib", "up", "--hosts", two.hosts]
    begun = subprocess.Popen(words, env=two.environment, stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: "controller" in two.a.run("docker", "ps", "--format", "{{.Names}}"), 60)
    finally:
        begun.kill()
        begun.wait()
    two.qnib("down")
    assert_nothing_left(two.a)
    assert_nothing_left(two.b)


def test_this_machine_is_a_host_a_host_comes_back_and_a_swarm_that_was_there_stays(two: Two) -> None:
    """From the first machine itself, which has a swarm of its own already; the image is there from before."""
    a, b = two.a, two.b
    a.run("docker", "swarm", "init", "--advertise-addr", a.address)
    before = a.run("docker", "info", "-f", "{{.Swarm.NodeID}}")
    own = {
        "QNIB_HOME": "/run/qnib", "QNIB_CLUSTER": "own", "QNIB_TERMINAL__CERTIFICATES": str(two.machines.certificates),
    }

    def qnib(*words: str) -> str:
        return a.run(sys.executable, "-m", "qnib", *words, env=own)

    def hosts() -> list[dict[str, str]]:
        return list(json.loads(qnib("status", "--json"))["clusters"][0]["hosts"])

    qnib("up", "--nodes", "2", "--hosts", f"local,tcp://{b.address}")
    assert qnib("exec", "controller", "--", "srun", "-N2", "hostname").split() != []
    assert until(lambda: [host["traffic"][:11] for host in hosts()] == ["counted", "not counted"], 20)
    assert [host["nodes"] for host in hosts()] == ["compute0", "compute1"]
    two.machines.pull_plug(b)
    qnib("scale", "--nodes", "1")
    two.machines.plug_in(b)
    qnib("scale", "--nodes", "2")
    assert sorted(qnib("exec", "controller", "--", "srun", "-N2", "hostname").split()) == ["compute0", "compute1"]
    assert [host["nodes"] for host in hosts()] == ["compute0", "compute1"]
    assert "Removed own" in qnib("down")
    assert a.run("docker", "info", "-f", "{{.Swarm.NodeID}}") == before
    assert a.run("docker", "node", "ls", "-q").split() == before.split()  # nobody is listed as gone
    assert "inactive" in b.run("docker", "info", "-f", "{{.Swarm.LocalNodeState}}")
    assert a.run("docker", "ps", "-aq") + b.run("docker", "ps", "-aq") + a.run("docker", "volume", "ls", "-q") == ""
