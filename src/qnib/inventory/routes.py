"""How packets go from one host to another: by the switches' own tables, or by a shortest way where none is known.

A table is followed port by port. It may be wrong: a loop is told with the switches in it, a dead end with the port
where the packets are dropped; neither is ever followed for ever. With adaptive routing a switch may choose other
ports than its table's: what is told is a possible route.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qnib.errors import NotFound, WrongUse
from qnib.inventory.net import NOBODY, Net, Nets

By = Literal["tables", "shortest", "tables, then shortest"]
MOST_RAILS = 16
"""Routes told between two hosts with several ports each."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One link of a route. `by`: why it is taken: the adapter has no other, the switch's table, or it is shortest."""

    port: str
    peer: str
    link: str
    cable: str
    by: Literal["adapter", "table", "shortest"]


@dataclass(slots=True)
class Route:
    """From one port to another. `problem` is empty when it gets there."""

    a: str
    b: str
    source: str
    target: str
    lid: int | None
    by: By
    hops: list[Hop] = field(default_factory=list)
    complete: bool = False
    problem: str = ""
    tables_since: datetime | None = None

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "tables_since": self.tables_since.isoformat() if self.tables_since else None}


def routes(nets: Nets, cluster: str, a: str, b: str, at: datetime | None = None) -> list[Route]:
    """From `a` to `b`, each a host or a port (``compute0/1``): for every port of the one to every port of the other.

    Raises NotFound for a name without a port in the fabric, WrongUse for the way from a host to itself.
    """
    net = nets.at(cluster, at)
    starts, ends = (_ports(nets, net, cluster, name, at) for name in (a, b))
    if set(starts) & set(ends):
        raise WrongUse(f"{a} and {b} are the same.", where=cluster, try_next="name two hosts.")
    pairs = [(start, end) for start in starts for end in ends]
    return [follow(net, start, end, a, b) for start, end in pairs[:MOST_RAILS]]


def _ports(nets: Nets, net: Net, cluster: str, name: str, at: datetime | None) -> list[tuple[int, int]]:
    port = net.find_port(name)
    if port is not None and net.link_at(*port) is not None:
        if port[0] < net.switches:
            raise WrongUse(f"{name} is a port of a switch.", where=cluster, try_next="a route joins two hosts.")
        return [port]
    host = nets.facts.resolve(cluster, name, at) or name
    found = net.ports_of.get(host) or []
    if not found:
        raise NotFound(
            f"{name} has no port in the fabric that is connected.", where=f"cluster {cluster}",
            try_next="`qnib graph ask hosts_on_switch --param switch=NAME` lists what is connected.",
        )  # fmt: skip
    return found


def follow(net: Net, start: tuple[int, int], end: tuple[int, int], a: str = "", b: str = "") -> Route:
    """The way from a port of an adapter to another's."""
    target, target_port = end
    lid = net.lid_at.get(end)
    route = Route(a, b, net.port(*start), net.port(*end), lid, "tables", tables_since=net.since)
    device, port = start
    why: Literal["adapter", "table", "shortest"] = "adapter"
    used: set[str] = set()
    seen: list[int] = []
    while True:
        link = net.link_at(device, port)
        if link is None:
            route.problem = f"dead end: {net.port(device, port)}, where the table leads, is not connected"
            break
        other, other_port = int(net.peer[device, port]), int(net.peer_port[device, port])
        route.hops.append(Hop(net.port(device, port), net.port(other, other_port), link.name, link.cable, why))
        device = other
        if device == target:
            route.complete = True
            if other_port != target_port:
                route.problem = f"it arrives at {net.port(other, other_port)}, not at {route.target}"
            break
        if device >= net.switches:
            route.problem = f"dead end: {net.names[device]} is an adapter, which forwards nothing"
            break
        if device in seen:
            cycle = [net.names[one] for one in [*seen[seen.index(device) :], device]]
            route.problem = f"loop: {' → '.join(cycle)}"
            break
        seen.append(device)
        port, why, problem = _out(net, device, target, lid)
        used.add(why)
        if problem:
            route.problem = problem
            break
    route.by = "shortest" if used == {"shortest"} else "tables, then shortest" if "shortest" in used else "tables"
    return route


def _out(net: Net, switch: int, target: int, lid: int | None) -> tuple[int, Literal["table", "shortest"], str]:
    """By which port a switch sends on, why, and what is wrong with that."""
    if lid is None or not net.known[switch]:
        port = int(net.shortest(target)[switch])
        return port, "shortest", "" if port != NOBODY else f"there is no way from {net.names[switch]}"
    port = int(net.tables[switch, lid]) if lid < net.tables.shape[1] else 255
    if port in (0, 255):
        return port, "table", f"dead end: the table of {net.names[switch]} has no port for LID {lid}"
    return port, "table", ""


