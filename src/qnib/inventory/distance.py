"""How far apart hosts are in the fabric, and which links lie on shortest ways between them.

Only switches forward: a way never leads through an adapter. Hosts on the same switches have the same distances, so
one search is made for each set of switches, not for each host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from qnib.domains.paths import natural
from qnib.inventory.fabric import Link, Wiring, wiring
from qnib.inventory.facts import Facts

MOST_HOSTS = 64
"""Places of one job's hosts whose routes are drawn: as many as a number has bits."""
APART = -1
"""Stands for a distance where there is no way."""

Hops = NDArray[np.int16]


class Distances:
    """Links between the hosts of one wiring."""

    def __init__(self, found: Wiring) -> None:
        self._wiring = found
        self._number = {name: index for index, name in enumerate(found.switches)}
        pairs = [
            (self._number[link.a], self._number[link.b])
            for link in found.links
            if link.a in self._number and link.b in self._number
        ]
        both = np.array([*pairs, *((b, a) for a, b in pairs)], dtype=np.int64).reshape(-1, 2)
        order = np.argsort(both[:, 0], kind="stable")
        self._beside = both[order, 1]
        self._from = np.searchsorted(both[order, 0], np.arange(len(self._number) + 1))
        adapters: dict[str, list[str]] = {}
        for adapter, host in found.host_of.items():
            adapters.setdefault(host, []).append(adapter)
        self._at: dict[str, tuple[int, ...]] = {
            host: tuple(sorted({self._number[s] for a in own for s in found.beside.get(a, ()) if s in self._number}))
            for host, own in adapters.items()
        }
        self._searched: dict[tuple[int, ...], Hops] = {}

    def switches_of(self, host: str) -> tuple[int, ...]:
        """Numbers of the switches the host hangs on; empty for none."""
        return self._at.get(host, ())

    def from_switches(self, start: tuple[int, ...]) -> Hops:
        """Links from any of these switches to every switch, by its number in ``Wiring.switches``."""
        if (known := self._searched.get(start)) is not None:
            return known
        far = np.full(len(self._number), APART, dtype=np.int16)
        here = np.array(start, dtype=np.int64)
        far[here] = 0
        steps = 0
        while here.size:
            steps += 1
            counts = self._from[here + 1] - self._from[here]
            first = np.repeat(self._from[here] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
            reached = np.unique(self._beside[first + np.arange(counts.sum())])
            here = reached[far[reached] == APART]
            far[here] = steps
        self._searched[start] = far
        return far

    def between(self, hosts: Sequence[str]) -> Hops:
        """Links on a shortest way, shape (hosts, hosts); 0 with itself, `APART` where there is none."""
        places = [self.switches_of(host) for host in hosts]
        kinds = {place: index for index, place in enumerate(dict.fromkeys(places))}
        table = np.full((len(kinds), len(kinds)), APART, dtype=np.int16)
        for one, row in kinds.items():
            if not one:
                continue
            far = self.from_switches(one)
            for other, column in kinds.items():
                if (way := _least(far, other)) != APART:
                    table[row, column] = way + 2
        index = np.array([kinds[place] for place in places], dtype=np.int64)
        found: Hops = table[np.ix_(index, index)]
        np.fill_diagonal(found, 0)
        return found


def hops(facts: Facts, cluster: str, hosts: Sequence[str], at: datetime | None) -> tuple[list[str], Hops]:
    """The hosts in natural order, and the links between each two of them, shape (hosts, hosts)."""
    names = sorted(set(hosts), key=natural)
    return names, Distances(wiring(facts, cluster, at)).between(names)


def links_on_routes(found: Wiring, hosts: Iterable[str]) -> set[str]:
    """Names of the links on some shortest way between two of the hosts: the routes that are possible."""
    return {link.name for link in _on_routes(found, hosts)}


def ports_on_routes(facts: Facts, cluster: str, hosts: Iterable[str], at: datetime | None) -> list[str]:
    """Both ports of every such link, as ``device/number``."""
    links = _on_routes(wiring(facts, cluster, at), hosts)
    return sorted({f"{name}/{port}" for k in links for name, port in ((k.a, k.a_port), (k.b, k.b_port))}, key=natural)


def _on_routes(found: Wiring, hosts: Iterable[str]) -> list[Link]:
    known = Distances(found)
    number = {name: index for index, name in enumerate(found.switches)}
    members = {host for host in hosts if known.switches_of(host)}
    if len(members) < 2:
        return []
    own = {adapter for adapter, host in found.host_of.items() if host in members}
    links = [
        link for link in found.links
        if (link.a in own or link.b in own) and (link.a in number or link.b in number)
    ]  # fmt: skip
    between = [link for link in found.links if link.a in number and link.b in number]
    a = np.array([number[link.a] for link in between], dtype=np.int64)
    b = np.array([number[link.b] for link in between], dtype=np.int64)
    places = list(dict.fromkeys(known.switches_of(host) for host in sorted(members, key=natural)))[:MOST_HOSTS]
    far = np.array([known.from_switches(place) for place in places])
    used = np.zeros(len(between), dtype=bool)
    bits = np.uint64(1) << np.arange(len(places), dtype=np.uint64)[:, None]
    for here in far:
        # For each switch a bit for each place such that it lies on a shortest way from here to there.
        way = np.array([_least(here, place) for place in places], dtype=np.int16)[:, None]
        on = (here + far == way) & (here != APART) & (far != APART) & (way != APART)
        there = np.bitwise_or.reduce(np.where(on, bits, np.uint64(0)))
        used |= (there[a] & there[b] != 0) & (np.abs(here[a] - here[b]) == 1)
    return links + [link for link, on in zip(between, used, strict=True) if on]


def _least(far: Hops, switches: tuple[int, ...]) -> int:
    """Links to the nearest of these switches."""
    return min((int(far[switch]) for switch in switches if far[switch] != APART), default=APART)
