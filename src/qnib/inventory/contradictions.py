"""Facts that cannot be true together: two sources, each believable alone, that disagree about one thing.

Silence is none (a node that is up and sends nothing is a finding), and neither is a change: what is compared holds now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from qnib.domains.paths import natural
from qnib.engine import Engine
from qnib.inventory.fact import Fact
from qnib.inventory.facts import Facts
from qnib.model import Ref

MADE_OF = ("ALIAS_OF", "Host", "BELONGS_TO", "CONNECTION", "USES", "PLUGGED_INTO")
LATELY = timedelta(seconds=60)
"""How old what an agent saw of a job's processes may be."""
GRACE = timedelta(seconds=90)
"""How long after an allocation's end its processes may still be there, and before the scheduler's word of its start."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`what` is contradicted (name, owner, port, cable, plug, allocation); `about` are the things that cannot both be,
    in order; together they say which contradiction it is."""

    what: str
    about: tuple[Ref, ...]
    sentence: str
    advice: str


def contradictions(facts: Facts, cluster: str) -> list[Contradiction]:
    """Of names, adapters, ports, cables and plugs."""
    return [
        *_names(facts, cluster), *_owners(facts, cluster), *_ports(facts, cluster), *_cables(facts, cluster),
        *_plugs(facts, cluster),
    ]  # fmt: skip


def allocation_contradictions(engine: Engine, facts: Facts, cluster: str) -> list[Contradiction]:
    """Processes of a job, seen by a host's own agent, where by the scheduler the job is not."""
    now = facts.now()
    rows = engine.rows(
        "SELECT job, host, max(time) AS seen FROM qnib.job_samples WHERE cluster = {cluster:String}"
        " AND time >= {since:DateTime64(3)} GROUP BY job, host ORDER BY job, host",
        {"cluster": cluster, "since": now - LATELY},
    )
    if not rows:
        return []
    where: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, str] = {}
    for tie in (*facts.current(cluster, "JOBCLIENT"), *facts.ended(cluster, "JOBCLIENT", now - GRACE)):
        if tie.source and tie.target:
            number = tie.source.key.partition("@")[0]
            where[number].add(tie.target.key)
            keys.setdefault(number, tie.source.key)
    lately = _heard_lately(facts, cluster, now)
    found = []
    for row in rows:
        number, host = str(row["job"]), facts.resolve(cluster, row["host"]) or row["host"]
        if host in where[number] or not lately:
            continue
        told = "has ended, or never was"
        if where[number]:
            told = f"is on {', '.join(sorted(where[number], key=natural)[:8])}"
        job = Ref("Job", keys.get(number, number))
        found.append(Contradiction(
            "allocation", (job, Ref("Host", host)),
            f"{host} runs processes of job {number}, which by the scheduler {told}",
            "Processes that outlived their job, or a scheduler that lost its state: look at the host's process list.",
        ))  # fmt: skip
    return found


# ── inside ────────────────────────────────────────────────────────────────────────────────────


def _heard_lately(facts: Facts, cluster: str, now: datetime) -> bool:
    """Whether the scheduler has told its jobs not long ago: one that is silent contradicts nobody."""
    return any(
        now - at < GRACE for (name, source), at in facts.heard().items()
        if name == cluster and source.startswith("slurm.jobs@")
    )  # fmt: skip


def _ties(facts: Facts, cluster: str, kind: str) -> Iterator[tuple[Ref, Ref, Fact]]:
    for fact in facts.current(cluster, kind):
        if fact.source and fact.target and fact.silent is None:
            yield fact.source, fact.target, fact


