"""The record of what was when. Snapshots come in, only what changed is written, nothing is ever deleted.

Open facts and those that ended lately are kept in memory, so that a snapshot is compared without a query and
pages are made without one; any other time is asked of the engine.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from qnib.clock import TICK, Clock
from qnib.domains.paths import segment
from qnib.engine import DATABASE, Engine
from qnib.inventory import columns
from qnib.inventory.bulk import bulk
from qnib.inventory.columns import LATEST, TRUE, Columns, facts_of, parted, table_of
from qnib.inventory.diff import Diff
from qnib.inventory.fact import Changes, Fact, Form, relation_key
from qnib.inventory.memory import MOST, Memory, Where
from qnib.model import Entity, Ref, Relation, Snapshot

__all__ = ["Changes", "Fact", "Facts", "relation_key"]

LATELY = timedelta(days=7)
"""How long an ended fact stays in memory."""


class Facts:
    """Thread-safe. One writer (`apply`), any number of readers."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self.clock = clock
        self._lock = threading.RLock()
        self._clusters: defaultdict[str, Memory] = defaultdict(Memory)
        self._recorded = clock.now()
        self._written = datetime.fromtimestamp(0, UTC)
        self._load()

    def now(self) -> datetime:
        """The moment of the record's clock."""
        return self.clock.now()

    # ── writing ───────────────────────────────────────────────────────────────────────────────

    @bulk()
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
            recorded = max(self.clock.now(), self._recorded + TICK)
            diff = Diff(memory, cluster, told_by, at, recorded)
            diff.tell(snapshot)
            diff.miss(snapshot.complete, snapshot.partial)
            diff.changes.first = heard is None
            if before is not None:
                before(diff.changes)
            # First the engine, then memory: what could not be written has not happened.
            self._engine.insert(f"{DATABASE}.facts", table_of(diff.rows))
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
        return self._of(cluster, "entity", kind, at)

    def relations(self, cluster: str, kind: str, at: datetime | None = None) -> list[Fact]:
        """The same for relations; of several allocations of one job on one host each is there."""
        return self._of(cluster, "relation", kind, at)

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

    def remembered(self, cluster: str, kind: str) -> datetime:
        """Since when all entities of a kind that ended are in memory: for a week, unless they are too many."""
        with self._lock:
            full = len(self._memory(cluster).over.get(("entity", kind), ())) >= MOST
        return self.clock.now() - (timedelta() if full else LATELY)

    def versions(self, cluster: str, *kinds: str) -> tuple[int, ...]:
        """What changes whenever a fact of these kinds does: what was made from them can be kept as long as it stays."""
        with self._lock:
            return tuple(self._memory(cluster).versions[kind] for kind in kinds)

    def at(self, cluster: str, time: datetime) -> list[Fact]:
        """Everything that held at `time`, as it is believed today."""
        return self._held_at(time, cluster=cluster)

    def everything(self, since: datetime) -> list[Fact]:
        """Of all clusters: what holds, and what ended after `since`, each in its last version."""
        with self._lock:
            known = self._written
        found = [fact for table in columns.recent(self._engine, since, known) for fact in facts_of(table)]
        return sorted(found, key=lambda fact: (fact.since, fact.recorded))

    def history(self, cluster: str, ref: Ref) -> list[Fact]:
        """All versions of an entity and of the relations it is part of, in order of time."""
        where = (
            "cluster = {cluster:String} AND ((form = 'entity' AND kind = {kind:String} AND key = {key:String})"
            " OR (source_kind = {kind:String} AND source_key = {key:String})"
            " OR (target_kind = {kind:String} AND target_key = {key:String}))"
        )
        rows = self._engine.table(
            f"SELECT * FROM ({LATEST.format(where=where)}) WHERE {TRUE} ORDER BY valid_from, form, kind, key",
            {"cluster": cluster, "kind": ref.kind, "key": ref.key},
        )
        return facts_of(rows)

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

    @bulk()
    def picture(self, since: datetime) -> tuple[str, Columns]:
        """`everything` as columns, and the mark it belongs to. Snapshots may be applied meanwhile."""
        with self._lock:
            known, mark = self._written, self.mark()
        return mark, Columns(parted(map(self._confirm, columns.recent(self._engine, since, known))))

    @bulk()
    def picture_at(self, time: datetime) -> Columns:
        """Everything that held at `time` in all clusters, without an end: none was known then."""
        return Columns(parted(self._confirm(columns.endless(t)) for t in columns.holding(self._engine, time)))

    def resolve(self, cluster: str, name: str, at: datetime | None = None) -> str | None:
        """The host that `name` means: its own name, a NodeName, FQDN, address, NodeDescription, a carbon segment."""
        if at is not None:
            names = _names(self.relations(cluster, "ALIAS_OF", at), self.entities(cluster, "Host", at))
            return names.get(name)
        with self._lock:
            memory = self._memory(cluster)
            if memory.names is None:
                aliases, hosts = memory.held["relation", "ALIAS_OF"], memory.held["entity", "Host"]
                memory.names = _names(aliases.values(), hosts.values())
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
        return self._clusters[cluster]

    def _of(self, cluster: str, form: Form, kind: str, at: datetime | None) -> list[Fact]:
        if at is not None:
            return self._held_at(at, cluster=cluster, form=form, kind=kind)
        with self._lock:
            memory = self._memory(cluster)
            held = memory.held.get((form, kind), {})
            over = memory.over.get((form, kind), {})
            stated = {(key, since): fact for (key, since), fact in over.items() if fact.stated}
            if form == "entity":
                last = {key: fact for (key, _), fact in stated.items() if key not in held}
                return [*last.values(), *held.values()]
            return [*stated.values(), *held.values()]

    def _held_at(self, at: datetime, **only: str) -> list[Fact]:
        found = [fact for table in columns.holding(self._engine, at, **only) for fact in facts_of(table)]
        return sorted(found, key=lambda fact: (fact.since, fact.key))

    def _confirm(self, table: pa.Table) -> pa.Table:
        """A table of one cluster, form and kind with `confirmed`."""
        cluster, form, kind = (table[name][0].as_py() for name in ("cluster", "form", "kind"))
        told_by = set(table["told_by"].unique().to_pylist())
        with self._lock:
            memory = self._memory(cluster)
            heard, others = dict(memory.heard), memory.told_by_others((form, kind), told_by)
        return columns.confirmed(table, heard, others)

    @bulk()
    def _load(self) -> None:
        last = self._engine.rows(f"SELECT count() AS n, max(recorded) AS recorded FROM {DATABASE}.facts")[0]
        if last["n"]:
            self._written = last["recorded"]
            self._recorded = max(self._recorded, self._written)
        told: dict[tuple[str, str], dict[Where, set[str]]] = {}
        for fact in self.everything(self.clock.now() - LATELY):
            self._memory(fact.cluster).put(fact)
            if fact.until is None:
                own = told.setdefault((fact.cluster, fact.told_by), {})
                own.setdefault((fact.form, fact.kind), set()).add(fact.key)
        for (cluster, told_by), keys in told.items():
            self._memory(cluster).tell(told_by, keys)
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


