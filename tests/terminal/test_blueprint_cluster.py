"""Clusters from blueprints, on both image lines: nodes of two kinds, partitions, users, shapes, limits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnib import terminal
from qnib.settings import Settings
from tests.conftest import container_engine, skip
from tests.terminal.conftest import Lab

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

BLUEPRINT = """
name = "lab{number}"
system = "{system}"

[[nodes]]
count = 2
memory = "256M"
disk = "16M"

[[nodes]]
count = 2
cpus = 1
memory = "384M"
features = ["bigmem"]
rate = "20KB/s"

[[partitions]]
name = "main"
nodes = "compute[0-5]"
default = true

[[partitions]]
name = "bigmem"
nodes = "bigmem"
limit = "4:00:00"

[[groups]]
name = "chemistry"
users = ["ada", "emil"]

[fabric]
shape = "{shape}"
{more}
"""

LINES = {
    "debian13": ("24.11", "fat-tree", "radix = 4"),
    "debian12": ("22.05", "torus", "size = [2, 2]"),
}

ALLREDUCE = "from mpi4py import MPI; w = MPI.COMM_WORLD; print(w.allreduce(w.rank))"


@pytest.fixture(scope="module", params=LINES)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lab(system: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := container_engine():
        skip(reason)
    home = Path(tmp_path_factory.mktemp("lab"))
    _, shape, more = LINES[system]
    file = home / "lab.toml"
    number = f"{os.getpid()}-{system[-2:]}"
    file.write_text(BLUEPRINT.format(number=number, system=system, shape=shape, more=more))
    made = Lab(Settings(home=home), f"lab{number}")
    try:
        made.qnib("up", "--file", str(file), timeout=600)
        yield made
    finally:
        terminal.down(made.settings, name=made.name)


def test_the_version_of_slurm(lab: Lab, system: str) -> None:
    assert f" {LINES[system][0]}." in lab.run("controller", "sinfo", "--version")


def test_nodes_of_two_kinds_in_their_partitions(lab: Lab) -> None:
    told = lab.run("controller", "sinfo", "-h", "-N", "-o", "%N %R %c %m %f", user="ada").splitlines()
    assert sorted(told) == [
        "compute0 main 2 208 even,in_main", "compute1 main 2 208 odd,in_main",
        "compute2 bigmem 1 336 even,bigmem,in_main", "compute2 main 1 336 even,bigmem,in_main",
        "compute3 bigmem 1 336 odd,bigmem,in_main", "compute3 main 1 336 odd,bigmem,in_main",
    ]  # fmt: skip
    assert "4:00:00" in lab.run("controller", "sinfo", "-h", "-p", "bigmem", "-o", "%l")


def test_the_blueprints_users_run_mpi_jobs(lab: Lab) -> None:
    told = lab.run("controller", "srun", "--mpi=pmix", "-N2", "-w", "compute[0-1]", "python3", "-c", ALLREDUCE,
                   user="ada").split()  # fmt: skip
    assert told == ["1", "1"]
    refused = lab.qnib("exec", "--user", "alice", "controller", "--", "true", check=False)
    assert refused.returncode == 1 and "ada, emil" in refused.stderr


def test_the_fabric_has_the_shape_that_was_asked_for(lab: Lab, system: str) -> None:
    told = lab.run("fabric", "ibnetdiscover")
    switches = {"debian13": ("SW1", "SW2", "SPINE1", "SPINE2"), "debian12": ("SW1-1", "SW1-2", "SW2-1", "SW2-2")}
    for name in (*switches[system], *(f"compute{number}" for number in range(4))):
        assert f'"{name}"' in told
    assert "0 bad nodes found" in lab.run("fabric", "ibqueryerrors")


def test_a_nodes_disk_is_full_when_it_says_so(lab: Lab) -> None:
    fill = "dd if=/dev/zero of=/tmp/full bs=1M count=32 2>&1; stat -c %s /tmp/full; rm /tmp/full"
    told = lab.run("compute0", "sh", "-c", fill)
    assert "No space left" in told and told.split()[-1] == str(16 << 20)


def test_a_nodes_network_gives_what_was_said_both_ways(lab: Lab) -> None:
    size = 200_000
    began = time.monotonic()
    move = f"head -c {size} /dev/zero"
    # Octets through a step's output cross the network; the file is the node's own.
    told = lab.run("controller", "srun", "--mpi=none", "-w", "compute3", "sh", "-c", move)
    out = time.monotonic() - began
    assert len(told) == size
    assert size / out < 1.5 * 20 * 1024, f"{size / out:.0f} octets a second"
    inside = (
        "import socket; s = socket.create_connection(('compute0', 7777)); n = 0\n"
        "while d := s.recv(65536): n += len(d)\n"
        "print(n)"
    )
    serve = f"import socket; s = socket.create_server(('', 7777)); s.accept()[0].sendall(b'x' * {size})"
    lab.run("compute0", "sh", "-c", f"setsid python3 -c \"{serve}\" >/dev/null 2>&1 </dev/null &")
    began = time.monotonic()
    assert int(lab.run("compute3", "python3", "-c", inside)) == size
    into = time.monotonic() - began
    assert size / into < 1.5 * 20 * 1024, f"{size / into:.0f} octets a second"


def test_growing_within_the_shape_and_no_further(lab: Lab) -> None:
    lab.qnib("scale", "--nodes", "6")
    assert "compute5" in lab.run("controller", "srun", "--mpi=none", "-w", "compute5", "hostname")
    lab.qnib("scale", "--nodes", "4")
    refused = lab.qnib("scale", "--nodes", "100", check=False)
    assert refused.returncode != 0 and "room for 1 to 8" in refused.stderr
