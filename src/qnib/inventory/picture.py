"""The fabric as a picture: devices with places, links with states, what changed lately. From facts alone.

Positions are computed here: levels of a tree are known, so the picture stays still between two looks at it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from qnib.domains.paths import natural
from qnib.inventory.distance import links_on_routes
from qnib.inventory.fabric import LATELY, Link, Wiring, wiring
from qnib.inventory.facts import Facts

CHANGES = 30


def fabric_view(facts: Facts, cluster: str, at: datetime | None, job: str | None) -> dict[str, Any]:
    """The UI's `Fabric`: devices with positions in 0..1, links with state, what changed lately.

    `job` is a job's key: its hosts are marked and the links its traffic may take.
    """
    found = wiring(facts, cluster, at)
    jobs = _running(facts, cluster, at)
    hosts = [host for host, keys in jobs.items() if job in keys]
    if job and not hosts:  # it is over: where it was
        hosts = _hosts_of(facts, cluster, job)
    routes = links_on_routes(found, hosts) if job else set()
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
