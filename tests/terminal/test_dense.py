"""Many nodes in a container: what is laid out, what is refused, and the real thing with sixty."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ClusterShell.NodeSet import NodeSet
from pydantic import ValidationError

from qnib import terminal
from qnib.errors import Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import memory, neighbours, parts
from qnib.terminal.blueprint import MAX_DENSE, Blueprint, Nodes
from qnib.terminal.cgroups import DENSE
from qnib.terminal.plan import PER_CONTAINER, check_count
from qnib.terminal.slurm_conf import cgroup_conf, slurm_conf
from tests.conftest import container_engine, skip
from tests.terminal.conftest import Lab
from tests.terminal.plans import plan


def test_every_node_has_an_address_and_port_of_its_own() -> None:
    big = plan(MAX_DENSE, fidelity="dense")
    assert len(big.places(MAX_DENSE)) == MAX_DENSE // PER_CONTAINER
    lines = [line for line in slurm_conf(big, DENSE).splitlines() if line.startswith("NodeName=")]
    found = {}
    for line in lines:
        told = re.fullmatch(r"NodeName=(\S+) NodeHostname=(\S+) NodeAddr=(\S+) Port=(\S+) CPUs=2 .*", line)
        assert told, line
        hosts, ports = NodeSet(told[1]), NodeSet(f"p{told[4]}")
        assert len(hosts) == len(ports)
        found |= {host: (told[2], told[3], port) for host, port in zip(hosts, ports, strict=True)}
    assert sorted(found) == sorted(f"compute{n}" for n in range(MAX_DENSE))
    assert len(set(found.values())) == MAX_DENSE
    for host, (place, address, port) in found.items():
        assert (place, address, port) == (big.place(host), big.address(place), f"p{big.port(host)}")
        assert host in big.living_in(place) and big.container(host) == f"qnib-demo-{place}"
    assert "compute999" in big.hosts() and big.hosts()["dense19"] == big.address("compute999")


def test_features_and_groups_go_with_their_nodes() -> None:
    mixed = plan(fidelity="dense", nodes=[Nodes(count=60, memory=300), Nodes(count=2, cpus=4, features=["fat"])])
    text = slurm_conf(mixed, DENSE)
    lines = [line for line in text.splitlines() if line.startswith("NodeName=compute60")]
    assert len(lines) == 1 and "CPUs=4" in lines[0] and lines[0].endswith("Feature=even,fat")
    assert "SlurmdSpoolDir=/var/spool/slurmd/%n" in text and "proctrack/linuxproc" in text
    assert cgroup_conf(mixed, DENSE) == "CgroupPlugin=disabled\n"
    assert parts.cpus_of(mixed, "dense0") == min(100, os.cpu_count() or 1)
    assert parts.memory_of(mixed, "dense1") == (10 * 300 + 2 * 512) << 20


@pytest.mark.parametrize(
    ("told", "said"),
    [({"fabric": {"shape": "tree"}}, "no network of their own"), ({"grow_to": 80}, "keeps the nodes"),
     ({"nodes": [{"count": 2, "rate": "1MB/s"}]}, "no rate"), ({"nodes": [{"count": MAX_DENSE + 1}]}, "up to 1000")],
)
def test_what_dense_nodes_cannot_have_is_refused(told: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Blueprint.model_validate({"fidelity": "dense", **told})


def test_limits_are_checked_beforehand() -> None:
    with pytest.raises(WrongUse, match="1 to 240 nodes, not 241") as error:
        check_count(241)
    assert "--dense" in error.value.try_next
    thousand = Blueprint(fidelity="dense", nodes=[Nodes(count=1000, memory=128)])
    assert memory.enough(thousand, "MemTotal: 24000000 kB\nMemAvailable: 20000000 kB\n")
    with pytest.raises(Unavailable, match="1000 nodes take about"):
        memory.enough(thousand, "MemTotal: 24000000 kB\nMemAvailable: 4000000 kB\n")


# ── room for neighbours, of which many nodes have many ────────────────────────────────────────


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    for name, value in (("gc_thresh2", "512\n"), ("gc_thresh3", "1024\n")):
        (tmp_path / name).write_text(value)
    return tmp_path


def test_room_for_neighbours_is_made_and_given_back(kernel: Path) -> None:
    before = kernel / "before"
    assert neighbours.make_room(18, kernel, before) == "" and not before.exists()
    assert "keeps 8712 until" in neighbours.make_room(66, kernel, before)
    assert "80802" not in neighbours.make_room(20, kernel, before)
    assert "keeps 80802 until" in neighbours.make_room(201, kernel, before)
    assert (kernel / "gc_thresh3").read_text() == "80802"
    neighbours.restore(kernel, before)
    assert [(kernel / name).read_text() for name in ("gc_thresh2", "gc_thresh3")] == ["512", "1024"]
    assert not before.exists()
    neighbours.restore(kernel, before)


def test_where_room_cannot_be_made_it_is_said(kernel: Path) -> None:
    nowhere = kernel / "none" / "before"
    assert "may hang: sysctl net.ipv4" in neighbours.make_room(66, kernel, nowhere)
    with pytest.raises(Unavailable, match="1024 this machine keeps"):
        neighbours.make_room(230, kernel, nowhere)


# ── the real thing ────────────────────────────────────────────────────────────────────────────

NODES = 60


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := container_engine():
        skip(reason)
    made = Lab(Settings(home=Path(tmp_path_factory.mktemp("dense"))), f"dense{os.getpid()}")
    said = made.qnib("up", "--name", made.name, "--nodes", str(NODES), "--dense", timeout=240)
    try:
        assert "limits: dense" in said.stderr + said.stdout and "held to anything" in said.stderr + said.stdout
        yield made
    finally:
        terminal.down(made.settings, name=made.name)


@pytest.mark.cluster
@pytest.mark.timeout(300)
class TestSixty:
    def test_sixty_nodes_in_two_containers_take_work(self, dense: Lab) -> None:
        told = terminal.status(dense.settings, dense.name)
        assert [one["host"] for one in told["containers"]] == ["controller", "dense0", "dense1"]
        assert (told["state"], told["nodes"], told["rung"]) == ("ready", NODES, "dense")
        names = dense.run("controller", "srun", "--mpi=none", f"-N{NODES}", "sh", "-c", "echo $SLURMD_NODENAME")
        assert sorted(names.split()) == sorted(f"compute{n}" for n in range(NODES))
        sinfo = ("sinfo", "-h", "-p", "odd", "-o", "%D")
        assert dense.run("controller", *sinfo).strip() == str(NODES // 2)

    def test_mpi_and_batch_as_a_user(self, dense: Lab) -> None:
        allreduce = "from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1))"
        srun = ("srun", "-N4", "-w", "compute[48-51]", "python3", "-c", allreduce)
        told = dense.qnib("exec", "--user", "alice", "controller", "--", *srun, check=False)
        if "mca_pml_ob1_recv_frag_callback_match" in told.stderr:  # Open MPI's own race: docs/limits.md
            told = dense.qnib("exec", "--user", "alice", "controller", "--", *srun)
        assert told.stdout.split() == ["4"] * 4, told.stderr
        dense.run("controller", "sbatch", "--wait", "-N2", "-o", "out", "--wrap", "srun hostname", user="bob")
        assert dense.run("controller", "cat", "out", user="bob").split() == ["dense0"] * 2

    def test_what_it_has_not_is_said(self, dense: Lab) -> None:
        scaled = dense.qnib("scale", "--nodes", "61", check=False)
        assert scaled.returncode != 0 and "keeps the nodes it was started with" in scaled.stderr
        failed = dense.qnib("fault", "node-down", "compute3", check=False)
        assert failed.returncode != 0 and "shares its container" in failed.stderr
        fact = dense.run("dense1", "env", "PYTHONPATH=/usr/lib/qnib", "python3", "-c", (
            "import os; from qnib.domains.container import inside; "
            "print(inside.look(open('/proc/self/mountinfo').read(), {'container': 'x', **os.environ}))"
        ))
        assert "rung\tdense" in fact
