"""The map of the fabric: boxes with places, links between them with states and traffic, what changed lately."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import numpy as np

from qnib.context.known import Sources
from qnib.dashboards.fabric.folding import MOST_SWITCHES, Box, draw, node_set
from qnib.dashboards.fabric.layers import Layers, layers
from qnib.dashboards.fabric.links import Weights, link_row, weigh, worst_first
from qnib.domains.paths import natural
from qnib.inventory.fabric import Link
from qnib.inventory.facts import Facts
from qnib.inventory.net import Nets
from qnib.inventory.routes import between
from qnib.inventory.sharing import ports_of

CHANGES = 30


def fabric_map(
    sources: Sources, nets: Nets, cluster: str, at: datetime | None = None, *, job: str | None = None,
    most: int = MOST_SWITCHES, open_: Collection[str] = (), out: Collection[str] = (),
) -> dict[str, Any]:
    """The UI's `Fabric`. `job` is a job's key: its hosts are marked and the links its routes use.

    `most`: boxes of switches on one level before they are grouped; `open_`, `out`: see `folding.draw`.
    """
    found = layers(sources, cluster, at)
    drawn = draw(found, most=most, open_=open_, out=out)
    weights = weigh(sources, cluster, at)
    jobs = _running(sources.facts, cluster, at)
    hosts = _hosts_of(sources.facts, cluster, job, jobs) if job else []
    ways = ways_of(nets, cluster, hosts, at)
    broken = {end for link in found.found.down for end in (link.a, link.b)}
    return {
        "at": (at or sources.clock.now()).isoformat(), "newest": None, "folded": drawn.folded,
        "counts": {
            "switches": len(found.found.switches), "hosts": len(found.found.adapters),
            "links": len(found.found.links) + len(found.found.down), "down": len(found.found.down),
            "on_route": len(ways),
        },
        "opened": [{"name": name, "label": label} for name, label in drawn.opened],
        "nodes": [_node(found, box, broken, jobs, job, set(hosts)) for box in drawn.boxes],
        "links": [_link(name, *drawn.bundles[name], weights, ways) for name in drawn.bundles],
        "changes": _changes(found, at or sources.clock.now()),
    }  # fmt: skip


def fabric_links(
    sources: Sources, nets: Nets, cluster: str, at: datetime | None = None, *, job: str | None = None, of: str = "",
    within: str = "", text: str = "", limit: int = 200, most: int = MOST_SWITCHES, open_: Collection[str] = (),
    out: Collection[str] = (),
) -> dict[str, Any]:
    """Links one by one, those in trouble first: of one device, of one line of the map, whose names hold a text."""
    found = layers(sources, cluster, at)
    weights = weigh(sources, cluster, at)
    hosts = _hosts_of(sources.facts, cluster, job, _running(sources.facts, cluster, at)) if job else []
    ways = ways_of(nets, cluster, hosts, at)
    links: Iterable[Link] = found.links
    if within:
        links = draw(found, most=most, open_=open_, out=out).bundles.get(within, (None, None, []))[2]
    wanted = text.strip().lower()
    chosen = [
        link for link in links if (not of or of in (link.a, link.b))
        and (not wanted or wanted in link.name.lower() or wanted in link.cable.lower())
    ]  # fmt: skip
    rows = worst_first(chosen, weights)
    return {
        "links": [link_row(link, weights, link.name in ways) for link in rows[:limit]], "total": len(rows),
        "bad": sum(not link.up or weights.failed(link) for link in rows),
    }  # fmt: skip


def ways_of(nets: Nets, cluster: str, hosts: Iterable[str], at: datetime | None) -> set[str]:
    """Names of the links that the routes between these hosts use, by the switches' tables where they are known."""
    members = list(hosts)
    if len(members) < 2:
        return set()
    net = nets.at(cluster, at)
    crossed = between(net, ports_of(net, members)).pairs
    return {net.links[number].name for number in np.flatnonzero(crossed)}


