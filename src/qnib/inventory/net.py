"""The fabric as arrays: who is behind which port of which device, and by which port a switch sends on to whom.

Made from the record once for each state of the fabric and kept, so that a route costs a few look-ups.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from qnib.domains.paths import natural
from qnib.engine import Engine
from qnib.inventory import forwarding
from qnib.inventory.fabric import Link, Wiring, wiring
from qnib.inventory.facts import Facts

NOBODY = -1
_MADE_OF = ("CONNECTION", "PORT", "SW", "HCA", "BELONGS_TO", "USES")
MOST_PAST = 4
"""States of the past that are kept, of all clusters together."""

Numbers = NDArray[np.int32]


@dataclass(slots=True)
class Net:
    """One state of a fabric. Devices are numbered, switches first."""

    names: list[str]
    switches: int
    """How many of the devices are switches."""
    links: list[Link]
    peer: Numbers
    """Of shape (devices, ports): the device behind a port, or NOBODY."""
    peer_port: Numbers
    link: Numbers
    """Of shape (devices, ports): the number of the link at a port, or NOBODY."""
    tables: NDArray[np.uint8]
    """Of shape (switches, lids): by which port a switch sends on."""
    known: NDArray[np.bool_]
    """Of shape (switches,): whether the switch's table is known."""
    lids: dict[int, tuple[int, int]]
    """Device and port by LID; a switch's is at port 0."""
    ports_of: dict[str, list[tuple[int, int]]]
    """Where a host is plugged in: (device, port), in natural order."""
    host_of: dict[int, str]
    since: datetime | None = None
    """When the tables last changed."""
    number: dict[str, int] = field(default_factory=dict)
    lid_at: dict[tuple[int, int], int] = field(default_factory=dict)
    all_known: bool = False
    """Whether the table of every switch that has a link is known."""
    _next: dict[int, Numbers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.all_known = bool((self.known | ~self.connected).all() and self.known.any())

    @property
    def connected(self) -> NDArray[np.bool_]:
        """Of shape (switches,): which have a link; the others are in nobody's way."""
        found: NDArray[np.bool_] = (self.peer[: self.switches] != NOBODY).any(axis=1)
        return found

    def port(self, device: int, port: int) -> str:
        return f"{self.names[device]}/{port}"

    def find_port(self, name: str) -> tuple[int, int] | None:
        """The device and the number of a port named ``SW1/3``."""
        device, _, port = name.rpartition("/")
        if device not in self.number or not port.isdigit():
            return None
        return self.number[device], int(port)

    def link_at(self, device: int, port: int) -> Link | None:
        if port >= self.link.shape[1] or self.link[device, port] == NOBODY:
            return None
        return self.links[int(self.link[device, port])]

    def shortest(self, target: int) -> Numbers:
        """Of shape (devices,): the port by which each device sends on to `target` on a shortest way; NOBODY where
        there is none. Of several the port with the lowest number. Only switches forward."""
        known = self._next.get(target)
        if known is not None:
            return known
        out = np.full(len(self.names), NOBODY, np.int32)
        far = np.full(len(self.names), NOBODY, np.int32)
        far[target] = 0
        waiting = deque([target])
        while waiting:
            here = waiting.popleft()
            if here >= self.switches and here != target:
                continue
            for port in np.flatnonzero(self.peer[here] != NOBODY):
                other = int(self.peer[here, port])
                back = int(self.peer_port[here, port])
                if far[other] == NOBODY:
                    far[other] = far[here] + 1
                    out[other] = back
                    waiting.append(other)
                elif other != target and far[other] == far[here] + 1 and back < out[other]:
                    out[other] = back
        self._next[target] = out
        return out

    def column(self, target: int, port: int) -> tuple[Numbers, bool]:
        """Of shape (switches,): the port by which each switch sends on to that port of a device, NOBODY for none;
        and whether any of it is only a shortest way, for want of a table or of the LID."""
        lid = self.lid_at.get((target, port))
        if lid is None or not self.known.any():
            return self.shortest(target)[: self.switches], True
        told = self.tables[:, lid].astype(np.int32) if lid < self.tables.shape[1] else np.full(self.switches, 255)
        told = np.where((told == forwarding.NONE) | (told == 0), NOBODY, told).astype(np.int32)
        if self.all_known:
            return told, False
        return np.where(self.known, told, self.shortest(target)[: self.switches]).astype(np.int32), True


class Nets:
    """The nets of all clusters, now and at a few other times. Thread-safe."""

    def __init__(self, engine: Engine, facts: Facts) -> None:
        self.engine = engine
        self.facts = facts
        self._lock = threading.Lock()
        self._now: dict[str, tuple[object, Net]] = {}
        self._past: OrderedDict[tuple[object, ...], Net] = OrderedDict()

    def at(self, cluster: str, at: datetime | None = None) -> Net:
        """The fabric of a cluster at `at` (None: now)."""
        with self._lock:
            if at is None:
                # Jobs that come and go do not change it.
                mark = (self.facts.versions(cluster, *_MADE_OF), forwarding.mark(cluster))
                held = self._now.get(cluster)
                if held is None or held[0] != mark:
                    held = self._now[cluster] = (mark, build(self.engine, self.facts, cluster, None))
                return held[1]
            # A late record changes the past: what was written since makes another past of it.
            key = (cluster, at, self.facts.mark(), forwarding.mark(cluster))
            net = self._past.pop(key, None) or build(self.engine, self.facts, cluster, at)
            self._past[key] = net
            while len(self._past) > MOST_PAST:
                self._past.popitem(last=False)
            return net


def build(engine: Engine, facts: Facts, cluster: str, at: datetime | None) -> Net:
    found = wiring(facts, cluster, at)
    names = [*found.switches, *found.adapters]
    number = {name: index for index, name in enumerate(names)}
    links = [link for link in found.links if link.a in number and link.b in number]
    widest = max((max(link.a_port, link.b_port) for link in links), default=0) + 1
    peer, peer_port, at_port = (np.full((len(names), widest), NOBODY, np.int32) for _ in range(3))
    for index, link in enumerate(links):
        a, b = number[link.a], number[link.b]
        peer[a, link.a_port], peer_port[a, link.a_port], at_port[a, link.a_port] = b, link.b_port, index
        peer[b, link.b_port], peer_port[b, link.b_port], at_port[b, link.b_port] = a, link.a_port, index
    told = forwarding.read(engine, cluster, at)
    tables = np.full(
        (len(found.switches), max((len(ports) for ports in told.values()), default=1)), forwarding.NONE, np.uint8
    )
    known = np.zeros(len(found.switches), np.bool_)
    for name, ports in told.items():
        if name in number and number[name] < len(found.switches):
            tables[number[name], : len(ports)] = ports
            known[number[name]] = True
    lids = _lids(facts, cluster, at, number, len(found.switches))
    net = Net(
        names, len(found.switches), links, peer, peer_port, at_port, tables, known, lids, _places(found, number, peer),
        {number[adapter]: host for adapter, host in found.host_of.items() if adapter in number},
        forwarding.since(engine, cluster, at), number,
    )
    for lid, end in sorted(lids.items(), reverse=True):  # of several the first
        net.lid_at[end] = lid
    return net


def _lids(
    facts: Facts, cluster: str, at: datetime | None, number: dict[str, int], switches: int
) -> dict[int, tuple[int, int]]:
    """Device and port by LID. With an LMC a port has 2^LMC of them in a row."""
    found: dict[int, tuple[int, int]] = {}
    for fact in facts.entities(cluster, "PORT", at):
        lid, device = fact.properties.get("lid"), number.get(str(fact.properties.get("node")))
        if device is None or not isinstance(lid, int) or not lid:
            continue
        port = 0 if device < switches else int(str(fact.properties.get("number") or 0))
        if device >= switches and fact.silent is not None and lid in found:
            continue  # an adapter nobody hears of may have had a LID that another has now
        mask = int(str(fact.properties.get("lmc") or 0))
        for one in range(lid, lid + (1 << mask)):
            found[one] = (device, port)
    return found


def _places(found: Wiring, number: dict[str, int], peer: Numbers) -> dict[str, list[tuple[int, int]]]:
    places: dict[str, list[tuple[int, int]]] = {}
    for adapter in sorted(found.host_of, key=natural):
        if adapter in number:
            own = number[adapter]
            ports = [(own, int(port)) for port in np.flatnonzero(peer[own] != NOBODY)]
            places.setdefault(found.host_of[adapter], []).extend(ports)
    return places
