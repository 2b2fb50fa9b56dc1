"""Moves octets along the routes OpenSM computed: from what pairs of hosts exchanged to what each port counted.

Pure. The unit is the octet; a port has `xmit_data`, `rcv_data`, `xmit_packets`, `rcv_packets`, and `xmit_wait` where
more was sent in the interval than a link can carry.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qnib.terminal.counting import Sent
from qnib.terminal.wiring import Cable, parts

MOST_HOPS = 64
PACKET = 2048
"""Octets of an InfiniBand packet; the kernel hands over many of its own packets as one."""
TICK = 64
"""Octets a port sends in one tick of PortXmitWait."""

_SWITCH = re.compile(r"^Unicast lids \[.*\] of switch Lid \d+ guid 0x[0-9a-f]+ \('(.*)'\):$")
_ENTRY = re.compile(r"^0x([0-9a-f]{4}) (\d{3}) # .*'(.*)'$")

Grown = dict[str, dict[str, int]]
"""By port (``SW1/3``) and counter."""


@dataclass(slots=True)
class Routes:
    """`ports[switch][lid]` is the port to send out on; `lids` by the name of a device."""

    ports: dict[str, dict[int, int]] = field(default_factory=dict)
    lids: dict[str, int] = field(default_factory=dict)


def parse_routes(text: str) -> Routes:
    """OpenSM's dump of its forwarding tables (``opensm-lfts.dump``). Raises ValueError for a dump cut short."""
    found = Routes()
    ports: dict[int, int] | None = None
    for line in text.splitlines():
        if head := _SWITCH.match(line):
            ports = found.ports.setdefault(head[1], {})
        elif entry := _ENTRY.match(line):
            if ports is None:
                raise ValueError(f"an entry before any switch: {line!r}")
            ports[int(entry[1], 16)] = int(entry[2])
            found.lids[entry[3]] = int(entry[1], 16)
    if not text.rstrip().endswith("dumped"):
        raise ValueError(f"cut short at {text[-60:]!r}")
    return found


@dataclass(slots=True)
class Load:
    """What one interval brought: counters' growth, and octets that found no way (a cable is out, no route yet)."""

    grown: Grown
    lost: int


def carry(
    sent: Mapping[tuple[str, str], Sent], routes: Routes, wired: Iterable[Cable], *, capacity: float, seconds: float,
) -> Load:
    """Along which ports what hosts sent each other went. `sent` by names of hosts; `capacity` of a link in octets a
    second; `seconds` since the last time."""
    beyond = {}
    for cable in wired:
        if cable.plugged:
            beyond[cable.a], beyond[cable.b] = cable.b, cable.a
    grown: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    lost = 0
    for (source, target), flow in sent.items():
        ports = list(_way(source, target, routes, beyond))
        if not ports:
            lost += flow.octets
            continue
        packets = max(flow.packets, -(-flow.octets // PACKET))
        for out, into in ports:
            grown[out]["xmit_data"] += flow.octets
            grown[out]["xmit_packets"] += packets
            grown[into]["rcv_data"] += flow.octets
            grown[into]["rcv_packets"] += packets
    for counters in grown.values():
        load = counters.get("xmit_data", 0) / (capacity * seconds)
        if load > 1:
            # The queue never was empty, and for this share of the time its head had to wait.
            counters["xmit_wait"] = int(seconds * (1 - 1 / load) * capacity / TICK)
    return Load({port: dict(counters) for port, counters in grown.items()}, lost)


def _way(source: str, target: str, routes: Routes, beyond: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(port out, port in) for each link from host to host; nothing where there is no way."""
    lid = routes.lids.get(target)
    found: list[tuple[str, str]] = []
    out = f"{source}/1"
    for _ in range(MOST_HOPS):
        into = beyond.get(out)
        if into is None or lid is None:
            return
        found.append((out, into))
        device, _ = parts(into)
        if device == target:
            yield from found
            return
        port = routes.ports.get(device, {}).get(lid)
        if port is None:
            return
        out = f"{device}/{port}"
