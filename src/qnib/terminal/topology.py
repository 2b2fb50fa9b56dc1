"""The wiring of the simulated fabric in ibsim's own format.

Everything the cluster may ever grow to is declared with its cable; what is not there yet is unplugged before
OpenSM starts, and plugged in when the cluster grows.
"""

from __future__ import annotations

from collections.abc import Iterable

from qnib.terminal.plan import Plan, node_names
from qnib.terminal.shapes import SUBNET_MANAGER, Link, Shape, shape_of


def shape(plan: Plan) -> Shape:
    return shape_of(plan.blueprint.fabric, plan.capacity, plan.first)


def links(plan: Plan, nodes: int) -> list[Link]:
    """All cables of a cluster of so many nodes; none where it has no fabric."""
    return shape(plan).links(nodes) if plan.has_fabric else []


def topology(plan: Plan) -> str:
    """ibsim's topology file for all the cluster may grow to: both ends of each cable, at 4x QDR.

    The remarks after ``#`` are read by ibsim, too: they give a port its width and speed.
    """
    ends: dict[str, list[tuple[int, str, int]]] = {}
    for link in links(plan, plan.capacity):
        ends.setdefault(link.device, []).append((link.port, link.peer, link.peer_port))
        ends.setdefault(link.peer, []).append((link.peer_port, link.device, link.port))
    blocks = []
    for name, ports in shape(plan).switches().items():
        cables = [
            f'[{port}]\t"{peer}"[{other}]\t\t# "{peer}" lid 0 4xQDR'
            for port, peer, other in sorted(ends.get(name, ()))
        ]
        blocks.append("\n".join([f'Switch {ports} "{name}"', *cables]))
    for name in [SUBNET_MANAGER, *node_names(plan.capacity)]:
        cables = [
            f'[{port}]\t"{peer}"[{other}]\t\t# lid 0 lmc 0 "{peer}" lid 0 4xQDR' for port, peer, other in ends[name]
        ]
        blocks.append("\n".join([f'Hca 1 "{name}"', *cables]))
    return "\n\n".join(blocks) + "\n"


def absent(plan: Plan, nodes: int) -> list[Link]:
    """Cables of the full fabric that a cluster of so many nodes does not have."""
    wired = set(links(plan, nodes))
    return [link for link in links(plan, plan.capacity) if link not in wired]


def size(plan: Plan) -> dict[str, int]:
    """ibsim's table sizes for that topology: nodes, switches, ports (each device has room for port 0)."""
    switches = shape(plan).switches()
    hosts = plan.capacity + 1
    ports = sum(count + 1 for count in switches.values()) + 2 * hosts
    return {"nodes": len(switches) + hosts, "switches": len(switches), "ports": ports}


def unplug(wired: Iterable[Link]) -> list[str]:
    """ibsim's commands; either end would do."""
    return [f'Unlink "{link.device}"[{link.port}]' for link in wired]


def plug(wired: Iterable[Link]) -> list[str]:
    return [f'ReLink "{link.device}"[{link.port}]' for link in wired]
