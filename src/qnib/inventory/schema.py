"""The graph's tables: from what domains declare, widened by what sources send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from qnib.inventory.fact import Fact
from qnib.model import Domain, PropertyType, Ref, Scalar

TYPES: dict[PropertyType, str] = {
    "string": "STRING", "int": "INT64", "float": "DOUBLE", "bool": "BOOL", "time": "STRING",
}
ARROW = {"STRING": pa.string(), "INT64": pa.int64(), "DOUBLE": pa.float64(), "BOOL": pa.bool_()}
OF_ALL = ("cluster", "since", "until", "confirmed", "told_by")
"""Columns of every table. Nodes have `uid` (the primary key) and `key` as well."""

Execute = Callable[[str], Any]


def quoted(name: str) -> str:
    """A name of ours in Cypher, whatever keyword it may be."""
    return "`" + name.replace("`", "") + "`"


def instant(time: datetime | None) -> str | None:
    """Times in the graph: ISO 8601 in UTC with milliseconds, so that they sort as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z" if time else None


def uid(cluster: str, key: str) -> str:
    return f"{cluster}/{key}"


def newest_columns(domains: Sequence[Domain]) -> dict[str, dict[str, str]]:
    """Columns by kind for newest values of metrics, each with its time; of counters also what the last hour added."""
    found: dict[str, dict[str, str]] = {}
    for metric in (metric for domain in domains for metric in domain.metrics if metric.on):
        columns = found.setdefault(metric.on.partition(":")[0], {})
        columns |= {metric.column: "DOUBLE", f"{metric.column}_at": "STRING"}
        if metric.mtype == "counter":
            columns[f"{metric.column}_hour"] = "DOUBLE"
    return found


class Schema:
    """Which tables there are and which columns they have; `execute` runs the DDL.

    `newest` are columns that no fact fills: they are in the tables, not in `nodes`.
    """

    def __init__(self, domains: Sequence[Domain]) -> None:
        self.nodes: dict[str, dict[str, str]] = {}
        self.relations: dict[str, dict[str, str]] = {}
        self.pairs: dict[str, set[tuple[str, str]]] = {}
        self.newest = newest_columns(domains)
        self._declared_nodes: dict[str, dict[str, str]] = {}
        self._declared_relations: dict[str, dict[str, str]] = {}
        self._declared_pairs: dict[str, set[tuple[str, str]]] = {}
        for domain in domains:
            for kind in domain.entities:
                columns = self._declared_nodes.setdefault(kind.name, {})
                columns |= {name: TYPES[told] for name, told in kind.properties.items()}
            for tie in domain.relations:
                columns = self._declared_relations.setdefault(tie.name, {})
                columns |= {name: TYPES[told] for name, told in tie.properties.items()}
                self._declared_pairs.setdefault(tie.name, set()).add((tie.source, tie.target))

    def create(self, execute: Execute) -> None:
        """All declared tables, in an empty database."""
        for kind in self._declared_nodes:
            self.node(kind, {}, execute)
        for kind, pairs in self._declared_pairs.items():
            for source, target in sorted(pairs):
                self.node(source, {}, execute)
                self.node(target, {}, execute)
                self.relation(kind, source, target, {}, execute)

    def size(self) -> int:
        """How much there is of tables, columns and pairs: it grows with every change of them."""
        parts = (*self.nodes.values(), *self.relations.values(), *self.pairs.values())
        return len(self.nodes) + sum(len(part) for part in parts)

    def node(self, kind: str, properties: Mapping[str, Scalar], execute: Execute) -> None:
        """Make room for a node of this kind with these properties."""
        if kind not in self.nodes:
            columns = dict.fromkeys(("key", *OF_ALL), "STRING") | self._declared_nodes.get(kind, {})
            every = columns | self.newest.get(kind, {})
            declared = ", ".join(f"{quoted(name)} {told}" for name, told in every.items())
            execute(f"CREATE NODE TABLE {quoted(kind)}(uid STRING PRIMARY KEY, {declared})")
            self.nodes[kind] = columns
        self._widen(kind, self.nodes[kind], properties, execute)

    def relation(
        self, kind: str, source: str, target: str, properties: Mapping[str, Scalar], execute: Execute
    ) -> None:
        """The same for a relation between these two kinds."""
        if kind not in self.relations:
            columns = dict.fromkeys(OF_ALL, "STRING") | self._declared_relations.get(kind, {})
            declared = ", ".join(f"{quoted(name)} {told}" for name, told in columns.items())
            execute(f"CREATE REL TABLE {quoted(kind)}(FROM {quoted(source)} TO {quoted(target)}, {declared})")
            self.relations[kind], self.pairs[kind] = columns, {(source, target)}
        elif (source, target) not in self.pairs[kind]:
            execute(f"ALTER TABLE {quoted(kind)} ADD FROM {quoted(source)} TO {quoted(target)}")
            self.pairs[kind].add((source, target))
        self._widen(kind, self.relations[kind], properties, execute)

    def _widen(self, table: str, columns: dict[str, str], told: Mapping[str, Scalar], execute: Execute) -> None:
        for name, value in told.items():
            if name not in columns and name != "uid" and value is not None:
                columns[name] = _type_of(value)
                execute(f"ALTER TABLE {quoted(table)} ADD IF NOT EXISTS {quoted(name)} {columns[name]}")


