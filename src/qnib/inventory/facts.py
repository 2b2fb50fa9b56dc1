"""The record of what was when. Snapshots come in, only what changed is written, nothing is ever deleted.

Open facts and those that ended lately are kept in memory, so that a snapshot is compared without a query and
pages are made without one; any other time is asked of the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from qnib.clock import Clock
from qnib.domains.paths import segment
from qnib.engine import DATABASE, Engine
from qnib.inventory.diff import Diff, statements
from qnib.inventory.fact import Changes, Fact, from_row, relation_key
from qnib.inventory.memory import Memory
from qnib.model import Entity, Ref, Relation, Snapshot

__all__ = ["Changes", "Fact", "Facts", "relation_key"]

LATELY = timedelta(days=7)
"""How long an ended fact stays in memory."""
_SORTED = 100_000
"""Rows of a kind that the engine is asked to sort at once."""
_TICK = timedelta(microseconds=1)

_LATEST = (
    f"SELECT * FROM {DATABASE}.facts WHERE {{where}} "
    "ORDER BY recorded DESC LIMIT 1 BY cluster, form, kind, key, valid_from"
)
_TRUE = "(valid_until IS NULL OR valid_until >= valid_from)"


class Facts:
    """Thread-safe. One writer (`apply`), any number of readers."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self.clock = clock
        self._lock = threading.RLock()
        self._clusters: dict[str, Memory] = {}
        self._recorded = clock.now()
        self._written = datetime.fromtimestamp(0, UTC)
        self._load()

    def now(self) -> datetime:
        """The moment of the record's clock."""
        return self.clock.now()

    # ── writing ───────────────────────────────────────────────────────────────────────────────

    def apply(
        self, cluster: str, told_by: str, at: datetime, snapshot: Snapshot,
        before: Callable[[Changes], None] | None = None,
    ) -> Changes:
        """Compare what source `told_by` saw at `at` with the record, and write what is new.

        A snapshot older than the last of its source changes nothing: it could only undo what is known better.
        `before` is called with the changes before they are written: if it fails, or we are killed, nothing has
        happened yet and the same snapshot gives the same changes again.
        """
        with self._lock:
            memory = self._memory(cluster)
            heard = memory.heard.get(told_by)
            if heard is not None and at < heard:
                return Changes(late=True)
            recorded = max(self.clock.now(), self._recorded + _TICK)
            diff = Diff(memory, cluster, told_by, at, recorded)
            for statement in statements(snapshot):
                diff.tell(statement)
            diff.miss(snapshot.complete, snapshot.partial)
            diff.changes.first = heard is None
            if before is not None:
                before(diff.changes)
            # First the engine, then memory: what could not be written has not happened.
            self._engine.insert(f"{DATABASE}.facts", [fact.row() for fact in diff.rows])
            self._engine.insert(f"{DATABASE}.confirmations", [{"cluster": cluster, "told_by": told_by, "at": at}])
            self._recorded = recorded
            if diff.rows:
                self._written = recorded
            diff.changes.mark = self.mark()
            diff.commit()
            memory.forget(self.clock.now() - LATELY)
            return diff.changes

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def clusters(self) -> list[str]:
        with self._lock:
            return sorted(self._clusters)

    def entities(self, cluster: str, kind: str, at: datetime | None = None) -> list[Fact]:
        """Entities of a kind that held at `at`. Without it: those that hold now, and those of the last week whose
        end their source stated (jobs that ended), each once in its last version."""
        return self._at(cluster, "entity", kind, at) if at else self._now(cluster, "entity", kind)

    def relations(self, cluster: str, kind: str, at: datetime | None = None) -> list[Fact]:
        """The same for relations; of several allocations of one job on one host each is there."""
        return self._at(cluster, "relation", kind, at) if at else self._now(cluster, "relation", kind)

    def current(self, cluster: str, kind: str) -> list[Fact]:
        """Facts of a kind, entities or relations, that hold now and nothing else."""
        with self._lock:
            memory = self._memory(cluster)
            return [*memory.held.get(("entity", kind), {}).values(), *memory.held.get(("relation", kind), {}).values()]

    def ended(self, cluster: str, kind: str, since: datetime) -> list[Fact]:
        """Facts of a kind that ended after `since` (at most a week ago), for whatever reason, the latest first."""
        with self._lock:
            memory = self._memory(cluster)
            found = [
                fact for form in ("entity", "relation") for fact in memory.over.get((form, kind), {}).values()
                if fact.until and fact.until > since
            ]
        return sorted(found, key=lambda fact: fact.until or fact.since, reverse=True)

    def at(self, cluster: str, time: datetime) -> list[Fact]:
        """Everything that held at `time`, as it is believed today."""
        return self._held_at("cluster = {cluster:String}", {"cluster": cluster, "at": time})

    def everything(self, since: datetime) -> list[Fact]:
        """Of all clusters: what holds, and what ended after `since`, each in its last version."""
        inner = _LATEST.format(
            where="cluster = {cluster:String} AND form = {form:String} AND kind = {kind:String}"
            " AND cityHash64(key) % {parts:UInt32} = {part:UInt32}"
        )
        query = (
            f"SELECT * FROM (SELECT * FROM ({inner}) WHERE {_TRUE} ORDER BY valid_from DESC LIMIT 1 BY key, began)"
            " WHERE valid_until IS NULL OR valid_until >= {since:DateTime64(6, 'UTC')}"
        )
        kinds = self._engine.rows(
            f"SELECT cluster, form, kind, count() AS n FROM {DATABASE}.facts GROUP BY cluster, form, kind"
        )
        found: list[Fact] = []
        for told in kinds:  # in parts that the engine's share of memory can sort
            parts = 1 + told.pop("n") // _SORTED
            for part in range(parts):
                rows = self._engine.rows(query, {**told, "since": since, "parts": parts, "part": part})
                found += map(from_row, rows)
        return sorted(found, key=lambda fact: (fact.since, fact.recorded))

    def history(self, cluster: str, ref: Ref) -> list[Fact]:
        """All versions of an entity and of the relations it is part of, in order of time."""
        where = (
            "cluster = {cluster:String} AND ((form = 'entity' AND kind = {kind:String} AND key = {key:String})"
            " OR (source_kind = {kind:String} AND source_key = {key:String})"
            " OR (target_kind = {kind:String} AND target_key = {key:String}))"
        )
        rows = self._engine.rows(
            f"SELECT * FROM ({_LATEST.format(where=where)}) WHERE {_TRUE} ORDER BY valid_from, form, kind, key",
            {"cluster": cluster, "kind": ref.kind, "key": ref.key},
        )
        return [from_row(row) for row in rows]

    def confirmed(self, fact: Fact) -> datetime:
        """When the fact was last known to be true: its end, or when a source last told of it."""
        if fact.until or fact.silent:
            return fact.until or fact.silent or fact.since
        with self._lock:
            memory = self._memory(fact.cluster)
            heard = [memory.heard[name] for name in memory.tellers(fact) if name in memory.heard]
        return max(heard, default=fact.recorded)

    def heard(self) -> dict[tuple[str, str], datetime]:
        """When each source of each cluster last told something: (cluster, source) to time."""
        with self._lock:
            return {
                (name, told_by): at for name, memory in self._clusters.items() for told_by, at in memory.heard.items()
            }

    def mark(self) -> str:
        """What the record's last change is known by: a projection with this mark has everything."""
        with self._lock:
            return self._written.isoformat(timespec="microseconds")

    def picture(self, since: datetime) -> tuple[str, list[Fact]]:
        """`everything` and the mark it belongs to."""
        with self._lock:
            return self.mark(), self.everything(since)

    def resolve(self, cluster: str, name: str, at: datetime | None = None) -> str | None:
        """The host that `name` means: its own name, a NodeName, FQDN, address, NodeDescription, a carbon segment."""
        if at is not None:
            names = _names(self.relations(cluster, "ALIAS_OF", at), self.entities(cluster, "Host", at))
            return names.get(name)
        with self._lock:
            memory = self._memory(cluster)
            if memory.names is None:
                held = memory.held
                memory.names = _names(
                    held.get(("relation", "ALIAS_OF"), {}).values(), held.get(("entity", "Host"), {}).values()
                )
            return memory.names.get(name)

    def known(self, cluster: str) -> KnownFacts:
        """The record as a domain's `settle` sees it."""
        return KnownFacts(self, cluster)

    def find(self, cluster: str, kind: str, start: str) -> list[Fact]:
        """Entities of a kind that hold now and whose key begins with `start`."""
        with self._lock:
            held = self._memory(cluster).held.get(("entity", kind), {})
            return [held[start]] if start in held else [fact for key, fact in held.items() if key.startswith(start)]

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _memory(self, cluster: str) -> Memory:
        return self._clusters.setdefault(cluster, Memory())

    def _now(self, cluster: str, form: str, kind: str) -> list[Fact]:
        with self._lock:
            memory = self._memory(cluster)
            held = memory.held.get((form, kind), {})
            over = memory.over.get((form, kind), {})
            stated = {(key, since): fact for (key, since), fact in over.items() if fact.stated}
            if form == "entity":
                last = {key: fact for (key, _), fact in stated.items() if key not in held}
                return [*last.values(), *held.values()]
            return [*stated.values(), *held.values()]

    def _at(self, cluster: str, form: str, kind: str, at: datetime) -> list[Fact]:
        return self._held_at(
            "cluster = {cluster:String} AND form = {form:String} AND kind = {kind:String}",
            {"cluster": cluster, "form": form, "kind": kind, "at": at},
        )

    def _held_at(self, where: str, params: Mapping[str, Any]) -> list[Fact]:
        rows = self._engine.rows(
            f"SELECT * FROM ({_LATEST.format(where=where)}) WHERE valid_from <= {{at:DateTime64(6, 'UTC')}}"
            " AND (valid_until IS NULL OR valid_until > {at:DateTime64(6, 'UTC')}) ORDER BY valid_from, key",
            params,
        )
        return [from_row(row) for row in rows]

    def _load(self) -> None:
        for fact in self.everything(self.clock.now() - LATELY):
            self._memory(fact.cluster).put(fact, {fact.told_by})
        last = self._engine.rows(f"SELECT count() AS n, max(recorded) AS recorded FROM {DATABASE}.facts")[0]
        if last["n"]:
            self._written = last["recorded"]
            self._recorded = max(self._recorded, self._written)
        rows = self._engine.rows(
            f"SELECT cluster, told_by, max(at) AS at FROM {DATABASE}.confirmations GROUP BY cluster, told_by"
        )
        for row in rows:
            self._memory(row["cluster"]).heard[row["told_by"]] = row["at"]


