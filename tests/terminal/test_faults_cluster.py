"""Traffic through the fabric, and faults, on a real cluster: read back with the ordinary tools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from qnib.domains.infiniband.counters import parse_counters
from tests.terminal.conftest import NODES, Lab
from tests.terminal.test_cluster import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ALLTOALL = """
import numpy as np
from mpi4py import MPI
world = MPI.COMM_WORLD
out = np.zeros((world.size, 1 << 20), dtype="u1")
into = np.empty_like(out)
for _ in range(60):
    world.Alltoall(out, into)
"""


@pytest.fixture(autouse=True)
def cleared(lab: Lab) -> Iterator[None]:
    yield
    lab.qnib("fault", "clear")


def counters(lab: Lab, *options: str) -> dict[tuple[str, int], dict[str, int]]:
    return parse_counters(lab.run("fabric", "ibqueryerrors", *(options or ("--counters",)), check=False))


def errors(lab: Lab) -> dict[str, int]:
    """Symbol errors by port."""
    found = counters(lab, "--details")
    return {f"{node}/{port}": told["symbol_error"] for (node, port), told in found.items() if "symbol_error" in told}


def interface(lab: Lab, host: str) -> tuple[int, int]:
    """Octets received and sent."""
    fields = next(line for line in lab.run(host, "cat", "/proc/net/dev").splitlines() if "eth0" in line).split()
    return int(fields[1]), int(fields[9])


def test_the_fabric_carries_what_nodes_really_send(lab: Lab) -> None:
    """The counters of a node's adapter grow by what its interface counted, within 2 %."""
    hosts = [f"compute{number}" for number in range(NODES)]

    def both() -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
        ports = counters(lab)
        return {
            host: (interface(lab, host), (4 * ports[host, 1]["rcv_data"], 4 * ports[host, 1]["xmit_data"]))
            for host in hosts
        }

    before = both()
    lab.run("controller", "srun", "--mpi=pmix", f"-N{NODES}", "python3", "-c", ALLTOALL, user="alice")

    def ratios() -> list[float]:
        now = both()
        return [
            (now[host][1][way] - before[host][1][way]) / (now[host][0][way] - before[host][0][way])
            for host in hosts for way in (0, 1)
        ]

    assert until(lambda: all(0.98 < ratio < 1.02 for ratio in ratios()), 20), ratios()
    uplink = max(counters(lab)["SW1", port]["xmit_data"] for port in (1, 2))
    assert 4 * uplink > 50 << 20, "what goes to another leaf goes over a spine"
    state = json.loads(lab.qnib("status", "--json").stdout)["clusters"][0]["attendant"]
    assert state["running"] and not state["trouble"]


def test_a_reset_counter_goes_on_from_nothing(lab: Lab) -> None:
    lab.qnib("fault", "port-bad", "SW1/3", "50")
    assert until(lambda: errors(lab).get("SW1/3", 0) > 100, 20)
    lab.run("fabric", "ibclearerrors", check=False)
    assert until(lambda: 0 < errors(lab).get("SW1/3", 0) < 1000, 20)


def test_the_errors_of_a_bad_cable_go_with_it(lab: Lab) -> None:
    lab.run("fabric", "ibclearerrors", check=False)
    lab.qnib("fault", "cable-bad", "SW1/3", "30")
    assert until(lambda: {"SW1/3", "compute0/1"} <= errors(lab).keys(), 20), errors(lab)
    lab.qnib("fault", "cable-move", "SW1/3", "SW1/5")
    assert until(lambda: "SW1/5" in errors(lab), 20), errors(lab)
    before = errors(lab)
    assert until(lambda: errors(lab)["SW1/5"] > before["SW1/5"] + 50, 20)
    assert errors(lab)["SW1/3"] == before["SW1/3"], "the port it was in is healthy"


def test_the_errors_of_a_bad_port_stay(lab: Lab) -> None:
    lab.run("fabric", "ibclearerrors", check=False)
    lab.qnib("fault", "port-bad", "SW2/3", "30")
    assert until(lambda: "SW2/3" in errors(lab), 20)
    assert "compute2/1" not in errors(lab)
    lab.qnib("fault", "cable-move", "SW2/3", "SW2/5")
    # A cable elsewhere has no errors, an empty port counts none: seen when another port has counted twice since.
    lab.qnib("fault", "port-bad", "SW1/3", "30")
    assert until(lambda: "SW1/3" in errors(lab), 20)
    before = errors(lab)
    assert until(lambda: errors(lab)["SW1/3"] > before["SW1/3"] + 100, 30)
    after = errors(lab)
    assert (after["SW2/3"], after.get("SW2/5")) == (before["SW2/3"], None)


