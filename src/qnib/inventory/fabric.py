"""The fabric as a picture and in links: who hangs where, how far apart, what is down. From facts alone.

Devices are named as the facts name them (HCA and SW keys are distinct names); a link is known by its two ports.
Positions are computed here: levels of a tree are known, so the picture stays still between two looks at it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

from qnib.domains.paths import natural
from qnib.inventory.facts import Fact, Facts

LATELY = timedelta(days=7)
"""A connection that ended longer ago is no longer drawn as missing."""
MOST_HOSTS = 64
"""Hosts of one job whose routes are drawn; the number of pairs grows with its square."""
CHANGES = 30


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

    def adapter(self, host: str) -> str | None:
        return next((adapter for adapter, owner in self.host_of.items() if owner == host), None)

    def distances(self, start: str) -> dict[str, int]:
        """Links from `start` to every device that can be reached."""
        found, waiting = {start: 0}, deque([start])
        while waiting:
            here = waiting.popleft()
            for other in self.beside.get(here, ()):
                if other not in found:
                    found[other] = found[here] + 1
                    waiting.append(other)
        return found


def wiring(facts: Facts, cluster: str, at: datetime | None) -> Wiring:
    """What was plugged where at `at` (None: now), and what had been until shortly before."""
    hosts = {
        tie.source.key: tie.target.key
        for tie in facts.relations(cluster, "BELONGS_TO", at)
        if tie.source and tie.target
    }
    cables = {
        tie.source.key: tie.target.key for tie in facts.relations(cluster, "USES", at) if tie.source and tie.target
    }
    links = [link for fact in _held(facts, cluster, "CONNECTION", at) if (link := _link(fact, cables, up=True))]
    used = {end for link in links for end in _ends(link)}
    found = Wiring(
        switches=sorted((fact.key for fact in facts.entities(cluster, "SW", at)), key=natural),
        adapters=sorted((fact.key for fact in facts.entities(cluster, "HCA", at)), key=natural),
        links=sorted(links, key=lambda link: natural(link.name)),
        host_of=hosts,
    )
    for link in found.links:
        found.beside.setdefault(link.a, {})[link.b] = None
        found.beside.setdefault(link.b, {})[link.a] = None
    found.down = [
        link
        for link in _ended(facts, cluster, at)
        if not used & _ends(link) and _missed(facts, cluster, found, link, at)
    ]
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


# ── how far apart ─────────────────────────────────────────────────────────────────────────────


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


def hops(facts: Facts, cluster: str, hosts: list[str], at: datetime | None) -> dict[tuple[str, str], int]:
    """Links between each pair of hosts on a shortest way; a pair that cannot reach each other is left out."""
    found = wiring(facts, cluster, at)
    adapters = {host: adapter for host in hosts if (adapter := found.adapter(host))}
    far = {host: found.distances(adapter) for host, adapter in adapters.items()}
    return {
        (a, b): far[a][adapters[b]] for a, b in combinations(sorted(adapters, key=natural), 2) if adapters[b] in far[a]
    }


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


def _on_routes(found: Wiring, hosts: list[str]) -> set[str]:
    """Names of the links on some shortest way between two of the hosts: the routes that are possible."""
    adapters = [adapter for host in hosts[:MOST_HOSTS] if (adapter := found.adapter(host))]
    far = {adapter: found.distances(adapter) for adapter in adapters}
    return {
        link.name
        for a, b in combinations(adapters, 2)
        if b in far[a]
        for link in found.links
        if link.a in far[a]
        and link.b in far[a]
        and min(far[a][link.a] + far[b][link.b], far[a][link.b] + far[b][link.a]) + 1 == far[a][b]
    }


# ── the picture ───────────────────────────────────────────────────────────────────────────────


def fabric_view(facts: Facts, cluster: str, at: datetime | None, job: str | None) -> dict[str, Any]:
    """The UI's `Fabric`: devices with positions in 0..1, links with state, what changed lately.

    `job` is a job's key: its hosts are marked and the links its traffic may take.
    """
    found = wiring(facts, cluster, at)
    jobs = _running(facts, cluster, at)
    hosts = [host for host, keys in jobs.items() if job in keys]
    if job and not hosts:  # it is over: where it was
        hosts = _hosts_of(facts, cluster, job)
    routes = _on_routes(found, hosts) if job else set()
    levels = _levels(found, {fact.key for fact in facts.entities(cluster, "Node", at)})
    places = _places(found, levels)
    broken = {end for link in found.down for end in (link.a, link.b)}
    nodes = [
        {
            "id": name, "kind": kind, "label": name, "host": found.host_of.get(name), "level": levels[name],
            "x": round(places[name][0], 4), "y": round(places[name][1], 4),
            "status": ("critical" if kind == "HCA" else "warn") if name in broken else "fine",
            "jobs": sorted(jobs.get(found.host_of.get(name, ""), ()) or _the(job, found.host_of.get(name) in hosts)),
        }
        for kind, names in (("SW", found.switches), ("HCA", found.adapters))
        for name in names if name in places
    ]  # fmt: skip
    return {
        "at": (at or facts.now()).isoformat(), "newest": None, "nodes": nodes,
        "links": [_row(link, link.name in routes) for link in (*found.links, *found.down)],
        "changes": _changes(facts, cluster, at),
    }  # fmt: skip


def _the(job: str | None, here: bool) -> list[str]:
    """The job asked about, where it was."""
    return [job] if job and here else []


def _row(link: Link, on_route: bool) -> dict[str, Any]:
    known = link.fact.properties
    return {
        "id": link.name, "a": link.a, "a_port": link.a_port, "b": link.b, "b_port": link.b_port, "cable": link.cable,
        "width": str(known.get("width") or ""), "speed": str(known.get("speed") or ""),
        "state": "up" if link.up else "down", "status": "fine" if link.up else "critical",
        "since": link.fact.began.isoformat(), "until": link.fact.until.isoformat() if link.fact.until else None,
        "xmit_rate": None, "errors": None, "xmit_wait": None, "on_route": on_route,
    }  # fmt: skip


def _running(facts: Facts, cluster: str, at: datetime | None) -> dict[str, set[str]]:
    """Keys of the jobs on each host."""
    found: dict[str, set[str]] = {}
    for tie in facts.relations(cluster, "JOBCLIENT", at) if at else facts.current(cluster, "JOBCLIENT"):
        if tie.source and tie.target:
            found.setdefault(tie.target.key, set()).add(tie.source.key)
    return found


def _hosts_of(facts: Facts, cluster: str, job: str) -> list[str]:
    ties = facts.relations(cluster, "JOBCLIENT")
    return sorted({tie.target.key for tie in ties if tie.source and tie.target and tie.source.key == job}, key=natural)


def _levels(found: Wiring, nodes: set[str]) -> dict[str, int]:
    """Adapters are level 0, switches are as high as their way down to a node is long.

    Where nodes are known only their adapters count: the one that runs the subnet manager may hang on a spine.
    """
    levels = dict.fromkeys(found.adapters, 0)
    beside = {name: dict(others) for name, others in found.beside.items()}
    for link in found.down:  # a switch stays where it is when its last cable is pulled
        beside.setdefault(link.a, {})[link.b] = None
        beside.setdefault(link.b, {})[link.a] = None
    waiting = deque([a for a in found.adapters if found.host_of.get(a) in nodes] or found.adapters)
    while waiting:
        here = waiting.popleft()
        for other in beside.get(here, ()):
            if other not in levels:
                levels[other] = levels[here] + 1
                waiting.append(other)
    top = max(levels.values(), default=0) or 1
    return {**dict.fromkeys(found.switches, top), **levels}


def _places(found: Wiring, levels: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Adapters below their leaf, leaves above the middle of their adapters, the rest spread evenly."""
    top = max(levels.values(), default=0) or 1
    height = {level: 0.08 + 0.84 * (1 - level / top) for level in range(top + 1)}
    leaf = {adapter: switch for link in (*found.down, *found.links) for adapter, switch in _adapter_first(link, levels)}
    known = [adapter for adapter in found.adapters if adapter in leaf]
    row = sorted(known, key=lambda adapter: (natural(leaf[adapter]), natural(adapter)))
    places = {name: ((index + 0.5) / len(row), height[0]) for index, name in enumerate(row)}
    for level in range(1, top + 1):
        here = [switch for switch in found.switches if levels[switch] == level]
        below = {s: [places[a][0] for a in row if leaf[a] == s] for s in here}
        wanted = sorted(here, key=lambda s: (sum(below[s]) / len(below[s]) if below[s] else 0.5, natural(s)))
        spread = [(index + 0.5) / len(wanted) for index in range(len(wanted))]
        exact = [sum(below[s]) / len(below[s]) if below[s] else even for s, even in zip(wanted, spread, strict=True)]
        apart = all(right - left > 0.5 / max(1, len(wanted)) for left, right in pairwise(exact))
        for switch, x in zip(wanted, exact if apart else spread, strict=True):
            places[switch] = (x, height[level])
    return places


