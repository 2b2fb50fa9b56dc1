"""Which cable is plugged in where right now: the plan's wiring, with what faults have pulled out or moved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from qnib.errors import Conflict, NotFound, WrongUse
from qnib.terminal import topology
from qnib.terminal.faults.written import Fault
from qnib.terminal.plan import Plan

_PORT = re.compile(r"(?P<device>[\w.-]+)/(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Cable:
    """A cable keeps its name (the two ports of the plan) wherever it is plugged in. `a` and `b` are ``SW1/3``."""

    name: str
    a: str
    b: str
    plugged: bool = True

    @property
    def ends(self) -> list[str]:
        return [self.a, self.b]

    def beyond(self, port: str) -> str:
        return self.b if port == self.a else self.a


def cables(plan: Plan, nodes: int, faults: Iterable[Fault]) -> list[Cable]:
    """All cables of a cluster of so many nodes as open `faults` leave them."""
    found = {f"{a}--{b}": Cable(f"{a}--{b}", a, b) for a, b in (link.ends for link in topology.links(plan, nodes))}
    for fault in faults:
        if fault.cleared or fault.cable not in found:
            continue
        cable = found[fault.cable]
        if fault.kind == "cable-move":
            found[fault.cable] = replace(
                cable, a=fault.value if cable.a == fault.target else cable.a,
                b=fault.value if cable.b == fault.target else cable.b,
            )
        elif fault.kind in ("cable-out", "node-down"):
            found[fault.cable] = replace(cable, plugged=False)
    return list(found.values())


def at(port: str, wired: Iterable[Cable]) -> Cable:
    """The cable at a port written as ``SW1/3``. Raises WrongUse for another form, NotFound when no cable is there."""
    device, _ = parts(port)
    wired = list(wired)
    for cable in wired:
        if port in cable.ends:
            return cable
    here = sorted({end for cable in wired for end in cable.ends if end.startswith(f"{device}/")})
    known = ", ".join(here) or ", ".join(sorted({cable.a.partition("/")[0] for cable in wired}))
    raise NotFound(
        f"No cable is plugged in at {port}.", where="the cluster's fabric",
        try_next=f"use one of: {known}." if known else "the cluster has no fabric: its blueprint says so.",
    )


def check_free(port: str, plan: Plan, wired: Iterable[Cable]) -> None:
    """Raises NotFound for a port that does not exist, Conflict for one with a cable in it."""
    device, number = parts(port)
    ports = topology.shape(plan).switches() if plan.has_fabric else {}
    if not 1 <= number <= ports.get(device, 0):
        raise NotFound(
            f"There is no port {port}.", where="the cluster's fabric",
            try_next=f"{device} has ports 1 to {ports[device]}." if device in ports else "name a switch's port.",
        )
    # Ports of nodes to come are kept for them.
    taken = {end for cable in wired for end in cable.ends} | {
        end for link in topology.links(plan, plan.capacity) for end in link.ends
    } - {end for cable in wired for end in cable.name.split("--")}
    if port in taken:
        free = [f"{device}/{n}" for n in range(1, ports[device] + 1) if f"{device}/{n}" not in taken]
        raise Conflict(
            f"A cable is plugged in at {port}, or will be when the cluster grows.", where="the cluster's fabric",
            try_next=f"free on {device}: {', '.join(free)}." if free else f"{device} has no free port.",
        )


def parts(port: str) -> tuple[str, int]:
    """Device and number of ``SW1/3``."""
    found = _PORT.fullmatch(port)
    if not found:
        raise WrongUse(f"{port!r} is no port.", where="the port", try_next="write device/number, such as SW1/3.")
    return found["device"], int(found["port"])


def link(cable: Cable) -> str:
    """ibsim's command that plugs the cable in where it is."""
    (a, a_port), (b, b_port) = parts(cable.a), parts(cable.b)
    return f'Link "{a}"[{a_port}] "{b}"[{b_port}]'


def unlink(cable: Cable) -> str:
    device, port = parts(cable.a)
    return f'Unlink "{device}"[{port}]'
