"""Where a job's hosts are in the fabric, and whether hosts that were free then would have been closer together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from qnib.domains.paths import natural
from qnib.inventory.distance import APART, Distances, Hops
from qnib.inventory.fabric import Wiring, wiring
from qnib.inventory.facts import Facts

_UNFIT = ("DOWN", "DRAIN", "FAIL", "MAINT", "REBOOT", "POWER")
"""A node whose state has one of these words gets no job."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A set of hosts and how far apart they are."""

    hosts: list[str]
    by_switch: dict[str, list[str]]
    """Hosts by the switches they hang on (``SW1``, or ``SW1+SW2`` with two adapters), most first."""
    hops: dict[int, int]
    """How many pairs of hosts are so many links apart."""
    mean: float
    """Links between two of the hosts, on average; 0 for a single one."""


@dataclass(frozen=True, slots=True)
class Placement:
    """`better` is None when nothing was closer, or nothing is known of what was free."""

    chosen: Choice
    unplaced: list[str] = field(default_factory=list)
    """Hosts that have no way into the fabric."""
    better: Choice | None = None


def place(
    facts: Facts, cluster: str, hosts: Sequence[str], *, seen: datetime | None = None,
    began: datetime | None = None, partition: str = "", job: str = "",
) -> Placement:
    """Where `hosts` are in the wiring of `seen` (None: now), and what was free and closer when the job `began`.

    `began` None: do not ask. `partition`: only its nodes count as free; `job`: its own hosts do as well.
    """
    found = wiring(facts, cluster, seen)
    known = Distances(found)
    placed = [host for host in sorted(set(hosts), key=natural) if known.switches_of(host)]
    chosen = _choice(found, known, placed)
    better = None
    if began is not None and len(placed) == len(set(hosts)) > 1 and len(chosen.by_switch) > 1:
        pool = [host for host in {*free(facts, cluster, began, partition, job), *placed} if known.switches_of(host)]
        other = _choice(found, known, closest(known, sorted(pool, key=natural), len(placed)))
        better = other if other.mean < chosen.mean else None
    return Placement(chosen, sorted(set(hosts) - set(placed), key=natural), better)


def free(facts: Facts, cluster: str, at: datetime, partition: str = "", job: str = "") -> list[str]:
    """Hosts whose node was in service and had no allocation at `at`, that of `job` apart."""
    taken = {
        tie.target.key for tie in facts.relations(cluster, "JOBCLIENT", at)
        if tie.source and tie.target and tie.source.key != job
    }  # fmt: skip
    members = {
        tie.source.key for tie in facts.relations(cluster, "PART_OF", at)
        if tie.source and tie.target and tie.target.key == partition
    } if partition else None  # fmt: skip
    machines = facts.relations(cluster, "IS", at)
    host_of = {tie.source.key: tie.target.key for tie in machines if tie.source and tie.target}
    found = []
    for node in facts.entities(cluster, "Node", at):
        state = str(node.properties.get("state") or "").upper()
        if any(word in state for word in _UNFIT) or (members is not None and node.key not in members):
            continue
        host = host_of.get(node.key, node.key)
        if host not in taken:
            found.append(host)
    return found


def closest(known: Distances, pool: Sequence[str], count: int) -> list[str]:
    """`count` hosts of the pool that are near each other: of the nearest ones around each switch the best set.

    A greedy choice, not proved to be the optimum.
    """
    groups: dict[tuple[int, ...], list[str]] = {}
    for host in pool:
        groups.setdefault(known.switches_of(host), []).append(host)
    if len(pool) < count:
        return list(pool)
    best: tuple[float, list[str]] | None = None
    for start in groups:
        far = known.from_switches(start)
        near = sorted(groups, key=lambda place: (min(_steps(far, place)), -len(groups[place])))
        taken: list[str] = []
        for place in near:
            taken += groups[place][: count - len(taken)]
            if len(taken) == count:
                break
        mean = _mean(known.between(taken))
        if best is None or mean < best[0]:
            best = mean, taken
    return best[1] if best else []


def _steps(far: Hops, place: tuple[int, ...]) -> list[int]:
    return [int(far[switch]) if far[switch] != APART else np.iinfo(np.int16).max for switch in place]


def _mean(table: Hops) -> float:
    upper = table[np.triu_indices(len(table), 1)]
    reached = upper[upper != APART]
    return float(reached.mean()) if reached.size else 0.0


def _choice(found: Wiring, known: Distances, hosts: Sequence[str]) -> Choice:
    table = known.between(hosts)
    upper = table[np.triu_indices(len(hosts), 1)]
    lengths: Mapping[int, int] = Counter(int(n) for n in upper.tolist())
    by_switch: dict[str, list[str]] = {}
    for host in hosts:
        name = "+".join(found.switches[number] for number in known.switches_of(host))
        by_switch.setdefault(name, []).append(host)
    ordered = dict(sorted(by_switch.items(), key=lambda item: (-len(item[1]), natural(item[0]))))
    return Choice(list(hosts), ordered, dict(sorted(lengths.items())), round(_mean(table), 3))