def _type_of(value: Scalar) -> str:
    if isinstance(value, bool):
        return "BOOL"
    if isinstance(value, int):
        return "INT64"
    return "DOUBLE" if isinstance(value, float) else "STRING"


def fits(value: Scalar, told: str) -> Scalar:
    """`value` as its column's type; nothing where a source sent something that is not of it."""
    if value is None:
        return None
    try:
        if told == "STRING":
            return value if isinstance(value, str) else str(value)
        if told == "BOOL":
            return value if isinstance(value, bool) else None
        return int(value) if told == "INT64" else float(value)
    except (TypeError, ValueError):
        return None


def values(fact: Fact, columns: Mapping[str, str], confirmed: datetime) -> dict[str, Scalar]:
    """What the graph holds of a fact, by column; times are when the thing itself began and ended."""
    row: dict[str, Scalar] = {name: fits(fact.properties.get(name), told) for name, told in columns.items()}
    row |= {
        "cluster": fact.cluster, "since": instant(fact.began), "until": instant(fact.until),
        "confirmed": instant(confirmed), "told_by": fact.told_by,
    }
    if fact.form == "entity":
        row["key"] = fact.key
    return row


def tables(
    facts: Iterable[Fact], schema: Schema, confirmed: Callable[[Fact], datetime], execute: Execute
) -> tuple[dict[str, pa.Table], dict[tuple[str, str, str], pa.Table]]:
    """Facts as Arrow tables ready for COPY: nodes by kind, relations by (kind, source kind, target kind).

    Things that are only named by a relation become nodes too, with their key and nothing else.
    """
    nodes: dict[str, dict[str, Fact]] = {}
    named: dict[Ref, set[str]] = {}
    ties: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in facts:
        if fact.source is None or fact.target is None:
            schema.node(fact.kind, fact.properties, execute)
            nodes.setdefault(fact.kind, {})[uid(fact.cluster, fact.key)] = fact
            continue
        named.setdefault(fact.source, set()).add(fact.cluster)
        named.setdefault(fact.target, set()).add(fact.cluster)
        schema.node(fact.source.kind, {}, execute)
        schema.node(fact.target.kind, {}, execute)
        schema.relation(fact.kind, fact.source.kind, fact.target.kind, fact.properties, execute)
        ties.setdefault((fact.kind, fact.source.kind, fact.target.kind), []).append(fact)
    stubs: dict[str, dict[str, dict[str, Scalar]]] = {}
    for ref, clusters in named.items():
        for cluster in clusters:
            if uid(cluster, ref.key) not in nodes.get(ref.kind, {}):
                stubs.setdefault(ref.kind, {})[uid(cluster, ref.key)] = {"key": ref.key, "cluster": cluster}
    node_tables = {}
    for kind in {*nodes, *stubs}:
        columns = schema.nodes[kind]
        rows = {name: values(fact, columns, confirmed(fact)) for name, fact in nodes.get(kind, {}).items()}
        rows |= stubs.get(kind, {})
        node_tables[kind] = _arrow({"uid": list(rows)}, columns | schema.newest.get(kind, {}), list(rows.values()))
    tie_tables = {}
    for (kind, source, target), found in ties.items():
        columns = schema.relations[kind]
        ends = {
            "from": [uid(fact.cluster, fact.source.key) for fact in found if fact.source],
            "to": [uid(fact.cluster, fact.target.key) for fact in found if fact.target],
        }
        rows_of = [values(fact, columns, confirmed(fact)) for fact in found]
        tie_tables[kind, source, target] = _arrow(ends, columns, rows_of)
    return node_tables, tie_tables


def _arrow(first: dict[str, list[str]], columns: Mapping[str, str], rows: Sequence[Mapping[str, Scalar]]) -> pa.Table:
    data = {name: pa.array(cells, pa.string()) for name, cells in first.items()}
    for name, told in columns.items():
        data[name] = pa.array([row.get(name) for row in rows], ARROW[told])
    return pa.table(data)