class KnownFacts:
    """`qnib.model.Known` over the record of one cluster."""

    def __init__(self, facts: Facts, cluster: str) -> None:
        self._facts = facts
        self._cluster = cluster

    def open(self, kind: str) -> Sequence[Entity]:
        return [fact.as_entity() for fact in self._facts.current(self._cluster, kind) if fact.form == "entity"]

    def ended(self, kind: str, since: datetime) -> Sequence[Entity]:
        return [fact.as_entity() for fact in self._facts.ended(self._cluster, kind, since) if fact.form == "entity"]

    def entities(self, kind: str) -> Sequence[Entity]:
        return [*self.ended(kind, datetime.min.replace(tzinfo=UTC)), *self.open(kind)]

    def ties(self, kind: str) -> Sequence[Relation]:
        ended = self._facts.ended(self._cluster, kind, datetime.min.replace(tzinfo=UTC))
        found = [*ended, *self._facts.current(self._cluster, kind)]
        return [fact.as_relation() for fact in found if fact.form == "relation"]

    def find(self, kind: str, start: str) -> Sequence[Entity]:
        return [fact.as_entity() for fact in self._facts.find(self._cluster, kind, start)]


def _names(aliases: Iterable[Fact], hosts: Iterable[Fact]) -> dict[str, str]:
    names: dict[str, str] = {}
    for fact in aliases:
        if fact.source and fact.target:
            name = fact.source.key.partition(":")[2] or fact.source.key
            names.setdefault(segment(name), fact.target.key)
            names[name] = fact.target.key
    names.update((fact.key, fact.key) for fact in hosts)
    return names


def canonical(facts: Facts, cluster: str, snapshot: Snapshot) -> Snapshot:
    """`snapshot` with every host called by its own name, whatever alias its source knows it by."""

    def ref(old: Ref) -> Ref:
        if old.kind != "Host":
            return old
        name = names.get(old.key)
        if name is None:
            name = names[old.key] = facts.resolve(cluster, old.key) or old.key
        return old if name == old.key else Ref("Host", name)

    def relation(old: Relation) -> Relation:
        source, target = ref(old.source), ref(old.target)
        return old if source is old.source and target is old.target else replace(old, source=source, target=target)

    names: dict[str, str] = {}
    return replace(snapshot, relations=[relation(one) for one in snapshot.relations])


