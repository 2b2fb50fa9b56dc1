"""The graph's tables: from what domains declare, widened by what sources send."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qnib.inventory.bulk import bulk
from qnib.inventory.columns import Columns, array, properties_of
from qnib.inventory.fact import Fact
from qnib.model import Domain, PropertyType, Scalar

TYPES: dict[PropertyType, str] = {
    "string": "STRING", "int": "INT64", "float": "DOUBLE", "bool": "BOOL", "time": "STRING",
}
ARROW = {"STRING": pa.string(), "INT64": pa.int64(), "DOUBLE": pa.float64(), "BOOL": pa.bool_()}
OF_ALL = ("cluster", "since", "until", "confirmed", "told_by")
"""Columns of every table. Nodes have `uid` (the primary key) and `key` as well."""

_OURS = ("uid", "from", "to")
"""Names that properties cannot have: the database's bulk loading of relations takes the last two for their ends."""

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
            if name not in columns and name not in _OURS and value is not None:
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
        if told == "INT64":
            whole = int(value)
            return whole if -1 << 63 <= whole < 1 << 63 else None
        return float(value)
    except (TypeError, ValueError, OverflowError):
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


@bulk()
def tables(
    facts: Columns, schema: Schema, execute: Execute
) -> tuple[dict[str, pa.Table], dict[tuple[str, str, str], pa.Table]]:
    """Facts as Arrow tables ready for COPY: nodes by kind, relations by (kind, source kind, target kind).

    Of several periods of a thing the last is its node. Things that are only named by a relation become nodes too, with
    their key and nothing else.
    """
    told_by_part = {part: properties_of(table) for part, table in facts.parts.items()}
    for (form, kind, source, target), (told, _) in told_by_part.items():
        first = {name: value for one in reversed(told) for name, value in one.items() if value is not None}
        if form == "entity":
            schema.node(kind, first, execute)
            continue
        schema.node(source, {}, execute)
        schema.node(target, {}, execute)
        schema.relation(kind, source, target, first, execute)
    nodes: dict[str, pa.Table] = {}
    ties: dict[tuple[str, str, str], pa.Table] = {}
    named: dict[str, list[pa.Table]] = {}
    for (form, kind, source, target), table in facts.parts.items():
        told, which = told_by_part.pop((form, kind, source, target))
        if form == "entity":
            names = {"uid": _uid(table["cluster"], table["key"]), "key": table["key"]}
            made = _columns(names, table, schema.nodes[kind], told, which)
            nodes[kind] = made.take(_last_of(made["uid"]))
            continue
        ends = {f"({key})": _uid(table["cluster"], table[key]) for key in ("source_key", "target_key")}
        ties[kind, source, target] = _columns(ends, table, schema.relations[kind], told, which)
        for one, uids, key in zip((source, target), ends.values(), ("source_key", "target_key"), strict=True):
            stubs = pa.table({"uid": uids, "key": table[key], "cluster": table["cluster"]})
            named.setdefault(one, []).append(stubs.take(_last_of(uids)))
    for kind, found in named.items():
        stubs = pa.concat_tables(found)
        stubs = stubs.take(_last_of(stubs["uid"]))
        if kind in nodes:
            stubs = stubs.filter(pc.invert(pc.is_in(stubs["uid"], nodes[kind]["uid"].combine_chunks())))
        nodes[kind] = pa.concat_tables([nodes[kind], stubs] if kind in nodes else [stubs], promote_options="default")
    return {kind: _filled(table, schema.nodes[kind]) for kind, table in nodes.items()}, ties


def _columns(
    names: dict[str, Any], table: pa.Table, columns: Mapping[str, str], told: Sequence[Mapping[str, Scalar]],
    which: pa.Array,
) -> pa.Table:
    """Of a part of the facts what the graph holds, by column: `names`, what is of all, and properties as they fit."""
    data = dict(names) | {
        "cluster": table["cluster"], "since": _instants(table["began"]), "until": _instants(table["valid_until"]),
        "confirmed": _instants(table["confirmed"]), "told_by": table["told_by"],
    }
    for name, kind in columns.items():
        if name not in data:
            data[name] = fitting([one.get(name) for one in told], kind).take(which)
    return pa.table({name: data[name] for name in (*names, *columns)})


def _uid(cluster: pa.ChunkedArray, key: pa.ChunkedArray) -> pa.ChunkedArray:
    """`uid` of many."""
    return pc.binary_join_element_wise(cluster, key, "/")


def _instants(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """`instant` of many."""
    told = times.cast(pa.timestamp("us")).cast(pa.timestamp("ms"), safe=False).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(told, 10, 11, "T"), "Z", "")


def fitting(cells: list[Scalar], told: str) -> pa.Array:
    """Values as their column's type; Arrow refuses a whole column for one that does not fit."""
    try:
        return pa.array(cells, ARROW[told])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return array([fits(cell, told) for cell in cells], ARROW[told])


def _last_of(uids: pa.ChunkedArray) -> pa.Array:
    """The number of the last row of each."""
    rows = pa.table({"uid": uids, "row": pa.array(range(len(uids)))}).group_by("uid", use_threads=False)
    return rows.aggregate([("row", "max")])["row_max"]


def _filled(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """`uid` and these columns in their order; nothing where there is none."""
    known = set(table.column_names)
    data = {name: table[name] if name in known else pa.nulls(len(table), ARROW[kind]) for name, kind in columns.items()}
    return pa.table({"uid": table["uid"], **data}).combine_chunks()
