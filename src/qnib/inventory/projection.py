"""One Kuzu database made from facts: built in bulk, changed fact by fact, asked in read-only transactions."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import kuzu
import pyarrow as pa

from qnib.domains import all_domains
from qnib.engine import Limits
from qnib.errors import WrongUse
from qnib.inventory.columns import Columns
from qnib.inventory.fact import Changes, Fact
from qnib.inventory.kuzu_cypher import plain, spelt, translated
from qnib.inventory.reading import KUZU_CALLS, check_reading, check_sums
from qnib.inventory.schema import Schema, fitting, instant, quoted, tables, uid, values
from qnib.inventory.store import Answer, Confirmed, Newest, merged
from qnib.model import Domain, Ref, Scalar

FORMAT = f"2 kuzu {kuzu.__version__}"
"""Part of the mark: another format or another version of the database means to build again."""
POOL = 1 << 30
"""The most memory a database may take for its pages; it takes what it needs."""
SMALL = 200
"""Entities of a kind up to which they are created one by one: COPY takes 20 MB for a table's index and keeps it."""
LARGEST = 1 << 34
_FILE = "graph.kuzu"

class KuzuProjection:
    """A database and what is known of its tables. One thread writes at a time, any number read."""

    _numbers = itertools.count(1)

    def __init__(self, folder: Path | None, database: kuzu.Database, schema: Schema, size: int) -> None:
        self.size = size
        """Facts it was built from."""
        self.valued: datetime | None = None
        """The time whose values of metrics its entities have."""
        self._folder = folder
        self._database = database
        self._schema = schema
        self._writing = threading.Lock()
        self._writer: kuzu.Connection | None = None
        self._state = threading.Condition()
        self._readers = 0
        self._retired = False

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def build(
        cls, parent: Path | None, domains: Sequence[Domain], facts: Iterable[Fact], confirmed: Confirmed, mark: str
    ) -> KuzuProjection:
        """A new database with these facts: below `parent`, or in memory only."""
        facts = Columns.of(facts, confirmed)
        folder = None
        if parent is not None:
            folder = next(
                path for number in cls._numbers if not (path := parent / f"live.{number}").exists()
            )
            folder.mkdir(mode=0o700)
        database = _open(folder)
        schema = Schema(domains)
        connection = kuzu.Connection(database)
        execute = _executor(connection)
        schema.create(execute)
        nodes, ties = tables(facts, schema, execute)
        for kind, table in nodes.items():
            if table.num_rows > SMALL:
                # By name: a column that nobody declared comes after those for the newest values.
                names = ", ".join(map(quoted, table.column_names))
                execute(f"COPY {quoted(kind)}({names}) FROM $rows", {"rows": table})
            elif rows := table.to_pylist():
                made = f"CREATE (n:{quoted(kind)} {{uid: row.uid}}) SET {_assign('n', rows, ('uid',))}"
                execute(f"UNWIND $rows AS row {made}", {"rows": rows})
        for (kind, source, target), table in ties.items():
            execute(f"COPY {quoted(kind)} FROM $rows (from='{source}', to='{target}')", {"rows": table})
        connection.close()
        if folder is not None and parent is not None:
            _write_mark(folder, mark)
            (parent / "current.part").write_text(folder.name)
            (parent / "current.part").replace(parent / "current")
        return cls(folder, database, schema, len(facts))

    @classmethod
    def reopen(cls, parent: Path, domains: Sequence[Domain], mark: str) -> KuzuProjection | None:
        """The database that is in force below `parent`; None when there is none, it is broken, or behind the facts."""
        try:
            folder = parent / (parent / "current").read_text().strip()
        except FileNotFoundError:
            folder = None
        for other in parent.glob("live.*"):
            if other != folder:
                shutil.rmtree(other)  # left behind by a process that was killed
        if folder is None or not folder.is_dir():
            return None
        if _read_mark(folder) == _full(mark) and (folder / _FILE).is_file():
            try:
                database = _open(folder)
                connection = kuzu.Connection(database)
                schema = Schema(domains)
                _read_schema(schema, _executor(connection))
                connection.close()
                return cls(folder, database, schema, -1)
            except RuntimeError:  # what Kuzu raises for a file it cannot read, whatever the reason
                pass
        shutil.rmtree(folder)
        return None

    @contextmanager
    def borrowed(self) -> Iterator[KuzuProjection]:
        """Hold the database open while it is read, even when another takes its place meanwhile."""
        with self._state:
            self._readers += 1
        try:
            yield self
        finally:
            with self._state:
                self._readers -= 1
                last = self._retired and self._readers == 0
            if last:
                self._close()

    def retire(self) -> None:
        """Close it, and delete it where another one is in force, as soon as nobody reads it any more."""
        with self._state:
            self._retired = True
            idle = self._readers == 0
        if idle:
            self._close()

    def _close(self) -> None:
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._database.close()
        if self._folder is not None and (self._folder.parent / "current").read_text() != self._folder.name:
            shutil.rmtree(self._folder)

    # ── writing ───────────────────────────────────────────────────────────────────────────────

    def write(self, batch: Sequence[Changes], confirmed: Confirmed) -> None:
        """Bring what changed, in this order, to what it is now: all of it or nothing."""
        made = merged(batch)
        with self._writing, self._transaction(made.facts.values()) as execute:
            for fact in made.moved:
                if fact.source is not None and fact.target is not None:
                    self._forget(fact, execute)
            self._put_nodes(list(made.facts.values()), confirmed, execute)
            ties = [(fact, name in made.new) for name, fact in made.facts.items() if fact.form == "relation"]
            self._put_ties(ties, confirmed, execute)
        if self._folder is not None:  # killed in between: the mark is behind, and the graph is made again
            _write_mark(self._folder, batch[-1].mark)

    @contextmanager
    def _transaction(self, facts: Iterable[Fact] = ()) -> Iterator[Callable[..., Any]]:
        """Writing queries that are done together or not at all; tables fit for `facts` are made first."""
        # The connection is kept, because it keeps what it has planned: a third of the time of a small change.
        connection = self._writer or kuzu.Connection(self._database)
        self._writer = None
        execute = _executor(connection)
        try:
            before = self._schema.size()
            for fact in facts:  # a change of tables cannot be part of the transaction
                if fact.source is None or fact.target is None:
                    self._schema.node(fact.kind, fact.properties, execute)
                    continue
                self._schema.node(fact.source.kind, {}, execute)
                self._schema.node(fact.target.kind, {}, execute)
                self._schema.relation(fact.kind, fact.source.kind, fact.target.kind, fact.properties, execute)
            if self._schema.size() != before:  # what was planned for the old tables is not to be trusted
                connection.close()
                connection = kuzu.Connection(self._database)
                execute = _executor(connection)
            execute("BEGIN TRANSACTION")
            try:
                yield execute
                execute("COMMIT")
            except BaseException:
                with suppress(RuntimeError):  # a query that failed has ended the transaction already
                    execute("ROLLBACK")
                raise
        except BaseException:
            connection.close()
            raise
        self._writer = connection

    def _put_nodes(self, facts: Sequence[Fact], confirmed: Confirmed, execute: Callable[..., Any]) -> None:
        nodes: dict[str, list[dict[str, Scalar]]] = {}
        ends: dict[str, dict[str, dict[str, Scalar]]] = {}
        for fact in facts:
            if fact.form == "entity":
                row = values(fact, self._schema.nodes[fact.kind], confirmed(fact))
                nodes.setdefault(fact.kind, []).append({"uid": uid(fact.cluster, fact.key), **row})
                continue
            for end in (fact.source or Ref("", ""), fact.target or Ref("", "")):
                name = uid(fact.cluster, end.key)
                ends.setdefault(end.kind, {})[name] = {"uid": name, "key": end.key, "cluster": fact.cluster}
        for kind, stubs in ends.items():
            execute(
                f"UNWIND $rows AS row MERGE (n:{quoted(kind)} {{uid: row.uid}}) "
                "ON CREATE SET n.`key` = row.`key`, n.cluster = row.cluster", {"rows": list(stubs.values())},
            )
        for kind, rows in nodes.items():
            sets = _assign("n", rows, ("uid",))
            execute(f"UNWIND $rows AS row MERGE (n:{quoted(kind)} {{uid: row.uid}}) SET {sets}", {"rows": rows})

    def _put_ties(
        self, ties: Sequence[tuple[Fact, bool]], confirmed: Confirmed, execute: Callable[..., Any]
    ) -> None:
        """(relation, whether it is new); making one is four times quicker than looking whether it is there."""
        groups: dict[tuple[str, str, str, bool], list[dict[str, Scalar]]] = {}
        for fact, new in ties:
            source, target = fact.source or Ref("", ""), fact.target or Ref("", "")
            row = values(fact, self._schema.relations[fact.kind], confirmed(fact))
            row |= {"a": uid(fact.cluster, source.key), "b": uid(fact.cluster, target.key)}
            groups.setdefault((fact.kind, source.kind, target.kind, new), []).append(row)
        for (kind, source_kind, target_kind, new), rows in groups.items():
            sets = _assign("r", rows, ("a", "b"))
            start, end = f"(a:{quoted(source_kind)} {{uid: row.a}})", f"(b:{quoted(target_kind)} {{uid: row.b}})"
            if new:
                match = f"MATCH {start}, {end} CREATE (a)-[r:{quoted(kind)} {{since: row.since}}]->(b)"
            else:
                match = f"MATCH {start}-[r:{quoted(kind)}]->{end} WHERE r.since = row.since"
            execute(f"UNWIND $rows AS row {match} SET {sets}", {"rows": rows})

    def confirm(self, heard: Mapping[tuple[str, str], datetime]) -> None:
        """Set `confirmed` of what holds to when its (cluster, source) last told of it."""
        with self._writing, self._transaction() as execute:
            for (cluster, told_by), time in heard.items():
                told = {"cluster": cluster, "told_by": told_by, "time": instant(time)}
                here = "x.told_by = $told_by AND x.cluster = $cluster AND x.`until` IS NULL SET x.confirmed = $time"
                for kind in self._schema.nodes:
                    execute(f"MATCH (x:{quoted(kind)}) WHERE {here}", told)
                for kind in self._schema.relations:
                    execute(f"MATCH ()-[x:{quoted(kind)}]->() WHERE {here}", told)

    def newest(self, values: Iterable[Newest]) -> None:
        """Put the newest values of metrics on their entities; what is not told of has none."""
        rows: dict[str, list[dict[str, Scalar]]] = {}
        for cluster, ref, told in values:
            rows.setdefault(ref.kind, []).append({"uid": uid(cluster, ref.key), **told})
        with self._writing, self._transaction() as execute:
            for kind, columns in self._schema.newest.items():
                if kind not in self._schema.nodes:
                    continue
                cleared = ", ".join(f"n.{quoted(name)} = NULL" for name in columns)
                filled = " OR ".join(f"n.{quoted(name)} IS NOT NULL" for name in columns if name.endswith("_at"))
                execute(f"MATCH (n:{quoted(kind)}) WHERE {filled} SET {cleared}")
                if found := rows.get(kind):
                    execute(*_load(kind, found, columns))

    def _forget(self, fact: Fact, execute: Callable[..., Any]) -> None:
        source, target = fact.source or Ref("", ""), fact.target or Ref("", "")
        execute(
            f"MATCH (a:{quoted(source.kind)} {{uid: $a}})-[r:{quoted(fact.kind)} {{since: $since}}]->"
            f"(b:{quoted(target.kind)} {{uid: $b}}) DELETE r",
            {"a": uid(fact.cluster, source.key), "b": uid(fact.cluster, target.key), "since": instant(fact.began)},
        )

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def ask(self, query: str, params: Mapping[str, Any], limits: Limits) -> Answer:
        """One reading query of a person's, inside a transaction that cannot write."""
        check_reading(query, params, KUZU_CALLS)
        check_sums(query)
        connection = kuzu.Connection(self._database, num_threads=2)
        try:
            connection.set_query_timeout(int(limits.seconds * 1000))
            connection.execute("BEGIN TRANSACTION READ ONLY")
            with translated(query, limits):
                result = connection.execute(spelt(query), dict(params))
                if isinstance(result, list):
                    raise WrongUse("That is more than one query.", where=query[:120], try_next="ask one at a time.")
                columns, rows = result.get_column_names(), list[list[Any]]()
                while result.has_next() and len(rows) <= limits.rows:
                    rows.append([plain(cell) for cell in result.get_next()])
                return Answer(columns, rows[: limits.rows], len(rows) > limits.rows)
        finally:
            connection.close()

    def has(self, cluster: str, ref: Ref) -> bool:
        if ref.kind not in self._schema.nodes:
            return False
        query = f"MATCH (n:{quoted(ref.kind)} {{uid: $uid}}) RETURN n.uid"
        return bool(self.ask(query, {"uid": uid(cluster, ref.key)}, Limits()).rows)

    def neighbours(self, cluster: str, ref: Ref) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for direction, arrow in (("out", "-[r]->"), ("in", "<-[r]-")):
            answer = self.ask(
                f"MATCH (n:{quoted(ref.kind)} {{uid: $uid}}){arrow}(m) "
                "RETURN label(r), label(m), m.`key`, r.since, r.`until` ORDER BY r.since",
                {"uid": uid(cluster, ref.key)}, Limits(),
            )
            found += [
                {"relation": tie, "direction": direction, "ref": Ref(kind, key), "since": since, "until": until}
                for tie, kind, key, since, until in answer.rows
            ]
        return found

    def path(self, cluster: str, source: Ref, target: Ref) -> list[Ref]:
        answer = self.ask(
            f"MATCH p = (a:{quoted(source.kind)} {{uid: $a}})-[* SHORTEST 1..30]-(b:{quoted(target.kind)} {{uid: $b}}) "
            "RETURN p LIMIT 1", {"a": uid(cluster, source.key), "b": uid(cluster, target.key)}, Limits(),
        )
        return [Ref(node["label"], node["key"]) for node in answer.rows[0][0]["nodes"]] if answer.rows else []