def _node(
    found: Layers, box: Box, broken: set[str], jobs: dict[str, set[str]], job: str | None, mine: set[str]
) -> dict[str, Any]:
    host_of = found.found.host_of
    hosts = [host_of[one] for one in box.members if one in host_of] if box.kind == "HCA" else []
    # An adapter is called as its host, unless the host has more than one or is not known.
    known = box.kind == "HCA" and all(len(found.adapters_of.get(host_of.get(one, ""), ())) == 1 for one in box.members)
    bad = sum(one in broken for one in box.members)
    one = len(box.members) == 1
    worst = "critical" if box.kind == "HCA" and bad == len(box.members) else "warn"
    return {
        "id": box.name, "kind": box.kind, "label": node_set(tuple(hosts if known else box.members)),
        "first": box.members[0], "members": node_set(tuple(box.members)),
        "host": hosts[0] if one and hosts else None, "level": box.level, "x": round(box.x, 4), "y": round(box.y, 4),
        "status": worst if bad else "fine",
        "jobs": sorted(jobs.get(hosts[0], ()) or ([job] if job and hosts[0] in mine else ())) if one and hosts else [],
        "count": len(box.members), "bad": bad, "hosts": node_set(tuple(hosts)) if hosts else "",
        "busy": sum(bool(jobs.get(host)) or host in mine for host in hosts),
        "mine": sum(host in mine for host in hosts),
    }  # fmt: skip


def _link(
    name: str, upper: Box, lower: Box, links: list[Link], weights: Weights, ways: set[str]
) -> dict[str, Any]:
    drawn = {"upper": upper.name, "lower": lower.name}
    if len(links) == 1:
        return {**link_row(links[0], weights, links[0].name in ways), **drawn}
    down = sum(not link.up for link in links)
    bad = down or any(map(weights.failed, links))
    return {
        "id": name, "a": upper.name, "a_port": 0, "b": lower.name, "b_port": 0, "cable": "", "width": "", "speed": "",
        "state": "down" if down == len(links) else "up",
        "status": "critical" if down == len(links) else "warn" if bad else "fine",
        "since": max(link.fact.began for link in links).isoformat(), "until": None, **weights.of(links),
        "on_route": any(link.name in ways for link in links), "count": len(links), "down": down, **drawn,
    }  # fmt: skip


def _running(facts: Facts, cluster: str, at: datetime | None) -> dict[str, set[str]]:
    """Keys of the jobs on each host."""
    found: dict[str, set[str]] = {}
    for tie in facts.relations(cluster, "JOBCLIENT", at) if at else facts.current(cluster, "JOBCLIENT"):
        if tie.source and tie.target:
            found.setdefault(tie.target.key, set()).add(tie.source.key)
    return found


def _hosts_of(facts: Facts, cluster: str, job: str, running: dict[str, set[str]]) -> list[str]:
    """Where a job is at the time asked about; when it is over, where it was."""
    hosts = [host for host, keys in running.items() if job in keys]
    if not hosts:
        ties = facts.relations(cluster, "JOBCLIENT")
        hosts = [tie.target.key for tie in ties if tie.source and tie.target and tie.source.key == job]
    return sorted(set(hosts), key=natural)


def _changes(found: Layers, until: datetime) -> list[dict[str, Any]]:
    """Connections that began or ended, the newest first; of those that ended only the last week's."""
    began = [*found.ended, *(link.fact for link in found.found.links)]
    first = min((fact.began for fact in began), default=until)
    rows = [
        (fact.began, "up", f"{fact.properties.get('a')} and {fact.properties.get('b')} were connected", fact)
        for fact in began
        if first < fact.began <= until  # the first look at a fabric is no change of it
    ]
    rows += [
        (fact.until, "down", f"{fact.properties.get('a')} and {fact.properties.get('b')} lost their connection", fact)
        for fact in found.ended
        if fact.until and fact.until <= until
    ]
    rows.sort(key=lambda row: row[0], reverse=True)
    return [
        {"time": time.isoformat(), "sentence": f"{sentence}.", "link": str(fact.properties.get("name")), "what": what}
        for time, what, sentence, fact in rows[:CHANGES]
    ]
