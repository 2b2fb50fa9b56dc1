"""The live graph in one database of a Neo4j server, which may hold other things and the graphs of other QNIB servers.

What is ours is known by its tag: every node has the label `QNIB` beside its kind's, every node and relation a property
`qnib` with the number of this server's graph. One node, `QNIB_GRAPH`, has that number, the mark of the facts and the
clusters that are told of; it moves in the same transaction as what it speaks of. Nothing without the tag is touched.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from neo4j import ManagedTransaction

from qnib.domains import all_domains
from qnib.engine import Limits
from qnib.errors import Conflict, Unavailable, WrongUse
from qnib.inventory.bolt import TAG, Bolt
from qnib.inventory.fact import Changes, Fact
from qnib.inventory.reading import NEO4J_CALLS, check_reading
from qnib.inventory.schema import OF_ALL, Schema, instant, quoted
from qnib.inventory.steps import Row, Step, Steps, differences, uid
from qnib.inventory.store import Answer, Confirmed, Newest, merged
from qnib.model import Ref

FORMAT = "1"
"""Part of the mark: another format means to build again."""
PIECE = 10_000
"""Nodes or relations in one transaction: each takes some 6 KB of the server's memory until it ends."""


class Neo4jStore:
    """`Store` in a Neo4j server. The number of this server's graph is kept in `folder`."""

    bulk = PIECE

    def __init__(self, bolt: Bolt, folder: Path) -> None:
        self.bolt = bolt
        self.name = f"Neo4j {bolt.version} at {bolt.url}"
        self.graph = _number(folder)
        self.partial = False
        """It is being written in several transactions, and not to be read."""
        self._stopping = False
        self._clusters: set[str] = set()
        self._indexed = {name.removeprefix("qnib_key_") for (name,) in bolt.rows("SHOW INDEXES YIELD name RETURN name")}
        for about, label, name in (("uid", TAG, "uid"), ("graph", f"{TAG}_GRAPH", "id")):
            bolt.rows(f"CREATE CONSTRAINT qnib_{about} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{name} IS UNIQUE")
        self._server = f"{socket.gethostname()}:{folder.parent}"
        self._introduce()

    def reopen(self, mark: str) -> Neo4jProjection | None:
        ((found, clusters),) = self.bolt.rows(
            f"MATCH (g:{TAG}_GRAPH {{id: $id}}) RETURN g.mark, coalesce(g.clusters, [])", id=self.graph
        )
        self._clusters = set(clusters)
        return Neo4jProjection(self, -1, mark) if found == _full(mark) else None

    def begin(self, clusters: Iterable[str]) -> Neo4jProjection:
        self.bolt.write(partial(self._claim, clusters=set(clusters)))
        self.partial = True
        return Neo4jProjection(self, 0, "")

    def build(self, facts: Iterable[Fact], confirmed: Confirmed, mark: str) -> Neo4jProjection:
        facts = list(facts)
        made = Neo4jProjection(self, len(facts), mark)
        made.room(facts)
        self._introduce()
        self.bolt.write(partial(self._claim, clusters={fact.cluster for fact in facts}, only=True))
        ready: list[Step] = []
        for query, rows in differences(self.bolt, self.graph, made.schema, facts, confirmed):
            for start in range(0, len(rows), PIECE):
                piece = rows[start : start + PIECE]
                if sum(len(other) for _, other in ready) + len(piece) > PIECE:
                    self._write_part(ready)
                    ready = []
                ready.append((query, piece))
        self.bolt.write(partial(self._run, steps=ready, mark=mark))
        self.partial = False
        return made

    def _write_part(self, steps: Sequence[Step]) -> None:
        """Some of what is to be written: until all is, it has no mark."""
        if self._stopping:
            raise Unavailable("The server ends.", where=self.name, try_next="start it: it goes on from here.")
        self.partial = True
        self.bolt.write(partial(self._run, steps=steps, mark=""))

    def change(self, steps: Sequence[Step], clusters: set[str], before: str, mark: str) -> None:
        """These steps in one transaction, which finds the graph at `before` and leaves it at `mark`."""

        def work(tx: ManagedTransaction) -> None:
            found = tx.run(f"MATCH (g:{TAG}_GRAPH {{id: $id}}) SET g.id = $id RETURN g.mark", id=self.graph).single()
            if found is None or found[0] != _full(before):
                raise Conflict(
                    "Somebody else has changed this server's graph.", where=self.bolt.url,
                    try_next="no two servers may have the same state directory; the graph is made again now.",
                )
            if not clusters <= self._clusters:
                self._claim(tx, clusters)
            self._run(tx, steps, mark)

        self.bolt.write(work)
        self._clusters |= clusters

    def make_index(self, kinds: Iterable[str]) -> None:
        """People look things up by key."""
        for kind in set(kinds) - self._indexed:
            name = quoted(f"qnib_key_{kind}")
            self.bolt.rows(f"CREATE INDEX {name} IF NOT EXISTS FOR (n:{quoted(kind)}) ON (n.key)")
            self._indexed.add(kind)

    def whole(self) -> None:
        """Raises Unavailable while the graph is not all there."""
        if self.partial:
            raise Unavailable(
                "The graph is being made again.", where=self.name, try_next="ask in some seconds, or about a time (at)."
            )

    def check(self) -> None:
        self.bolt.check()

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self.bolt.close()

    def _introduce(self) -> None:
        self.bolt.rows(
            f"MERGE (g:{TAG}_GRAPH {{id: $id}}) SET g.server = $server", id=self.graph, server=self._server
        )

    def _run(self, tx: ManagedTransaction, steps: Sequence[Step], mark: str) -> None:
        for query, rows in steps:
            tx.run(query, rows=rows, graph=self.graph).consume()
        told = {"id": self.graph, "mark": _full(mark) if mark else ""}
        tx.run(f"MATCH (g:{TAG}_GRAPH {{id: $id}}) SET g.mark = $mark", told).consume()

    def _claim(self, tx: ManagedTransaction, clusters: set[str], only: bool = False) -> None:
        """Tell of these clusters, and no others if `only`. Raises Conflict where another server's graph has one.

        Whoever claims has first changed every claimant, so that two cannot do it at the same time.
        """
        others = tx.run(f"MATCH (g:{TAG}_GRAPH) SET g.id = g.id RETURN g.id, g.server, coalesce(g.clusters, [])")
        claimed = set(clusters)
        for number, server, theirs in list(others):
            if number == self.graph:
                claimed |= set() if only else set(theirs)
            elif both := sorted(clusters & set(theirs)):
                raise Conflict(
                    f"Another server's graph in this database has a cluster {both[0]!r}: {server}, graph {number}.",
                    where=self.bolt.url,
                    try_next="name the cluster otherwise, use another database, or remove that graph: "
                    "docs/guides/neo4j.md.",
                )
        ours = f"MATCH (g:{TAG}_GRAPH {{id: $id}}) SET g.clusters = $names"
        tx.run(ours, id=self.graph, names=sorted(claimed)).consume()
        self._clusters = claimed


