"""Names and addresses of a cluster, and the subnet it takes."""

from __future__ import annotations

import doctest
from ipaddress import ip_address

import pytest

from qnib.errors import Unavailable, WrongUse
from qnib.terminal import mirror
from qnib.terminal import plan as plan_module
from qnib.terminal.blueprint import MAX_NODES, Nodes, Services
from qnib.terminal.plan import check_count, free_subnet, host_routes
from tests.terminal.plans import plan

PLAN = plan()

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
podman1\t0000D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize("module", [plan_module, mirror])
def test_examples_in_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [4, MAX_NODES])
def test_addresses_are_fixed_and_differ(count: int) -> None:
    made = plan(count)
    addresses = [address for name, address in made.hosts().items() if name != "anywhere"]
    assert len(set(addresses)) == len(addresses) == made.capacity + 2
    assert made.gateway not in addresses
    assert all(ip_address(address) in made.subnet for address in addresses)
    assert made.address("compute0") == "10.213.7.10"
    assert made.address("controller") == "10.213.7.2"


def test_a_login_node_has_a_name_and_an_address_of_its_own() -> None:
    made = plan(services=Services(login=True))
    assert made.services == ["controller", "fabric", "login"]
    assert made.hosts()["login"] == "10.213.7.9"
    assert "login" not in PLAN.hosts()


def test_the_address_slurmd_listens_on_has_a_name() -> None:
    """Else it asks the DNS for one before it registers, and waits five seconds for each lost answer (decision 2)."""
    assert PLAN.hosts()["anywhere"] == str(ip_address(0))


def test_a_subnet_that_the_host_routes_elsewhere_is_not_taken() -> None:
    assert host_routes(ROUTES) == ["0.0.0.0/0.0.0.0", "10.213.0.0/255.255.255.0"]
    assert str(free_subnet(host_routes(ROUTES))) == "10.213.1.0/24"


def test_no_subnet_left_says_so() -> None:
    with pytest.raises(Unavailable, match="No free /24"):
        free_subnet(["10.213.0.0/16"])


@pytest.mark.parametrize("count", [0, -1, MAX_NODES + 1])
def test_counts_out_of_range(count: int) -> None:
    with pytest.raises(WrongUse, match=f"not {count}"):
        check_count(count)
    with pytest.raises(WrongUse, match="room for 1 to 64"):
        PLAN.check_count(count)


@pytest.mark.parametrize("host", ["compute64", "compute", "node1", "compute-1", "compute1x"])
def test_what_is_no_node(host: str) -> None:
    with pytest.raises(WrongUse):
        PLAN.number(host)


def test_a_small_node_keeps_room_for_its_daemons() -> None:
    small = plan(nodes=[Nodes(cpus=0.5, memory=128)])
    assert small.declared_cpus("compute0") == 1
    assert small.declared_memory("compute0") == 80