def _names(facts: Facts, cluster: str) -> Iterator[Contradiction]:
    meant: dict[str, dict[str, str]] = defaultdict(dict)
    for alias, host, fact in _ties(facts, cluster, "ALIAS_OF"):
        kind, _, name = alias.key.partition(":")
        meant[name or kind].setdefault(host.key, f"{kind} of {fact.told_by}")
    for fact in facts.current(cluster, "Host"):
        if fact.key in meant and fact.silent is None:
            meant[fact.key].setdefault(fact.key, f"host of {fact.told_by}")
    for name, hosts in meant.items():
        if len(hosts) > 1:
            order = sorted(hosts, key=natural)
            told = ", but ".join(f"{host} as {hosts[host]}" for host in order)
            yield Contradiction(
                "name", tuple(Ref("Host", host) for host in order), f"the name {name} means {told}",
                "Lines and numbers under that name go to one of them: give each machine a name of its own.",
            )  # fmt: skip


def _owners(facts: Facts, cluster: str) -> Iterator[Contradiction]:
    for adapter, owners in _several(_ties(facts, cluster, "BELONGS_TO")):
        yield Contradiction(
            "owner", (adapter, *owners), f"the adapter {adapter.key} belongs to {_and(owners)}",
            "Its NodeDescription and what a host says of itself differ: set the description, or find who is wrong.",
        )


def _plugs(facts: Facts, cluster: str) -> Iterator[Contradiction]:
    for interface, ports in _several(_ties(facts, cluster, "PLUGGED_INTO")):
        yield Contradiction(
            "plug", (interface, *ports), f"the interface {interface.key} is plugged into {_and(ports)}",
            "A switch in between that hands LLDP on, or an old neighbour that was not forgotten.",
        )


def _ports(facts: Facts, cluster: str) -> Iterator[Contradiction]:
    at: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts.current(cluster, "CONNECTION"):
        if fact.silent is None:
            for end in ("a", "b"):
                if port := str(fact.properties.get(end) or ""):
                    at[port].append(fact)
    for port, links in at.items():
        others = {
            end for fact in links for end in (str(fact.properties.get(name)) for name in ("a", "b")) if end != port
        }
        if len(others) > 1:
            refs = [Ref("PORT", one) for one in sorted(others, key=natural)]
            told = _by(links)
            yield Contradiction(
                "port", (Ref("PORT", port), *refs), f"port {port} is connected with {_and(refs)}{told}",
                "One of the sources is out of date: read the fabric again.",
            )


def _cables(facts: Facts, cluster: str) -> Iterator[Contradiction]:
    ends = {fact.key: fact for fact in facts.current(cluster, "CONNECTION") if fact.form == "entity"}
    used: dict[str, list[Fact]] = defaultdict(list)
    for connection, cable, fact in _ties(facts, cluster, "USES"):
        if connection.key in ends:
            used[cable.key].append(fact)
    for name, ties in used.items():
        links = [ends[tie.source.key] for tie in ties if tie.source]
        devices = [
            {str(link.properties.get(end) or "").rpartition("/")[0] for end in ("a", "b")} for link in links
        ]
        if len(links) > 1 and not set.intersection(*devices):  # a splitter has one end in common
            refs = [link.ref for link in sorted(links, key=lambda link: natural(link.key))]
            yield Contradiction(
                "cable", (Ref("CABLE", name), *refs),
                f"cable {name} is told of in {len(links)} places at once: {_and(refs)}{_by(ties)}",
                "Two cables with one serial, or a list of cables that is out of date.",
            )  # fmt: skip


def _several(ties: Iterable[tuple[Ref, Ref, Fact]]) -> Iterator[tuple[Ref, list[Ref]]]:
    found: dict[Ref, set[Ref]] = defaultdict(set)
    for source, target, _ in ties:
        found[source].add(target)
    for source, targets in found.items():
        if len(targets) > 1:
            yield source, sorted(targets, key=lambda ref: natural(ref.key))


def _and(refs: Iterable[Ref]) -> str:
    *most, last = [ref.key for ref in refs]
    return f"{', '.join(most)} and {last}" if most else last


def _by(told: Iterable[Fact]) -> str:
    sources = sorted({fact.told_by for fact in told})
    return f" (by {' and '.join(sources)})"