def _adapter_first(link: Link, levels: Mapping[str, int]) -> list[tuple[str, str]]:
    if levels.get(link.a) == 0:
        return [(link.a, link.b)]
    return [(link.b, link.a)] if levels.get(link.b) == 0 else []


def _changes(facts: Facts, cluster: str, at: datetime | None) -> list[dict[str, Any]]:
    """Connections that began or ended lately, the newest first."""
    until = at or facts.now()
    ended = facts.ended(cluster, "CONNECTION", until - LATELY)
    began = [*ended, *facts.current(cluster, "CONNECTION")]
    first = min((fact.began for fact in began), default=until)
    rows = [
        (fact.began, "up", f"{fact.properties.get('a')} and {fact.properties.get('b')} were connected", fact)
        for fact in began
        if first < fact.began <= until  # the first look at a fabric is no change of it
    ]
    rows += [
        (fact.until, "down", f"{fact.properties.get('a')} and {fact.properties.get('b')} lost their connection", fact)
        for fact in ended
        if fact.until and fact.until <= until
    ]
    rows.sort(key=lambda row: row[0], reverse=True)
    return [
        {"time": time.isoformat(), "sentence": f"{sentence}.", "link": str(fact.properties.get("name")), "what": what}
        for time, what, sentence, fact in rows[:CHANGES]
    ]
