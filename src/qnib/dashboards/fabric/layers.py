"""The fabric in layers: adapters below, each switch as high above them as its way down is long. Kept while it holds."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from weakref import WeakKeyDictionary

from qnib.context.known import Sources
from qnib.engine import Engine
from qnib.inventory.fabric import LATELY, Link, Wiring, wiring
from qnib.inventory.facts import Fact, Facts
from qnib.inventory.spans import overlapping

MOST_PAST = 4
"""States of the past that are kept, of all clusters together."""


@dataclass(slots=True)
class Layers:
    """One state of a fabric. Adapters that were never plugged have no level above them and are in no row."""

    found: Wiring
    levels: dict[str, int]
    switches: list[list[str]]
    """By level from 1 up, each in natural order."""
    leaf: dict[str, str]
    """The switch an adapter hangs on, or hung on until lately; of several the first."""
    below: dict[str, list[str]]
    """Adapters by their leaf, in natural order."""
    beside: dict[str, set[str]]
    """Neighbours, over links that are up or were until lately."""
    ended: list[Fact]
    """Connections that ended in the week before, the latest first."""
    adapters_of: dict[str, list[str]] = field(default_factory=dict)
    """By host."""

    @property
    def links(self) -> Iterator[Link]:
        """All of them, those that are down last."""
        yield from self.found.links
        yield from self.found.down


class _Kept:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: dict[str, tuple[object, Layers]] = {}
        self.past: OrderedDict[tuple[object, ...], Layers] = OrderedDict()


_kept: WeakKeyDictionary[Facts, _Kept] = WeakKeyDictionary()
_making = threading.Lock()


def layers(sources: Sources, cluster: str, at: datetime | None = None) -> Layers:
    """The fabric of a cluster at `at` (None: now); made once for each state of it. Thread-safe."""
    facts = sources.facts
    with _making:
        kept = _kept.setdefault(facts, _Kept())
    with kept.lock:
        if at is None:
            mark = _mark(facts, cluster)
            held = kept.now.get(cluster)
            if held is None or held[0] != mark:
                ended = facts.ended(cluster, "CONNECTION", facts.now() - LATELY)
                held = kept.now[cluster] = (mark, _make(facts, cluster, None, wiring(facts, cluster, None), ended))
            return held[1]
        key = (cluster, at, facts.mark())  # a late record changes the past
        found = kept.past.pop(key, None)
        if found is None:
            lost = _lost(sources.engine, cluster, at)
            then = wiring(facts, cluster, at)
            used = {end for link in then.links for end in ends(link)}
            last = {link.name: link for link in reversed(lost)}.values()
            down = [link for link in last if not used & set(ends(link))]
            found = _make(facts, cluster, at, replace(then, down=down), [link.fact for link in lost])
        kept.past[key] = found
        while len(kept.past) > MOST_PAST:
            kept.past.popitem(last=False)
        return found


def _mark(facts: Facts, cluster: str) -> tuple[object, ...]:
    """What changes whenever the wiring does, and within an hour when a missing link is forgotten."""
    held = facts.current(cluster, "CONNECTION")
    counts = [len(facts.current(cluster, kind)) for kind in ("SW", "HCA", "BELONGS_TO", "USES", "Node")]
    ended = len(facts.ended(cluster, "CONNECTION", facts.now() - LATELY))
    return (len(held), max(map(attrgetter("recorded"), held), default=None), ended, *counts)


def ends(link: Link) -> tuple[str, str]:
    """Its two ports."""
    return f"{link.a}/{link.a_port}", f"{link.b}/{link.b_port}"


def _lost(engine: Engine, cluster: str, at: datetime) -> list[Link]:
    """Links that ended in the week before `at`, the latest first: asked of the engine, which forgets nothing."""
    since = at - LATELY
    window = {"since": since, "until": at}
    gone = engine.rows(
        "SELECT DISTINCT key FROM qnib.facts WHERE cluster = {cluster:String} AND kind = 'CONNECTION'"
        " AND form = 'entity' AND valid_until >= {since:DateTime64(6, 'UTC')}"
        " AND valid_until <= {until:DateTime64(6, 'UTC')}",
        {"cluster": cluster, **window},
    )
    keys = [row["key"] for row in gone]
    told = overlapping(engine, cluster, "CONNECTION", since, at, where="key IN {keys:Array(String)}",
                       params={"keys": keys}) if keys else []  # fmt: skip
    uses = overlapping(engine, cluster, "USES", since, at, where="source_key IN {keys:Array(String)}",
                       params={"keys": keys}) if keys else []  # fmt: skip
    cables = {tie.source.key: tie.target.key for tie in uses if tie.source and tie.target}
    found = [
        Link(a, int(a_port), b, int(b_port), fact, cables.get(fact.key, ""), up=False)
        for fact in told if fact.until is not None and fact.until <= at
        for a, _, a_port in [str(fact.properties.get("a")).rpartition("/")]
        for b, _, b_port in [str(fact.properties.get("b")).rpartition("/")] if a_port.isdigit() and b_port.isdigit()
    ]  # fmt: skip
    return sorted(found, key=lambda link: link.fact.until or at, reverse=True)


def _make(facts: Facts, cluster: str, at: datetime | None, found: Wiring, ended: list[Fact]) -> Layers:
    beside = {name: set(others) for name, others in found.beside.items()}
    for link in found.down:  # a switch stays where it is when its last cable is pulled
        beside.setdefault(link.a, set()).add(link.b)
        beside.setdefault(link.b, set()).add(link.a)
    nodes = {fact.key for fact in facts.entities(cluster, "Node", at)}
    levels = _levels(found, beside, nodes)
    rows: list[list[str]] = [[] for _ in range(max((levels[s] for s in found.switches), default=0))]
    for switch in found.switches:
        rows[levels[switch] - 1].append(switch)
    leaf: dict[str, str] = {}
    for link in (*found.links, *found.down):
        for one, other in ((link.a, link.b), (link.b, link.a)):
            if levels.get(one) == 0 and levels.get(other):
                leaf.setdefault(one, other)
    below: dict[str, list[str]] = {}
    adapters_of: dict[str, list[str]] = {}
    for adapter in found.adapters:
        if adapter in leaf:
            below.setdefault(leaf[adapter], []).append(adapter)
        if adapter in found.host_of:
            adapters_of.setdefault(found.host_of[adapter], []).append(adapter)
    return Layers(found, levels, rows, leaf, below, beside, ended, adapters_of)


def _levels(found: Wiring, beside: dict[str, set[str]], nodes: set[str]) -> dict[str, int]:
    """Where nodes are known only their adapters count: the one that runs the subnet manager may hang on a spine."""
    levels = dict.fromkeys(found.adapters, 0)
    waiting = deque([a for a in found.adapters if found.host_of.get(a) in nodes] or found.adapters)
    while waiting:
        here = waiting.popleft()
        for other in beside.get(here, ()):
            if other not in levels:
                levels[other] = levels[here] + 1
                waiting.append(other)
    top = max(1, max(levels.values(), default=1))
    return {**dict.fromkeys(found.switches, top), **levels}
