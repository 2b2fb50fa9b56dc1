"""The fabric in links: who hangs where, and what is down. From facts alone.

Devices are named as the facts name them (HCA and SW keys are distinct names); a link is known by its two ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from qnib.domains.paths import natural
from qnib.inventory.bulk import bulk
from qnib.inventory.facts import Fact, Facts

LATELY = timedelta(days=7)
"""A connection that ended longer ago is no longer drawn as missing."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two ports and the cable between them; not `up` when it had been there until shortly before."""

    a: str
    a_port: int
    b: str
    b_port: int
    fact: Fact
    cable: str
    up: bool

    @property
    def name(self) -> str:
        return f"{self.a}/{self.a_port}--{self.b}/{self.b_port}"


@dataclass(slots=True)
class Wiring:
    """The fabric at one time."""

    switches: list[str] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    down: list[Link] = field(default_factory=list)
    host_of: dict[str, str] = field(default_factory=dict)
    """Host by adapter."""
    beside: dict[str, dict[str, None]] = field(default_factory=dict)
    """Neighbours by device, over links that are up; a dict for its order."""

    ports: set[str] = field(default_factory=set)
    """Those that have a link that is up, as ``device/number``."""

    def adapter(self, host: str) -> str | None:
        return next((adapter for adapter, owner in self.host_of.items() if owner == host), None)


_MADE_OF = ("CONNECTION", "USES", "BELONGS_TO", "SW", "HCA")
_kept: WeakKeyDictionary[Facts, dict[str, tuple[object, Wiring]]] = WeakKeyDictionary()
"""By record and cluster: the versions of what it was made of, and what is up now. Pages ask for it all the time, and
with 10,000 hosts it takes a quarter of a second."""


def wiring(facts: Facts, cluster: str, at: datetime | None) -> Wiring:
    """What was plugged where at `at` (None: now), and what had been until shortly before. Not to be changed."""
    found = _up_now(facts, cluster) if at is None else _up(facts, cluster, at)
    down = [
        link
        for link in _ended(facts, cluster, at)
        if not found.ports & _ends(link) and _missed(facts, cluster, found, link, at)
    ]
    return replace(found, down=down)


def _up_now(facts: Facts, cluster: str) -> Wiring:
    versions = facts.versions(cluster, *_MADE_OF)  # first: what changes meanwhile is made again
    kept = _kept.setdefault(facts, {})
    if (known := kept.get(cluster)) is None or known[0] != versions:
        known = kept[cluster] = versions, _up(facts, cluster, None)
    return known[1]


@bulk()
def _up(facts: Facts, cluster: str, at: datetime | None) -> Wiring:
    hosts = {
        tie.source.key: tie.target.key
        for tie in facts.relations(cluster, "BELONGS_TO", at)
        if tie.source and tie.target
    }
    cables = {
        tie.source.key: tie.target.key for tie in facts.relations(cluster, "USES", at) if tie.source and tie.target
    }
    links = [link for fact in _held(facts, cluster, "CONNECTION", at) if (link := _link(fact, cables, up=True))]
    place = {name: index for index, name in enumerate(sorted({end for x in links for end in (x.a, x.b)}, key=natural))}
    found = Wiring(
        switches=sorted((fact.key for fact in facts.entities(cluster, "SW", at)), key=natural),
        adapters=sorted((fact.key for fact in facts.entities(cluster, "HCA", at)), key=natural),
        links=sorted(links, key=lambda link: (place[link.a], link.a_port, place[link.b], link.b_port)),
        host_of=hosts, ports={end for link in links for end in _ends(link)},
    )
    for link in found.links:
        found.beside.setdefault(link.a, {})[link.b] = None
        found.beside.setdefault(link.b, {})[link.a] = None
    return found


def _held(facts: Facts, cluster: str, kind: str, at: datetime | None) -> Iterable[Fact]:
    return facts.entities(cluster, kind, at) if at else [f for f in facts.current(cluster, kind) if f.form == "entity"]


def _ends(link: Link) -> set[str]:
    return {f"{link.a}/{link.a_port}", f"{link.b}/{link.b_port}"}


def _link(fact: Fact, cables: Mapping[str, str], *, up: bool) -> Link | None:
    a, _, a_port = str(fact.properties.get("a") or "").rpartition("/")
    b, _, b_port = str(fact.properties.get("b") or "").rpartition("/")
    if not (a and b and a_port.isdigit() and b_port.isdigit()):
        return None
    return Link(a, int(a_port), b, int(b_port), fact, cables.get(fact.key, ""), up)


def _ended(facts: Facts, cluster: str, at: datetime | None) -> list[Link]:
    """The last connection of each pair of ports that ended lately, before `at`."""
    since = (at or facts.now()) - LATELY
    cables = {
        tie.source.key: tie.target.key for tie in facts.ended(cluster, "USES", since) if tie.source and tie.target
    }
    last: dict[str, Link] = {}
    for fact in facts.ended(cluster, "CONNECTION", since):
        link = _link(fact, cables, up=False)
        if link and (at is None or (fact.until and fact.until <= at)):
            last.setdefault(link.name, link)  # the latest comes first
    return list(last.values())


def _missed(facts: Facts, cluster: str, found: Wiring, link: Link, at: datetime | None) -> bool:
    """Whether a link that is gone should be there: not so when its node was taken out of the cluster."""
    hosts = {found.host_of[end] for end in (link.a, link.b) if end in found.host_of}
    if not hosts or at is not None:
        return True
    nodes = {fact.key for fact in facts.current(cluster, "Node")}
    removed = {fact.key for fact in facts.ended(cluster, "Node", link.fact.began)}
    return not hosts & (removed - nodes)


# ── places ─────────────────────────────────────────────────────────────────────────────────────


def leaf_of(facts: Facts, cluster: str, at: datetime | None) -> dict[str, str]:
    """The switch each host hangs on."""
    found = wiring(facts, cluster, at)
    switches = set(found.switches)
    leaves: dict[str, str] = {}
    for adapter, host in found.host_of.items():
        beside = next((other for other in found.beside.get(adapter, ()) if other in switches), None)
        if beside:
            leaves.setdefault(host, beside)
    return leaves


def port_of(facts: Facts, cluster: str, host: str, at: datetime | None) -> dict[str, Any] | None:
    """The host's place: adapter, switch and port, cable, rate and state; None when it has no adapter."""
    found = wiring(facts, cluster, at)
    adapter = found.adapter(host)
    link = next((one for one in (*found.links, *found.down) if adapter in (one.a, one.b)), None)
    if adapter is None or link is None:
        return None
    switch, port = (link.a, link.a_port) if link.b == adapter else (link.b, link.b_port)
    width, speed = link.fact.properties.get("width"), link.fact.properties.get("speed")
    return {
        "hca": adapter, "switch": switch, "switch_port": port, "cable": link.cable,
        "rate": f"{width} {speed}".strip(), "state": "up" if link.up else "down",
    }  # fmt: skip
