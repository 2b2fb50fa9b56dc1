"""The machine below the containers: a host of the inventory, watched by an agent that ends with the cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from qnib.terminal.machine import host_name
from tests.conftest import World
from tests.terminal.plans import plan

pytestmark = pytest.mark.timeout(300)


def test_its_name_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(name: str) -> str:
        monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"nodename": name}))
        return host_name(plan())

    assert named("rack7.site.org") == "rack7"
    assert named("compute1") == "compute1-machine", "else two hosts would be one"


@pytest.mark.cluster
def test_each_container_stands_on_it(world: World) -> None:
    machine = os.uname().nodename.split(".")[0]
    question = ("MATCH (h:Host {cluster: $cluster})-[r:RUNS_IN]->(c:Container)-[t:STANDS_ON]->(m:Host) "
                "WHERE t.until IS NULL AND r.until IS NULL RETURN m.key, c.name ORDER BY c.name")

    def rows() -> list[list[Any]]:
        return list(world.post("/api/graph/cypher", query=question, cluster=world.name)["rows"])

    wanted = [f"qnib-{world.name}-{host}" for host in (*(f"compute{n}" for n in range(4)), "controller", "fabric")]
    world.until("six containers on the machine", lambda: len(rows()) >= 6, 60)
    assert rows() == [[machine, name] for name in wanted], "and none of another cluster's"
    told = world.qnib("node", "show", machine, "--cluster", world.name).stdout
    assert "no node of SLURM" in told and "6 containers of this cluster" in told
    assert machine in [one["name"] for one in world.get("/api/nodes")["others"]]
    assert machine not in [one["name"] for one in world.get("/api/nodes")["nodes"]]


@pytest.mark.cluster
def test_its_numbers_are_the_machines_and_cost_little(world: World) -> None:
    machine = os.uname().nodename.split(".")[0]

    def newest(metric: str) -> list[float]:
        answer = world.get("/api/series", metric=metric, host=machine)
        return [value for one in answer["series"] for value in one["mean"] if value is not None]

    world.until("its CPU", lambda: len(newest("cpu.used")) > 2, 60)
    assert 0 < max(newest("cpu.used")) <= 100 * (os.cpu_count() or 1) + 5
    assert newest("memory.limit")[-1] == int(Path("/proc/meminfo").read_text().split()[1]) << 10
    for metric in ("memory.used", "network.rx_bytes", "disk.used"):
        assert newest(metric), metric
    shares = sorted(newest("agent.cpu"))
    print(f"the machine's agent: {shares[len(shares) // 2]:.2f} % of a core")
    assert shares[len(shares) // 2] <= 1
