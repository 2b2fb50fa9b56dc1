"""Growing, shrinking and dying nodes of a running cluster, while jobs go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from qnib import clusters
from qnib.terminal import parts
from tests.terminal.conftest import NODES, Lab
from tests.terminal.test_cluster import cgroups_of, engine_of, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

MORE = 12


@pytest.fixture
def job(lab: Lab) -> Iterator[str]:
    """A job on all nodes there are."""
    line = ("sbatch", "--parsable", f"-N{NODES}", "-n", str(NODES), "--mem=10", "-o", "ticks", "--wrap",
            "srun --mpi=none sh -c 'while :; do date +%s.%N; sleep 0.2; done'")  # fmt: skip
    number = lab.run("controller", *line, user="alice").strip()
    assert until(lambda: state(lab, number)["job_state"] == ["RUNNING"], 30)
    yield number
    lab.run("controller", "scancel", number)
    assert until(lambda: not lab.run("controller", "squeue", "-h", "-j", number, "-o", "%A").strip(), 30)


def state(lab: Lab, job: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(lab.run("controller", "scontrol", "--json", "show", "job", job))["jobs"][0]
    return found


def longest_pause(lab: Lab) -> float:
    """Seconds between two ticks of the job, the longest."""
    ticks = sorted(float(line) for line in lab.run("controller", "cat", "ticks", user="alice").split())
    return max(after - before for before, after in pairwise(ticks))


def test_twelve_nodes_come_and_go_and_the_job_does_not_notice(lab: Lab, job: str) -> None:
    before = state(lab, job)
    began = time.monotonic()
    lab.qnib("scale", "--nodes", str(NODES + MORE), timeout=200)
    grown = time.monotonic() - began
    assert lab.run("controller", "sinfo", "-h", "-p", "all", "-o", "%D").strip() == str(NODES + MORE)
    lab.qnib("scale", "--nodes", str(NODES), timeout=200)
    after = state(lab, job)
    for kept in ("job_state", "start_time", "restart_cnt", "nodes"):
        assert after[kept] == before[kept]
    assert grown < 60, "seconds where nothing else runs (bench/terminal.py); a machine under test is given more"
    assert longest_pause(lab) < 15
    # No ghost: not in SLURM, not in the engine, not in the cgroups, not in the fabric.
    assert lab.run("controller", "scontrol", "-o", "show", "nodes").count("NodeName=") == NODES
    engine = engine_of(lab)
    try:
        hosts = sorted(one.labels["qnib.host"] for one in engine.containers(f"qnib={lab.name}"))
    finally:
        engine.close()
    assert hosts == sorted(["controller", "fabric", *(f"compute{n}" for n in range(NODES))])
    assert not any(cgroups_of(lab.name, f"compute{n}") for n in range(NODES, NODES + MORE))
    assert until(lambda: f'"compute{NODES}"' not in lab.run("fabric", "iblinkinfo", "-l"))


def test_shrinking_waits_for_a_job_that_ends(lab: Lab) -> None:
    lab.qnib("scale", "--nodes", str(NODES + 1), timeout=200)
    line = ("sbatch", "--parsable", "-w", f"compute{NODES}", "--wrap", "sleep 4")
    number = lab.run("controller", *line, user="bob").strip()
    assert until(lambda: state(lab, number)["job_state"] == ["RUNNING"], 30)
    lab.qnib("scale", "--nodes", str(NODES), timeout=200)
    assert state(lab, number)["job_state"] == ["COMPLETED"]


@pytest.mark.parametrize("anew", [False, True])
def test_a_node_that_died_hard_works_at_once_when_it_is_back(lab: Lab, anew: bool) -> None:
    """As the same container started again, and as a new one under the old name."""
    host = f"compute{NODES - 1}"
    cluster = clusters.load(lab.settings.clusters, lab.name)
    engine = engine_of(lab)
    try:
        container = parts.build(lab.settings, cluster, [host], cluster.details["image"])[0]
        engine.kill(container.name)
        assert until(lambda: any(one.name == container.name and one.state == "exited"
                                 for one in engine.containers(f"qnib={lab.name}")))
        if anew:
            engine.remove_container(container.name)
            engine.create(container)
        engine.start(container.name)
    finally:
        engine.close()
    began = time.monotonic()
    told = lab.run("controller", "srun", "--mpi=none", f"-N{NODES}", "hostname", user="alice")
    assert host in told.split()
    assert time.monotonic() - began < 20
    assert lab.run("controller", "sinfo", "-h", "-N", "-p", "all", "-n", host, "-o", "%T").strip() in ("idle", "mixed")
