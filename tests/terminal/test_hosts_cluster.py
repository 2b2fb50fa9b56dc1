"""A cluster over two machines, each with a real Docker engine: one reached over SSH, one over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from qnib.settings import Settings, Terminal
from qnib.terminal.slurm_conf import SECONDS_OVER_HOSTS
from tests.conftest import skip
from tests.terminal.machines import Machine, Machines, lacking

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ALLREDUCE = (
    "from mpi4py import MPI; import numpy as np; w = MPI.COMM_WORLD; a = np.full(500_000, float(w.rank)); "
    "b = np.empty_like(a); w.Allreduce(a, b); print(b[-1], MPI.Get_processor_name())"
)
NOTICED = SECONDS_OVER_HOSTS + 25
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

    def qnib(self, *words: str, check: bool = True, timeout: float = 200) -> subprocess.CompletedProcess[str]:
        told = self.settings.terminal
        plain = {name: value for name, value in os.environ.items() if not name.startswith("QNIB_")}
        done = subprocess.run(
            [sys.executable, "-m", "qnib", *words], capture_output=True, text=True, timeout=timeout, check=False,
            env=plain | {
                "QNIB_HOME": str(self.settings.home), "QNIB_CLUSTER": self.name,
                "QNIB_TERMINAL__CERTIFICATES": told.certificates, "QNIB_TERMINAL__SSH_CONFIG": told.ssh_config,
            },
        )
        said = f"qnib {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, said
        print(said)
        return done

    def run(self, host: str, *command: str, user: str = "") -> str:
        return self.qnib("exec", *(["--user", user] if user else []), host, "--", *command).stdout

    def status(self) -> dict[str, object]:
        (found,) = json.loads(self.qnib("status", "--json").stdout)["clusters"]
        return dict(found)

    def nodes(self) -> dict[str, str]:
        """SLURM's word for each node: without marks."""
        told = self.run("controller", "sinfo", "-h", "-N", "-p", "all", "-o", "%N %t")
        return {name: state.rstrip("*~#!%$@^-") for name, state in (line.split() for line in told.splitlines())}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    if reason := lacking():
        skip(reason)
    folder, home = tmp_path_factory.mktemp("machines"), tmp_path_factory.mktemp("home")
    machines = Machines(folder, home)
    try:
        machines.open(2)
        told = Terminal(certificates=str(machines.certificates), ssh_config=str(machines.ssh_config))
        found = Two(machines, Settings(home=home, terminal=told), f"two{os.getpid()}")
        found.qnib("up", "--name", found.name, "--nodes", "4", "--hosts", found.hosts, timeout=300)
        try:
            yield found
        finally:
            found.qnib("down", "--name", found.name, check=False)
    finally:
        machines.close()


def test_nodes_are_spread_and_all_said(two: Two) -> None:
    told = two.status()
    assert (told["state"], told["rung"], told["gateway"]) == ("ready", "node-limits", two.machines.here)
    ssh, tls = two.hosts.split(",")
    assert until(lambda: all(host["traffic"] for host in two.status()["hosts"]))
    hosts = {host["address"]: host for host in two.status()["hosts"]}
    assert (hosts[ssh]["nodes"], hosts[tls]["nodes"]) == ("compute[0-1]", "compute[2-3]")
    assert hosts[ssh]["traffic"] == "counted" and "TLS" in hosts[tls]["traffic"]
    on_a, on_b = {"controller", "fabric", "compute0", "compute1"}, {"compute2", "compute3"}
    for machine, there in ((two.a, on_a), (two.b, on_b)):
        names = machine.run("docker", "ps", "--format", "{{.Names}}").split()
        assert {name.removeprefix(f"qnib-{two.name}-") for name in names} == there


def test_one_mpi_job_spans_both_hosts(two: Two) -> None:
    told = two.run("controller", "srun", "--mpi=pmix", "-N4", "python3", "-c", ALLREDUCE, user="alice").splitlines()
    assert sorted(told) == [f"6.0 compute{number}" for number in range(4)]