# ── many at once ──────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Traffic:
    """What the routes between some ports use. `pairs`: of shape (links,): how many ordered pairs of them cross each
    link. `of`: how many pairs there are; `lost`: pairs that do not get there."""

    pairs: NDArray[np.int64]
    of: int
    lost: int
    by: By


def between(net: Net, ports: Sequence[tuple[int, int]]) -> Traffic:
    """The routes from each of these ports of adapters to each of the others. Two ports of one adapter talk to each
    other inside the host."""
    crossed = np.zeros(len(net.links), np.int64)
    pairs = len({device for device, _ in ports})
    of = pairs * (pairs - 1)
    columns = [net.column(*port) for port in ports]
    guessed = sum(guess for _, guess in columns)
    by: By = "tables" if not guessed else "shortest" if not net.known.any() else "tables, then shortest"
    if not columns:
        return Traffic(crossed, of, 0, by)
    out = np.full((len(ports), net.switches + 1), NOBODY, np.int64)  # the last is for adapters, which forward nothing
    out[:, :-1] = [column for column, _ in columns]
    devices, numbers = np.array(ports, np.int64).T
    alike = devices[:, None] == devices
    others = len(ports) - alike.sum(axis=1)
    first = net.link[devices, numbers]
    there = first != NOBODY
    lost = int(others[~there].sum())
    np.add.at(crossed, first[there], others[there])
    # From its switch on each goes the way of all that are plugged in there: one step for as many as they are.
    where, group = np.unique(net.peer[devices, numbers][there], return_inverse=True)
    ways = np.zeros((len(where), len(ports)), np.int64)
    np.add.at(ways, group, ~alike[there])
    start, to = np.nonzero(ways)
    device, many = where[start].astype(np.int64), ways[start, to]
    for _ in range(net.switches):  # more links than any way without a loop has
        on = device != devices[to]
        device, to, many = device[on], to[on], many[on]
        port = out[to, np.minimum(device, net.switches)]
        known = (port != NOBODY) & (port < net.link.shape[1])
        link = np.where(known, net.link[device, np.where(known, port, 0)], NOBODY)
        on = link != NOBODY
        lost += int(many[~on].sum())
        device, to, many, port, link = device[on], to[on], many[on], port[on], link[on]
        if not len(device):
            break
        np.add.at(crossed, link, many)
        device = net.peer[device, port].astype(np.int64)
    return Traffic(crossed, of, lost + int(many[device != devices[to]].sum()), by)


def faults(net: Net, most: int = 100) -> list[dict[str, Any]]:
    """What is wrong with the tables that are known: {lid, target, switch, problem}, at most `most`.

    Each switch's way to each connected adapter is looked at; a switch that many ways lead through is told for each
    LID it fails, once.
    """
    found: list[dict[str, Any]] = []
    own = np.arange(net.switches)
    for end, lid in sorted(net.lid_at.items(), key=lambda pair: pair[1]):
        target, target_port = end
        if target < net.switches or net.link_at(target, target_port) is None:
            continue
        out, _ = net.column(target, target_port)
        known = net.known if lid < net.tables.shape[1] else np.zeros_like(net.known)
        ends = known & (out == NOBODY)
        safe = np.where(out == NOBODY, 0, np.minimum(out, net.peer.shape[1] - 1))
        there = np.where(out == NOBODY, NOBODY, net.peer[own, safe])
        there = np.where(out >= net.peer.shape[1], NOBODY, there)
        ends |= known & (there == NOBODY)
        ends |= known & (there >= net.switches) & (there != target)
        bad = [(int(switch), "dead end") for switch in np.flatnonzero(ends)]
        bad += [(switch, "loop") for switch in _looping(there, target, net.switches)]
        for switch, problem in bad:
            found.append({"lid": lid, "target": net.port(*end), "switch": net.names[switch], "problem": problem})
            if len(found) >= most:
                return found
    return found


def _looping(there: NDArray[Any], target: int, switches: int) -> list[int]:
    """Switches in a circle of next steps: still on the way after more steps than there are switches."""
    step = np.where((there >= 0) & (there < switches), there, switches).astype(np.int64)
    step = np.append(step, switches)  # arrived, or ended
    here = step.copy()
    for _ in range(max(1, switches.bit_length())):
        here = here[here]
    stuck = np.unique(here[:switches][here[:switches] != switches])
    circle: set[int] = set()
    for start in stuck.tolist():
        one = start
        while one not in circle and one != switches:
            circle.add(one)
            one = int(step[one])
    return sorted(circle)