class KuzuStore:
    """`Store` in files below a folder: each projection is a database of its own, and `current` names the one in force.

    One that was left is opened again if its mark fits; each rebuild is made beside it and takes its place.
    """

    name = f"Kuzu {kuzu.__version__}, embedded"
    bulk = 2000

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def reopen(self, mark: str) -> KuzuProjection | None:
        return KuzuProjection.reopen(self._folder, all_domains(), mark)

    def begin(self, clusters: Iterable[str]) -> None:
        """It is built in a moment."""

    def build(self, facts: Iterable[Fact], confirmed: Confirmed, mark: str) -> KuzuProjection:
        return KuzuProjection.build(self._folder, all_domains(), facts, confirmed, mark)

    def check(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


def _open(folder: Path | None) -> kuzu.Database:
    return kuzu.Database(
        str(folder / _FILE) if folder else ":memory:", max_num_threads=2, max_db_size=LARGEST,
        buffer_pool_size=POOL,
    )


def _full(mark: str) -> str:
    """`mark` as it is kept: with the format, and the boot, since after a power failure files may be of any age."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{FORMAT} {boot.read_text().strip() if boot.exists() else ''} {mark}"


def _write_mark(folder: Path, mark: str) -> None:
    part = folder / "mark.part"
    part.write_text(_full(mark))
    part.replace(folder / "mark")


def _read_mark(folder: Path) -> str:
    mark = folder / "mark"
    return mark.read_text() if mark.exists() else ""


def _executor(connection: kuzu.Connection) -> Callable[..., Any]:
    def execute(query: str, params: Mapping[str, Any] | None = None) -> Any:
        return connection.execute(query, dict(params or {}))

    return execute


def _read_schema(schema: Schema, execute: Callable[..., Any]) -> None:
    """Learn the tables that are there."""
    for _, name, kind, *_ in execute("CALL show_tables() RETURN *").get_all():
        columns = {row[1]: row[2] for row in execute(f"CALL table_info('{name}') RETURN *").get_all()}
        columns.pop("uid", None)
        if kind == "NODE":
            newest = schema.newest.get(name, {})
            schema.nodes[name] = {column: told for column, told in columns.items() if column not in newest}
        else:
            schema.relations[name] = columns
            pairs = execute(f"CALL show_connection('{name}') RETURN *").get_all()
            schema.pairs[name] = {(row[0], row[1]) for row in pairs}


def _assign(variable: str, rows: Sequence[Mapping[str, Scalar]], others: Sequence[str]) -> str:
    """What SET does with `rows`. A column with nothing in it is spelt out: its nulls have no type to the database."""
    return ", ".join(
        f"{variable}.{quoted(name)} = "
        + ("NULL" if all(row[name] is None for row in rows) else f"row.{quoted(name)}")
        for name in rows[0] if name not in others
    )


def _load(kind: str, rows: Sequence[Mapping[str, Scalar]], columns: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The query that sets these columns of the nodes named by `uid`, and its parameters. As an Arrow table: of a list
    of maps the database takes a hundred times as long."""
    data = {"uid": pa.array([row["uid"] for row in rows], pa.string())}
    for number, (name, told) in enumerate(columns.items()):
        data[f"c{number}"] = fitting([row.get(name) for row in rows], told)
    sets = ", ".join(f"n.{quoted(name)} = c{number}" for number, name in enumerate(columns))
    return f"LOAD FROM $rows MATCH (n:{quoted(kind)}) WHERE n.uid = uid SET {sets}", {"rows": pa.table(data)}
