"""The graph people ask in Cypher: a projection of the facts, thrown away and made again whenever in doubt.

The live graph holds every fact of the last month, each with `since` and `until` (null: it still holds). What held
at one instant is a graph of its own, made when it is asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from qnib.clock import Clock, SystemClock
from qnib.domains import all_domains
from qnib.engine import Limits
from qnib.errors import NotFound
from qnib.inventory.fact import Changes, Fact
from qnib.inventory.facts import Facts
from qnib.inventory.projection import Answer, Projection
from qnib.inventory.schema import instant
from qnib.model import Ref
from qnib.settings import Settings

KEEP = timedelta(days=30)
"""Ended facts older than this are asked for with a time (`--at`), not found in the live graph."""
INSTANTS = 4
"""Graphs of other times kept at once."""
BULK = 2000
"""More changed facts than this are copied anew in bulk: one by one they would take longer."""
_CONFIRM_EVERY = timedelta(seconds=5)


class Graph(Protocol):
    """What the rest of QNIB may know of a graph database."""

    def rebuild(self) -> int:
        """Make the live graph again from the facts; gives the number of facts in it."""

    def update(self, changes: Changes) -> None:
        """Take in what one snapshot changed."""

    def cypher(
        self, query: str, params: Mapping[str, Any] | None = None, *, at: datetime | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        """One reading query. Raises WrongUse for what does not parse or would write, TooMuch past the limits."""

    def neighbours(self, cluster: str, ref: Ref, *, at: datetime | None = None) -> list[dict[str, Any]]:
        """What is tied to an entity: {relation, direction, ref, since, until}. Raises NotFound."""

    def shortest_path(self, cluster: str, source: Ref, target: Ref, *, at: datetime | None = None) -> list[Ref]:
        """The entities on a shortest way between two, both included; empty when there is none."""

    def close(self) -> None: ...


@dataclass(slots=True)
class _Instant:
    at: datetime
    projection: Projection


class LadybugGraph:
    """`Graph` over LadybugDB, in this process. Thread-safe."""

    def __init__(self, folder: Path, facts: Facts, clock: Clock) -> None:
        self._folder = folder
        self._facts = facts
        self._clock = clock
        self._lock = threading.RLock()
        self._instants: OrderedDict[datetime, _Instant] = OrderedDict()
        self._confirmed_at = clock.now()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = Projection.reopen(folder, all_domains(), self._mark())
        self.rebuilt = kept is None
        """Whether the graph had to be made again when it was opened."""
        self._live = kept or self._build()

    # ── writing ───────────────────────────────────────────────────────────────────────────────

    def rebuild(self) -> int:
        with self._lock:
            before, self._live = self._live, self._build()
            before.retire()
            self._forget_instants(None)
            return self._live.size

    def update(self, changes: Changes) -> None:
        if not changes:
            return
        with self._lock:
            facts = [*changes.opened, *changes.ended, *(after for _, after in [*changes.changed, *changes.corrected])]
            touched = [fact.since for fact in facts] + [fact.until for fact in facts if fact.until]
            if len(facts) > BULK:
                self.rebuild()
            else:
                self._live.write(changes, self._facts.confirmed, self._mark())
            self._forget_instants(min(touched, default=None))

    def _build(self) -> Projection:
        mark = self._mark()
        facts = self._facts.everything(self._clock.now() - KEEP)
        return Projection.build(self._folder, all_domains(), facts, self._facts.confirmed, mark)

    def _mark(self) -> str:
        return self._facts.mark()

    def _forget_instants(self, since: datetime | None) -> None:
        """The past was told anew from `since` on: graphs of later instants are not right any more."""
        for at in [at for at in self._instants if since is None or at >= since]:
            self._instants.pop(at).projection.retire()

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def cypher(
        self, query: str, params: Mapping[str, Any] | None = None, *, at: datetime | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        if at is None and "confirmed" in query:
            self._confirm()
        with self._projection(at).borrowed() as projection:
            return projection.ask(query, params or {}, limits or Limits())

    def neighbours(self, cluster: str, ref: Ref, *, at: datetime | None = None) -> list[dict[str, Any]]:
        with self._projection(at).borrowed() as projection:
            if not projection.has(cluster, ref):
                raise NotFound(
                    f"The graph knows no {ref.kind} {ref.key!r}.", where=f"cluster {cluster}",
                    try_next=f"`qnib graph cypher 'MATCH (n:{ref.kind}) RETURN n.key'` lists them.",
                )
            return projection.neighbours(cluster, ref)

    def shortest_path(self, cluster: str, source: Ref, target: Ref, *, at: datetime | None = None) -> list[Ref]:
        with self._projection(at).borrowed() as projection:
            return projection.path(cluster, source, target)

    def close(self) -> None:
        with self._lock:
            self._forget_instants(None)
            self._live.retire()

    def _projection(self, at: datetime | None) -> Projection:
        with self._lock:
            if at is None:
                return self._live
            if at in self._instants:
                self._instants.move_to_end(at)
                return self._instants[at].projection
        facts: list[Fact] = [fact for cluster in self._facts.clusters() for fact in self._facts.at(cluster, at)]
        made = Projection.build(None, all_domains(), facts, self._facts.confirmed, instant(at) or "")
        with self._lock:
            if at not in self._instants:
                self._instants[at] = _Instant(at, made)
                while len(self._instants) > INSTANTS:
                    self._instants.popitem(last=False)[1].projection.retire()
            else:
                made.retire()
            return self._instants[at].projection

    def _confirm(self) -> None:
        """`confirmed` moves with every snapshot, so it is brought up to date when somebody asks for it."""
        with self._lock:
            now = self._clock.now()
            if now - self._confirmed_at >= _CONFIRM_EVERY or now < self._confirmed_at:
                self._confirmed_at = now
                self._live.confirm(self._facts.heard())


def open_graph(settings: Settings, facts: Facts, clock: Clock | None = None) -> Graph:
    """The live graph in ``settings.home/graph``: as it was left if it fits the facts, else made again."""
    return LadybugGraph(settings.home / "graph", facts, clock or SystemClock())


