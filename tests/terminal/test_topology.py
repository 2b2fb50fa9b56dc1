"""The wiring of the fabric: what ibsim reads, and the cable at a port."""

from __future__ import annotations

import re

import pytest

from qnib.errors import NotFound, WrongUse
from qnib.terminal.blueprint import MAX_NODES, hosts_per_leaf
from qnib.terminal.topology import Link, absent, find_link, links, plug, size, topology, unplug

CABLE = re.compile(r'\[(\d+)\]\t"([\w]+)"\[(\d+)\]')


def parse(text: str) -> tuple[dict[str, int], set[tuple[str, int, str, int]]]:
    """Devices with their port counts, and every end of every cable."""
    devices: dict[str, int] = {}
    ends: set[tuple[str, int, str, int]] = set()
    here = ""
    for line in text.splitlines():
        if found := re.fullmatch(r'(?:Switch|Hca) (\d+) "(\w+)"', line):
            here = found[2]
            devices[here] = int(found[1])
        elif found := CABLE.match(line):
            ends.add((here, int(found[1]), found[2], int(found[3])))
    return devices, ends


@pytest.mark.parametrize("per_leaf", [2, 3, 8])
def test_each_cable_has_both_ends_on_ports_that_exist(per_leaf: int) -> None:
    devices, ends = parse(topology(per_leaf))
    assert all((peer, other, device, port) in ends for device, port, peer, other in ends)
    assert all(1 <= port <= devices[device] for device, port, _, _ in ends)
    assert len({(device, port) for device, port, _, _ in ends}) == len(ends)
    assert len(ends) == 2 * len(links(MAX_NODES, per_leaf))
    assert size(per_leaf)["nodes"] == len(devices)
    assert size(per_leaf)["switches"] == sum(not d.startswith(("compute", "fabric")) for d in devices)


def test_four_nodes_span_two_leaves() -> None:
    wired = links(4, hosts_per_leaf(4))
    assert Link("SW1", 3, "compute0", 1) in wired
    assert Link("SW2", 3, "compute2", 1) in wired
    assert {link.device for link in wired if link.device.startswith("SW")} | {
        link.peer for link in wired if link.peer.startswith("SW")
    } == {"SW1", "SW2"}


def test_what_is_there_and_what_is_not_make_the_whole() -> None:
    assert set(links(5, 2)) | set(absent(5, 2)) == set(links(MAX_NODES, 2))
    assert not set(links(5, 2)) & set(absent(5, 2))


def test_a_cable_is_found_by_either_end() -> None:
    assert find_link("SW1/3", 4, 2) == find_link("compute0/1", 4, 2)


@pytest.mark.parametrize("port", ["SW1", "SW1/", "SW1/x", "/3", 'SW1/3"; Quit', "SW1/3 "])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(WrongUse):
        find_link(port, 4, 2)


@pytest.mark.parametrize("port", ["SW1/9", "SW3/3", "compute4/1", "nothing/1"])
def test_a_port_without_a_cable_tells_what_there_is(port: str) -> None:
    with pytest.raises(NotFound) as error:
        find_link(port, 4, 2)
    assert "SW1" in error.value.try_next


def test_commands() -> None:
    cable = [find_link("SW1/3", 4, 2)]
    assert unplug(cable) == ['Unlink "SW1"[3]']
    assert plug(cable) == ['ReLink "SW1"[3]']
