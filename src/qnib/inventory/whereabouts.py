"""Where and whose a machine was, over time: the names it went by, the switch it hung on, its partitions and rack, the
jobs it ran.

All from the facts' whole history in the engine, by interval, so that one answer serves every moment of a window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import pyarrow as pa

from qnib.engine import Engine
from qnib.inventory.columns import LATEST, TRUE
from qnib.inventory.facts import Facts
from qnib.inventory.segments import EVER

SECOND = 1_000_000
"""SLURM tells whole seconds: what ended in a second may have spoken until its end."""
Span = tuple[int, int, str]
"""Since, until, and whom or what."""


@dataclass(slots=True)
class Names:
    """Which host a name means, and when. `spans` by name, in order of time; before its first meaning a name meant that
    already, though nobody had said so yet."""

    spans: dict[str, list[Span]] = field(default_factory=dict)
    of: dict[str, list[Span]] = field(default_factory=dict)
    """By host: since, until, name. A host's own name is among them."""

    def meaning(self, name: str, at: int) -> str:
        """The host, or the name itself where nobody knows it. An unknown FQDN means the host of its first label."""
        spans = self.spans.get(name)
        if spans is None:
            first = name.partition(".")[0]
            return self.meaning(first, at) if first != name and first in self.spans else name
        place = bisect_right(spans, (at, EVER, "\U0010ffff")) - 1
        return spans[place][2] if place >= 0 and at < spans[place][1] else name


@dataclass(slots=True)
class Plugged:
    """Which switch each host hung on, and when: since, until, switch; by host and by switch."""

    of: dict[str, list[Span]] = field(default_factory=dict)
    on: dict[str, list[Span]] = field(default_factory=dict)

    def switches(self, host: str, at: int) -> list[str]:
        return [switch for since, until, switch in self.of.get(host, ()) if since <= at < until]

    def hosts(self, switch: str, at: int) -> list[str]:
        return [host for since, until, host in self.on.get(switch, ()) if since <= at < until]


Groups = dict[str, list[Span]]
"""Which hosts belonged to each group (a partition, a rack), and when: since, until, host. Where a host was first seen
it belonged before, too, though nobody had said so yet."""


_kept: WeakKeyDictionary[Facts, dict[tuple[str, str], tuple[object, Any]]] = WeakKeyDictionary()


def names(engine: Engine, facts: Facts, cluster: str) -> Names:
    """All names of all hosts. Not to be changed."""
    return _keep(facts, cluster, "names", ("ALIAS_OF", "Host"), lambda: _names(engine, cluster))  # type: ignore[no-any-return]


def plugged(engine: Engine, facts: Facts, cluster: str) -> Plugged:
    """Which host hung on which switch. Not to be changed."""
    return _keep(facts, cluster, "plugged", ("CONNECTION", "BELONGS_TO"), lambda: _plugged(engine, cluster))  # type: ignore[no-any-return]


def partitions(engine: Engine, facts: Facts, cluster: str) -> Groups:
    """Hosts by partition. Not to be changed."""
    known = names(engine, facts, cluster)
    return _keep(  # type: ignore[no-any-return]
        facts, cluster, "partitions", ("PART_OF", "ALIAS_OF", "Host"),
        lambda: _groups(engine, cluster, "PART_OF", known.meaning),
    )  # fmt: skip


def racks(engine: Engine, facts: Facts, cluster: str) -> Groups:
    """Hosts by rack. Not to be changed."""
    return _keep(  # type: ignore[no-any-return]
        facts, cluster, "racks", ("STANDS_IN",), lambda: _groups(engine, cluster, "STANDS_IN", lambda host, _: host)
    )


def _keep(facts: Facts, cluster: str, what: str, kinds: Sequence[str], make: Any) -> Any:
    versions = facts.versions(cluster, *kinds)  # first: what changes meanwhile is made again
    own = _kept.setdefault(facts, {})
    known = own.get((cluster, what))
    if known is None or known[0] != versions:
        known = own[cluster, what] = versions, make()
    return known[1]


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────


def allocations(
    engine: Engine, cluster: str, start: int, end: int, *, hosts: Iterable[str] | None = None,
    jobs: Iterable[str] | None = None,
) -> list[tuple[str, str, int, int]]:
    """(job, host, since, until) of allocations that held at any time in [start, end]; of these hosts, of these jobs."""
    where, params = "1", {}
    if hosts is not None:
        where, params = "target_key IN {hosts:Array(String)}", {"hosts": sorted(set(hosts))}
    if jobs is not None:
        where, params = f"{where} AND source_key IN {{jobs:Array(String)}}", {**params, "jobs": sorted(set(jobs))}
    told = intervals(engine, cluster, "relation", "JOBCLIENT", start, end, where=where, params=params)
    return list(zip(*(told[name].to_pylist() for name in ("source_key", "target_key", "since", "until")), strict=True))