def test_a_link_of_one_lane(lab: Lab) -> None:
    def width() -> str:
        """Of compute1's link, told from its side."""
        told = lab.run("fabric", "iblinkinfo", "-l")
        return next(found[1] for line in told.splitlines() if (found := re.search(r'"\s*compute1".*==\( (\w+)', line)))

    lab.qnib("fault", "link-width", "SW1/4")
    assert until(lambda: width() == "1X"), width()
    lab.qnib("fault", "clear")
    assert until(lambda: width() == "4X"), width()


def spin(lab: Lab, host: str) -> float:
    """Seconds a busy loop takes there."""
    count = "import time; t = time.time(); x = 0\nfor i in range(3_000_000): x += i\nprint(time.time() - t)"
    return float(lab.run("controller", "srun", "--mpi=none", "-w", host, "python3", "-c", count))


def test_a_slow_node(lab: Lab) -> None:
    if json.loads(lab.qnib("status", "--json").stdout)["clusters"][0]["rung"] == "node-limits":
        refused = lab.qnib("fault", "node-slow", "compute1", check=False)
        assert "limited by the engine" in refused.stderr
        return
    usual = spin(lab, "compute1")
    lab.qnib("fault", "node-slow", "compute1", "10%")
    assert spin(lab, "compute1") > 2 * usual  # a fifth of a core, the machine may be busy meanwhile


def state(lab: Lab, host: str) -> str:
    return lab.run("controller", "sinfo", "-h", "-N", "-p", "all", "-n", host, "-o", "%t").strip()


def test_a_node_that_dies_hard_and_comes_back_works_at_once(lab: Lab) -> None:
    job = lab.run("controller", "sbatch", "--parsable", "-w", "compute2", "--wrap", "sleep 300", user="bob").strip()
    assert until(lambda: lab.run("controller", "squeue", "-h", "-j", job, "-t", "running", "-o", "%A").strip() == job)
    lab.qnib("fault", "node-down", "compute2")
    assert until(lambda: '"compute2"' not in lab.run("fabric", "iblinkinfo", "-l"))
    lab.qnib("fault", "clear")
    assert until(lambda: state(lab, "compute2") in ("idle", "mix", "alloc", "comp"), 30), state(lab, "compute2")
    lab.run("controller", "scancel", job)
    assert until(lambda: state(lab, "compute2") == "idle", 60), state(lab, "compute2")
    assert lab.run("controller", "srun", "--mpi=none", "-w", "compute2", "hostname").strip() == "compute2"
    assert until(lambda: '"compute2"' in lab.run("fabric", "iblinkinfo", "-l"))


def test_a_full_disk(lab: Lab) -> None:
    lab.qnib("fault", "disk-full", "compute1")
    write = ("compute1", "sh", "-c", "echo much >/tmp/file 2>&1 && cat /tmp/file")
    assert "much" not in lab.run(*write, check=False)
    lab.qnib("fault", "clear")
    assert lab.run(*write) == "much\n"


def test_a_clock_that_is_wrong_is_refused_by_munge(lab: Lab) -> None:
    lab.qnib("fault", "clock-skew", "compute1", "10m")
    srun = ("exec", "controller", "--", "timeout", "20", "srun", "--mpi=none", "-w", "compute1", "hostname")
    assert lab.qnib(*srun, check=False).returncode != 0
    lab.qnib("fault", "clear")
    assert until(lambda: state(lab, "compute1") == "idle", 60), state(lab, "compute1")
    assert lab.qnib(*srun).stdout.strip() == "compute1"


def test_a_daemon_that_hangs(lab: Lab) -> None:
    lab.qnib("fault", "daemon-stop", "compute1", "slurmd")
    assert "T" in lab.run("compute1", "ps", "-o", "stat=", "-C", "slurmd")
    lab.qnib("fault", "clear")
    assert "T" not in lab.run("compute1", "ps", "-o", "stat=", "-C", "slurmd")


def test_a_leak_takes_most_of_a_nodes_memory_and_gives_it_back(lab: Lab) -> None:
    def leaking() -> int:
        told = lab.run("compute1", "sh", "-c", "ps ax -o rss,args | grep '[l]eak.py' || true").split()
        return int(told[0]) >> 10 if told else 0

    lab.qnib("fault", "memory-leak", "compute1", "64MB/s")
    assert until(lambda: leaking() > 300, 60), leaking()
    lab.qnib("fault", "clear")
    assert until(lambda: leaking() == 0)
    assert lab.run("controller", "srun", "--mpi=none", "-w", "compute1", "hostname").strip() == "compute1"


def test_a_fault_ends_by_itself(lab: Lab) -> None:
    lab.qnib("fault", "cable-out", "SW1/3", "--lasts", "4s")
    assert until(lambda: '"compute0"' not in lab.run("fabric", "iblinkinfo", "-l"))
    assert until(lambda: '"compute0"' in lab.run("fabric", "iblinkinfo", "-l"), 20)
    assert json.loads(lab.qnib("fault", "list", "--json").stdout)[-1]["cleared"]
