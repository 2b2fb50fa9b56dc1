"""The wiring of the fabric: what ibsim reads, and the cable at a port."""

from __future__ import annotations

import doctest
import re
from collections import Counter

import pytest

from qnib.terminal import shapes
from qnib.terminal.blueprint import Fabric
from qnib.terminal.plan import Plan
from qnib.terminal.shapes import Link
from qnib.terminal.topology import absent, links, plug, size, topology, unplug
from tests.terminal.plans import plan

CABLE = re.compile(r'\[(\d+)\]\t"([\w-]+)"\[(\d+)\]')

FABRICS: dict[str, tuple[int, Fabric]] = {
    "tree of two": (4, Fabric()),
    "tree of eight": (64, Fabric(hosts=8, spines=4)),
    "wide tree": (200, Fabric()),
    "fat tree": (32, Fabric(shape="fat-tree", radix=8)),
    "fat tree, three levels": (16, Fabric(shape="fat-tree", radix=4, levels=3)),
    "part of a fat tree": (5, Fabric(shape="fat-tree", radix=6, levels=3)),
    "ring": (4, Fabric(shape="torus", size=[4], hosts=1)),
    "torus": (18, Fabric(shape="torus", size=[3, 3])),
    "cube": (8, Fabric(shape="torus", size=[2, 2, 2], hosts=1)),
}


def of(name: str) -> Plan:
    count, fabric = FABRICS[name]
    return plan(count, fabric=fabric)


def parse(text: str) -> tuple[dict[str, int], set[tuple[str, int, str, int]]]:
    """Devices with their port counts, and every end of every cable."""
    devices: dict[str, int] = {}
    ends: set[tuple[str, int, str, int]] = set()
    here = ""
    for line in text.splitlines():
        if found := re.fullmatch(r'(?:Switch|Hca) (\d+) "([\w-]+)"', line):
            here = found[2]
            devices[here] = int(found[1])
        elif found := CABLE.match(line):
            ends.add((here, int(found[1]), found[2], int(found[3])))
    return devices, ends


def reached(wired: list[Link], start: str) -> set[str]:
    beside: dict[str, set[str]] = {}
    for link in wired:
        beside.setdefault(link.device, set()).add(link.peer)
        beside.setdefault(link.peer, set()).add(link.device)
    seen, edge = {start}, {start}
    while edge:
        edge = {other for one in edge for other in beside[one]} - seen
        seen |= edge
    return seen


def degrees(made: Plan) -> Counter[str]:
    return Counter(device for link in links(made, made.first) for device in (link.device, link.peer))


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(shapes).failed == 0


@pytest.mark.parametrize("name", FABRICS)
def test_each_cable_has_both_ends_on_ports_that_exist(name: str) -> None:
    made = of(name)
    devices, ends = parse(topology(made))
    assert all((peer, other, device, port) in ends for device, port, peer, other in ends)
    assert all(1 <= port <= devices[device] for device, port, _, _ in ends)
    assert len({(device, port) for device, port, _, _ in ends}) == len(ends)
    assert len(ends) == 2 * len(links(made, made.capacity))
    assert size(made)["nodes"] == len(devices)
    assert size(made)["switches"] == sum(not d.startswith(("compute", "fabric")) for d in devices)


@pytest.mark.parametrize("name", FABRICS)
def test_every_host_reaches_every_other(name: str) -> None:
    made = of(name)
    for nodes in {1, made.first // 2, made.first}:
        assert {f"compute{number}" for number in range(nodes)} <= reached(links(made, nodes), "fabric")


@pytest.mark.parametrize("name", FABRICS)
def test_what_is_there_and_what_is_not_make_the_whole(name: str) -> None:
    made = of(name)
    assert set(links(made, 1)) | set(absent(made, 1)) == set(links(made, made.capacity))
    assert not set(links(made, 1)) & set(absent(made, 1))


def test_a_fat_tree_has_as_many_ports_up_as_down() -> None:
    told = degrees(of("fat tree, three levels"))
    assert all(told[f"SW{leaf}"] == 4 for leaf in range(1, 9))
    assert all(told[f"POD{pod}-M{middle}"] == 4 for pod in range(1, 5) for middle in (1, 2))
    assert [told[f"CORE{core}"] for core in range(1, 5)] == [5, 4, 4, 4], "the subnet manager is on the first"


def test_a_torus_closes_in_every_dimension() -> None:
    told = degrees(plan(9, fabric=Fabric(shape="torus", size=[3, 3])))
    assert {told[f"SW{x}-{y}"] for x in (1, 2, 3) for y in (1, 2, 3)} == {5, 6}
    assert degrees(plan(2, fabric=Fabric(shape="torus", size=[2], hosts=1)))["SW1"] == 3, "no cable twice"


def test_four_nodes_span_two_leaves() -> None:
    wired = links(plan(4), 4)
    assert Link("SW1", 3, "compute0", 1) in wired
    assert Link("SW2", 3, "compute2", 1) in wired
    assert {link.device for link in wired if link.device.startswith("SW")} | {
        link.peer for link in wired if link.peer.startswith("SW")
    } == {"SW1", "SW2"}


def test_without_a_fabric_there_is_no_cable() -> None:
    made = plan(4, fabric=Fabric(shape="none"))
    assert links(made, 4) == []


def test_commands() -> None:
    cable = [Link("SW1", 3, "compute0", 1)]
    assert unplug(cable) == ['Unlink "SW1"[3]']
    assert plug(cable) == ['ReLink "SW1"[3]']
