"""What fails with something: the hosts it cuts off, the jobs on them, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from qnib.domains.paths import natural
from qnib.errors import NotFound, WrongUse
from qnib.inventory.distance import APART, Distances, links_on_routes
from qnib.inventory.fabric import Wiring, wiring
from qnib.inventory.facts import Facts
from qnib.model import Ref

KINDS = ("SW", "HCA", "PORT", "CONNECTION", "CABLE", "Host", "Node")


@dataclass(frozen=True, slots=True)
class Blast:
    """`lost`: hosts that fail or have no way to the rest any more; `rerouted`: running jobs whose shortest ways use
    the part, so that they go on with less. Each job: {key, id, name, user, hosts, all_hosts}, in order of id."""

    about: Ref
    links: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    rerouted: list[dict[str, Any]] = field(default_factory=list)

    @property
    def users(self) -> list[str]:
        return sorted({str(job["user"]) for job in self.jobs})


def blast(facts: Facts, cluster: str, about: Ref, at: datetime | None = None) -> Blast:
    """What a failure of this part now (or at `at`) means.

    Raises NotFound for a part nobody knows, WrongUse for a kind of which it cannot be said.
    """
    if about.kind not in KINDS:
        raise WrongUse(
            f"Nobody can say what fails with a {about.kind}.", where=str(about),
            try_next=f"it works for {', '.join(KINDS)}.",
        )
    if not any(fact.key == about.key for fact in facts.entities(cluster, about.kind, at)):
        raise NotFound(
            f"There is no {about.kind} {about.key!r}.", where=f"cluster {cluster}",
            try_next=f"`qnib graph cypher 'MATCH (n:{about.kind}) RETURN n.key'` lists them.",
        )
    found = wiring(facts, cluster, at)
    if about.kind in ("Host", "Node"):
        hosts = {about.key, *(t.target.key for t in facts.relations(cluster, "IS", at)
                              if t.source and t.target and t.source.key == about.key)}
        lost = sorted(hosts & {fact.key for fact in facts.entities(cluster, "Host", at)} or {about.key}, key=natural)
        return Blast(about, lost=lost, jobs=_jobs(facts, cluster, at, lost))
    gone = _links(facts, cluster, about, found, at)
    less = replace(
        found, switches=[s for s in found.switches if not (about.kind == "SW" and s == about.key)],
        links=[link for link in found.links if link.name not in gone], beside={},
    )
    for link in less.links:
        less.beside.setdefault(link.a, {})[link.b] = None
        less.beside.setdefault(link.b, {})[link.a] = None
    busy = {host for job in _jobs(facts, cluster, at, None) for host in job["all_hosts"]}
    lost = sorted(_together(found, busy) - _together(less, busy), key=natural)
    hit = _jobs(facts, cluster, at, lost)
    others = [job for job in _jobs(facts, cluster, at, None) if job["key"] not in {j["key"] for j in hit}]
    around = [job for job in others if gone & links_on_routes(found, job["all_hosts"])]
    return Blast(about, sorted(gone, key=natural), lost, hit, around)


def _links(facts: Facts, cluster: str, about: Ref, found: Wiring, at: datetime | None) -> set[str]:
    """Names of the links that are gone with the part."""
    if about.kind in ("SW", "HCA"):
        return {link.name for link in found.links if about.key in (link.a, link.b)}
    if about.kind == "PORT":
        return {k.name for k in found.links if about.key in (f"{k.a}/{k.a_port}", f"{k.b}/{k.b_port}")}
    if about.kind == "CONNECTION":
        return {link.name for link in found.links if link.fact.key == about.key}
    ties = facts.relations(cluster, "USES", at)
    made = {tie.source.key for tie in ties if tie.source and tie.target and tie.target.key == about.key}
    return {link.name for link in found.links if link.fact.key in made}


def _together(found: Wiring, busy: set[str]) -> set[str]:
    """The hosts of the greatest set that can all reach each other; of two as great the one with more busy hosts."""
    known = Distances(found)
    waiting = {host: known.switches_of(host) for host in set(found.host_of.values()) if known.switches_of(host)}
    best: set[str] = set()
    while waiting:
        start = next(iter(waiting.values()))
        far = known.from_switches(start)
        here = {host for host, places in waiting.items() if any(far[switch] != APART for switch in places)}
        for host in here:
            del waiting[host]
        best = max(best, here, key=lambda hosts: (len(hosts), len(hosts & busy)))
    return best


def _jobs(facts: Facts, cluster: str, at: datetime | None, hosts: Iterable[str] | None) -> list[dict[str, Any]]:
    """Jobs running at `at` with an allocation on one of these hosts (None: on any)."""
    among = None if hosts is None else set(hosts)
    running: dict[str, set[str]] = {}
    for tie in facts.relations(cluster, "JOBCLIENT", at) if at else facts.current(cluster, "JOBCLIENT"):
        if tie.source and tie.target:
            running.setdefault(tie.source.key, set()).add(tie.target.key)
    known = {fact.key: fact.properties for fact in facts.entities(cluster, "Job", at)}
    rows = []
    for key, all_hosts in running.items():
        hit = all_hosts if among is None else all_hosts & among
        if hit:
            told = known.get(key, {})
            rows.append({
                "key": key, "id": told.get("id") or key.partition("@")[0], "name": told.get("name") or "",
                "user": told.get("user") or "", "hosts": sorted(hit, key=natural),
                "all_hosts": sorted(all_hosts, key=natural),
            })
    return sorted(rows, key=lambda row: natural(str(row["id"])))
