"""The wiring of the simulated fabric: a two-level tree, written in ibsim's own format.

Leaf switches SW1, SW2 … have their uplinks on ports 1 and 2 (to SPINE1 and SPINE2) and hosts from port 3 on.
Everything the cluster may ever grow to is declared with its cable; what is not there yet is unplugged before
OpenSM starts, and plugged in when the cluster grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qnib.errors import NotFound, WrongUse
from qnib.terminal.blueprint import MAX_NODES, node_names

SPINES = 2
FIRST_HOST_PORT = SPINES + 1
SUBNET_MANAGER = "fabric"
"""OpenSM and the diagnostic tools sit on an HCA of their own, on the last port of SPINE1."""

_PORT = re.compile(r"(?P<device>[\w.-]+)/(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Link:
    """One cable, named by both its ends; the first end is a switch."""

    device: str
    port: int
    peer: str
    peer_port: int

    @property
    def ends(self) -> tuple[str, str]:
        return f"{self.device}/{self.port}", f"{self.peer}/{self.peer_port}"


def leaves(per_leaf: int) -> int:
    return -(-MAX_NODES // per_leaf)


def leaves_in_use(nodes: int, per_leaf: int) -> int:
    return -(-nodes // per_leaf)


def uplinks(leaf: int) -> list[Link]:
    return [Link(f"SPINE{s}", leaf, f"SW{leaf}", s) for s in range(1, SPINES + 1)]


def host_link(number: int, per_leaf: int) -> Link:
    leaf, place = divmod(number, per_leaf)
    return Link(f"SW{leaf + 1}", FIRST_HOST_PORT + place, f"compute{number}", 1)


def links(nodes: int, per_leaf: int) -> list[Link]:
    """All cables of a cluster of so many nodes."""
    found = [link for leaf in range(1, leaves_in_use(nodes, per_leaf) + 1) for link in uplinks(leaf)]
    found += [host_link(number, per_leaf) for number in range(nodes)]
    return [*found, Link("SPINE1", leaves(per_leaf) + 1, SUBNET_MANAGER, 1)]


def topology(per_leaf: int) -> str:
    """ibsim's topology file for all the cluster may grow to: both ends of each cable, at 4x QDR.

    The remarks after ``#`` are read by ibsim, too: they give a port its width and speed.
    """
    ends: dict[str, list[tuple[int, str, int]]] = {}
    for link in links(MAX_NODES, per_leaf):
        ends.setdefault(link.device, []).append((link.port, link.peer, link.peer_port))
        ends.setdefault(link.peer, []).append((link.peer_port, link.device, link.port))
    switches = [(f"SPINE{s}", leaves(per_leaf) + 1) for s in range(1, SPINES + 1)]
    switches += [(f"SW{leaf}", FIRST_HOST_PORT - 1 + per_leaf) for leaf in range(1, leaves(per_leaf) + 1)]
    blocks = []
    for name, ports in switches:
        cables = [f'[{port}]\t"{peer}"[{other}]\t\t# "{peer}" lid 0 4xQDR' for port, peer, other in sorted(ends[name])]
        blocks.append("\n".join([f'Switch {ports} "{name}"', *cables]))
    for name in [SUBNET_MANAGER, *node_names(MAX_NODES)]:
        cables = [
            f'[{port}]\t"{peer}"[{other}]\t\t# lid 0 lmc 0 "{peer}" lid 0 4xQDR' for port, peer, other in ends[name]
        ]
        blocks.append("\n".join([f'Hca 1 "{name}"', *cables]))
    return "\n\n".join(blocks) + "\n"


def absent(nodes: int, per_leaf: int) -> list[Link]:
    """Cables of the full tree that a cluster of so many nodes does not have."""
    wired = set(links(nodes, per_leaf))
    return [link for link in links(MAX_NODES, per_leaf) if link not in wired]


def size(per_leaf: int) -> dict[str, int]:
    """ibsim's table sizes for that topology: nodes, switches, ports (each with room for port 0)."""
    switches = SPINES + leaves(per_leaf)
    ports = SPINES * (leaves(per_leaf) + 2) + leaves(per_leaf) * (FIRST_HOST_PORT + per_leaf) + 2 * (MAX_NODES + 1)
    return {"nodes": switches + MAX_NODES + 1, "switches": switches, "ports": ports}


def find_link(port: str, nodes: int, per_leaf: int) -> Link:
    """The cable at a port written as ``SW1/3``. Raises WrongUse for another form, NotFound when no cable is there."""
    if not _PORT.fullmatch(port):
        raise WrongUse(f"{port!r} is no port.", where="the port", try_next="write device/number, such as SW1/3.")
    wired = links(nodes, per_leaf)
    for link in wired:
        if port in link.ends:
            return link
    device = port.partition("/")[0]
    here = sorted({end for link in wired for end in link.ends if end.startswith(f"{device}/")})
    known = ", ".join(here) if here else ", ".join(sorted({link.device for link in wired}))
    raise NotFound(
        f"No cable is plugged in at {port}.", where="the cluster's fabric",
        try_next=f"use one of: {known}." if known else "start a cluster first.",
    )


def unplug(wired: Iterable[Link]) -> list[str]:
    """ibsim's commands; either end would do."""
    return [f'Unlink "{link.device}"[{link.port}]' for link in wired]


def plug(wired: Iterable[Link]) -> list[str]:
    return [f'ReLink "{link.device}"[{link.port}]' for link in wired]