def job_facts(engine: Engine, cluster: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What is known last of these jobs, by key."""
    rows = engine.rows(
        "SELECT key, argMax(properties, (valid_from, recorded)) AS told FROM qnib.facts"
        " WHERE cluster = {cluster:String} AND form = 'entity' AND kind = 'Job' AND key IN {keys:Array(String)}"
        " GROUP BY key",
        {"cluster": cluster, "keys": sorted(set(keys))},
    )
    return {row["key"]: orjson.loads(row["told"]) for row in rows}


def jobs_numbered(engine: Engine, cluster: str, numbers: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """Jobs of these numbers: by number (submitted, key), the earliest first. Ids repeat."""
    rows = engine.rows(
        "SELECT DISTINCT key FROM qnib.facts WHERE cluster = {cluster:String} AND form = 'entity' AND kind = 'Job'"
        " AND splitByChar('@', key)[1] IN {numbers:Array(String)}",
        {"cluster": cluster, "numbers": sorted(set(numbers))},
    )
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        number, _, submitted = row["key"].partition("@")
        found.setdefault(number, []).append((int(submitted) * SECOND if submitted.isdigit() else 0, row["key"]))
    return {number: sorted(own) for number, own in found.items()}


def intervals(
    engine: Engine, cluster: str, form: str, kind: str, start: int = 0, end: int = EVER, *, where: str = "1",
    params: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Facts of a kind with the whole interval in which they held, as far as it meets [start, end]: columns key,
    source_key, target_key, since, until, properties. What ended with a whole second held until that second was over."""
    latest = LATEST.format(
        where=f"cluster = {{cluster:String}} AND form = {{form:String}} AND kind = {{kind:String}} AND ({where})"
    )
    return engine.table(
        "SELECT key, source_key, target_key, toUnixTimestamp64Micro(began) AS since, properties,"
        " if(valid_until IS NULL, {ever:Int64}, toUnixTimestamp64Micro(assumeNotNull(valid_until))) AS told,"
        f" if(told % {SECOND} = 0, told + {SECOND}, told) AS until"
        f" FROM (SELECT * FROM ({latest}) WHERE {TRUE} ORDER BY valid_from DESC LIMIT 1 BY key, began)"
        " WHERE since <= {end:Int64} AND until > {start:Int64}",
        {
            "cluster": cluster, "form": form, "kind": kind, "start": max(0, start), "end": end, "ever": EVER,
            **(params or {}),
        },
    )


# ── inside ────────────────────────────────────────────────────────────────────────────────────


def _names(engine: Engine, cluster: str) -> Names:
    aliases = intervals(engine, cluster, "relation", "ALIAS_OF")
    told: dict[str, list[tuple[int, int, str]]] = {}
    columns = (aliases[name].to_pylist() for name in ("source_key", "target_key", "since", "until"))
    for alias, host, since, until in zip(*columns, strict=True):
        told.setdefault(alias.partition(":")[2] or alias, []).append((since, _exact(until), host))
    hosts = set(intervals(engine, cluster, "entity", "Host")["key"].to_pylist())
    found = Names()
    for name in hosts | told.keys():
        spans = _in_turn(told.get(name, [])) if name not in hosts else [(0, EVER, name)]
        if spans:
            spans[0] = (0, *spans[0][1:])
        found.spans[name] = spans
        for since, until, host in spans:
            found.of.setdefault(host, []).append((since, until, name))
    return found


def _in_turn(spans: list[Span]) -> list[Span]:
    """One meaning at a time: where two are told at once, the one that began later."""
    found: list[Span] = []
    for since, until, host in sorted(spans):
        if found and found[-1][1] > since:
            before = found.pop()
            if before[0] < since:
                found.append((before[0], since, before[2]))
            if before[1] > until:  # the other goes on after this one
                found += [(since, until, host), (until, before[1], before[2])]
                continue
        found.append((since, until, host))
    return found


def _exact(until: int) -> int:
    """Without the second that jobs are given: the next meaning of a name begins when this one ends."""
    return until - SECOND if until != EVER and until % SECOND == 0 else until


def _groups(engine: Engine, cluster: str, kind: str, host_of: Callable[[str, int], str]) -> Groups:
    told = intervals(engine, cluster, "relation", kind)
    columns = (told[name].to_pylist() for name in ("source_key", "target_key", "since", "until"))
    spans = [
        (host_of(member, since), since, _exact(until), group)
        for member, group, since, until in zip(*columns, strict=True)
    ]
    first: dict[str, int] = {}
    for host, since, _, _ in spans:
        first[host] = min(since, first.get(host, EVER))
    found: Groups = {}
    for host, since, until, group in sorted(spans):
        found.setdefault(group, []).append((0 if since == first[host] else since, until, host))
    return found


def _plugged(engine: Engine, cluster: str) -> Plugged:
    owners: dict[str, list[Span]] = {}
    told = intervals(engine, cluster, "relation", "BELONGS_TO")
    columns = (told[name].to_pylist() for name in ("source_key", "target_key", "since", "until"))
    for adapter, host, since, until in zip(*columns, strict=True):
        owners.setdefault(adapter, []).append((since, until, host))
    found = Plugged()
    links = intervals(engine, cluster, "entity", "CONNECTION")
    columns = (links[name].to_pylist() for name in ("properties", "since", "until"))
    for properties, since, until in zip(*columns, strict=True):
        ends = orjson.loads(properties)
        one, other = (str(ends.get(name) or "").rpartition("/")[0] for name in ("a", "b"))
        for adapter, switch in ((one, other), (other, one)):
            if switch in owners:
                continue
            for own_since, own_until, host in owners.get(adapter, ()):
                span = max(since, own_since), min(until, own_until)
                if span[0] < span[1]:
                    found.of.setdefault(host, []).append((*span, switch))
                    found.on.setdefault(switch, []).append((*span, host))
    return found