class Neo4jProjection:
    """`Projection` in a Neo4j database: there is one, changed in place."""

    def __init__(self, store: Neo4jStore, size: int, mark: str) -> None:
        self.size = size
        self.valued: datetime | None = None
        self.schema = Schema(all_domains())
        """Which properties there are and of what type. The database itself needs none of it."""
        self.schema.create(_nothing)
        self._store = store
        self._mark = mark
        self._writing = threading.Lock()
        store.make_index(self.schema.nodes)

    @contextmanager
    def borrowed(self) -> Iterator[Self]:
        yield self

    def retire(self) -> None: ...

    # ── writing ───────────────────────────────────────────────────────────────────────────────

    def room(self, facts: Iterable[Fact]) -> None:
        """Learn the kinds and properties of these facts."""
        for fact in facts:
            if fact.source is None or fact.target is None:
                self.schema.node(fact.kind, fact.properties, _nothing)
                continue
            self.schema.node(fact.source.kind, {}, _nothing)
            self.schema.node(fact.target.kind, {}, _nothing)
            self.schema.relation(fact.kind, fact.source.kind, fact.target.kind, fact.properties, _nothing)
        self._store.make_index(self.schema.nodes)

    def write(self, batch: Sequence[Changes], confirmed: Confirmed) -> None:
        with self._writing:
            for part in _parts(batch):
                made = merged(part)
                self.room(made.facts.values())
                steps = Steps(self._store.graph, self.schema, confirmed)
                for fact in made.moved:
                    steps.forget(fact)
                for name, fact in made.facts.items():
                    steps.put(fact, name in made.new)
                clusters = {fact.cluster for fact in made.facts.values()}
                self._store.change(steps.all(), clusters, self._mark, part[-1].mark)
                self._mark = part[-1].mark

    def confirm(self, heard: Mapping[tuple[str, str], datetime]) -> None:
        self._store.whole()
        held = "x.qnib = $graph AND x.cluster = $cluster AND x.told_by = $told_by AND x.`until` IS NULL"
        told = f"WHERE {held} CALL (x) {{ SET x.confirmed = $time }} IN TRANSACTIONS OF {PIECE} ROWS"
        with self._writing:
            for (cluster, told_by), time in heard.items():
                params = {"graph": self._store.graph, "cluster": cluster, "told_by": told_by, "time": instant(time)}
                self._store.bolt.rows(f"MATCH (x:{TAG}) {told}", **params)
                self._store.bolt.rows(f"MATCH (:{TAG})-[x]->(:{TAG}) {told}", **params)

    def newest(self, values: Iterable[Newest]) -> None:
        self._store.whole()
        rows: dict[str, list[Row]] = {kind: [] for kind in self.schema.newest}
        for cluster, ref, told in values:
            if ref.kind in rows:
                full = dict.fromkeys(self.schema.newest[ref.kind]) | dict(told)
                rows[ref.kind].append({"uid": self._uid(cluster, ref), "props": full})
        steps: list[Step] = []
        for kind, columns in self.schema.newest.items():
            filled = " OR ".join(f"n.{quoted(name)} IS NOT NULL" for name in columns if name.endswith("_at"))
            gone = f"MATCH (n:{TAG}:{quoted(kind)}) WHERE n.qnib = $graph AND ({filled}) AND NOT n.uid IN row.told"
            none = {"told": [row["uid"] for row in rows[kind]], "props": dict.fromkeys(columns)}
            steps.append((f"UNWIND $rows AS row {gone} SET n += row.props", [none]))
            steps.append((f"UNWIND $rows AS row MATCH (n:{TAG} {{uid: row.uid}}) SET n += row.props", rows[kind]))
        with self._writing:
            self._store.change(steps, set(), self._mark, self._mark)

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def ask(self, query: str, params: Mapping[str, Any], limits: Limits) -> Answer:
        check_reading(query, params, NEO4J_CALLS)
        self._store.whole()
        answer, unknown = self._store.bolt.read(query, params, limits)
        for what, name in unknown:
            if not self._has(what, name):
                raise WrongUse(
                    f"The graph has no {what} {name!r}.", where=" ".join(query.split())[:120],
                    try_next="`GET /api/graph/schema` and the page Graph list what there is.",
                )
        return answer

    def has(self, cluster: str, ref: Ref) -> bool:
        query = f"MATCH (n:{TAG} {{uid: $uid}}) RETURN n.uid"
        return bool(self.ask(query, {"uid": self._uid(cluster, ref)}, Limits()).rows)

    def neighbours(self, cluster: str, ref: Ref) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        params = {"uid": self._uid(cluster, ref), "graph": self._store.graph}
        for direction, arrow in (("out", "-[r]->"), ("in", "<-[r]-")):
            answer = self.ask(
                f"MATCH (n:{TAG} {{uid: $uid}}){arrow}(m:{TAG}) WHERE r.qnib = $graph "
                "RETURN type(r), m, r.since, r.`until` ORDER BY r.since", params, Limits(),
            )
            found += [
                {
                    "relation": tie, "direction": direction, "ref": Ref(node["label"], node["key"]),
                    "since": since, "until": until,
                }
                for tie, node, since, until in answer.rows
            ]
        return found

    def path(self, cluster: str, source: Ref, target: Ref) -> list[Ref]:
        ends = {"a": self._uid(cluster, source), "b": self._uid(cluster, target)}
        answer = self.ask(
            f"MATCH (a:{TAG} {{uid: $a}}), (b:{TAG} {{uid: $b}}) MATCH p = shortestPath((a)-[*..30]-(b)) "
            "WHERE all(r IN relationships(p) WHERE r.qnib = $graph) RETURN p",
            {**ends, "graph": self._store.graph}, Limits(),
        )
        return [Ref(node["label"], node["key"]) for node in answer.rows[0][0]["nodes"]] if answer.rows else []

    def _uid(self, cluster: str, ref: Ref) -> str:
        return uid(self._store.graph, cluster, ref)

    def _has(self, what: str, name: str) -> bool:
        if what == "kind":
            return name in self.schema.nodes
        if what == "relation":
            return name in self.schema.relations
        parts = (*self.schema.nodes.values(), *self.schema.relations.values(), *self.schema.newest.values())
        return name in (*OF_ALL, "key") or any(name in columns for columns in parts)


def _parts(batch: Sequence[Changes]) -> Iterator[list[Changes]]:
    """What fits into a transaction each; a snapshot's changes always stay together."""
    part: list[Changes] = []
    size = 0
    for changes in batch:
        size += len(changes.opened) + len(changes.changed) + len(changes.ended) + len(changes.corrected)
        if part and size > PIECE:
            yield part
            part, size = [], 0
        part.append(changes)
    yield part


def _nothing(query: str) -> None:
    """The database needs no tables."""


def _full(mark: str) -> str:
    return f"{FORMAT} {mark}"


def _number(folder: Path) -> str:
    """What this server's graph is known by, made once."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "neo4j.id"
    if not file.is_file():
        part = folder / "neo4j.id.part"
        part.write_text(secrets.token_hex(4))
        part.replace(file)
    return file.read_text().strip()
