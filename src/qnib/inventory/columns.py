"""Facts as Arrow columns: how they go to and from the engine, and by the million where no fact is looked at alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from qnib.engine import DATABASE, Engine
from qnib.engine.values import cells
from qnib.inventory.fact import Fact, Form
from qnib.model import Ref, Scalar

TIME = pa.timestamp("us", "UTC")
_TYPES = dict.fromkeys(
    ("cluster", "form", "kind", "key", "source_kind", "source_key", "target_kind", "target_key", "properties"),
    pa.string(),
) | {
    "began": TIME, "valid_from": TIME, "valid_until": TIME, "stated": pa.bool_(), "silent": TIME, "recorded": TIME,
    "told_by": pa.string(),
}
SCHEMA = pa.schema([pa.field(name, told, name in ("valid_until", "silent")) for name, told in _TYPES.items()])
"""The engine's table, column by column."""
LATEST = (
    f"SELECT * FROM {DATABASE}.facts WHERE {{where}} "
    "ORDER BY recorded DESC LIMIT 1 BY cluster, form, kind, key, valid_from"
)
"""Of what was ever said of each version, what is believed now."""
TRUE = "(valid_until IS NULL OR valid_until >= valid_from)"
"""Versions that were not taken back."""
_SORTED = 100_000
"""Rows of a kind that the engine is asked to sort at once."""
_OWN = (
    "cluster = {cluster:String} AND form = {form:String} AND kind = {kind:String}"
    " AND cityHash64(key) % {parts:UInt32} = {part:UInt32}"
)

Part = tuple[Form, str, str, str]
"""Form, kind, and for relations the kinds of the two ends."""
_NOBODY = Ref("", "")
Confirmed = Callable[[Fact], datetime]


class Columns:
    """Facts as columns: those of `SCHEMA` and `confirmed`, in order of `valid_from` and `recorded` in each part.

    Iterating gives them one by one, for whoever has to look at each.
    """

    def __init__(self, parts: Mapping[Part, pa.Table]) -> None:
        self.parts = {part: _in_order(table) for part, table in parts.items()}

    @classmethod
    def of(cls, facts: Iterable[Fact], confirmed: Confirmed) -> Columns:
        """These facts; columns stay as they are."""
        if isinstance(facts, Columns):
            return facts
        parts: dict[Part, list[Fact]] = {}
        for fact in facts:
            ends = (fact.source.kind, fact.target.kind) if fact.source and fact.target else ("", "")
            parts.setdefault((fact.form, fact.kind, *ends), []).append(fact)
        return cls({
            part: table_of(rows).append_column("confirmed", pa.array(map(confirmed, rows), TIME))
            for part, rows in parts.items()
        })

    def __len__(self) -> int:
        return sum(table.num_rows for table in self.parts.values())

    def __iter__(self) -> Iterator[Fact]:
        for table in self.parts.values():
            yield from facts_of(table)


def _in_order(table: pa.Table) -> pa.Table:
    order = pc.sort_indices(table, [("valid_from", "ascending"), ("recorded", "ascending")]).to_numpy()
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(order)
    return table.combine_chunks()


def parted(tables: Iterable[pa.Table]) -> dict[Part, pa.Table]:
    """Rows of any kinds by form, kind, and kinds of the ends."""
    names = ["form", "kind", "source_kind", "target_kind"]
    found: dict[Part, list[pa.Table]] = {}
    for table in tables:
        kinds = table.group_by(names).aggregate([]).to_pylist()
        for one in kinds:
            mask = None
            for name in names if len(kinds) > 1 else ():
                same = pc.equal(table[name], one[name])
                mask = same if mask is None else pc.and_(mask, same)
            part: Part = (one["form"], one["kind"], one["source_kind"], one["target_kind"])
            found.setdefault(part, []).append(table if mask is None else table.filter(mask))
    return {part: pa.concat_tables(own) for part, own in found.items()}


# ── out of the engine ─────────────────────────────────────────────────────────────────────────


def recent(engine: Engine, since: datetime, known: datetime) -> Iterator[pa.Table]:
    """Of all clusters: what holds, and what ended after `since`, each in its last version, as it was believed at
    `known`. Tables of one cluster, form and kind each, in no order."""
    latest = LATEST.format(where=f"{_OWN} AND recorded <= {{known:DateTime64(6, 'UTC')}}")
    yield from _in_parts(
        engine, f"(SELECT * FROM ({latest}) WHERE {TRUE} ORDER BY valid_from DESC LIMIT 1 BY key, began)"
        " WHERE valid_until IS NULL OR valid_until >= {since:DateTime64(6, 'UTC')}", {"since": since, "known": known},
    )  # fmt: skip


def holding(engine: Engine, at: datetime, **only: str) -> Iterator[pa.Table]:
    """What held at `at`, as it is believed today, in the same way; `only`: of this cluster, form or kind."""
    yield from _in_parts(
        engine, f"({LATEST.format(where=_OWN)}) WHERE valid_from <= {{at:DateTime64(6, 'UTC')}}"
        " AND (valid_until IS NULL OR valid_until > {at:DateTime64(6, 'UTC')})", {"at": at}, **only,
    )  # fmt: skip


def _in_parts(engine: Engine, source: str, params: Mapping[str, Any], **only: str) -> Iterator[pa.Table]:
    """Rows of `source` in parts that the engine's share of memory can sort."""
    where = " AND ".join(f"{name} = {{{name}:String}}" for name in only) or "1"
    kinds = engine.rows(
        f"SELECT cluster, form, kind, count() AS n FROM {DATABASE}.facts WHERE {where} GROUP BY cluster, form, kind",
        only,
    )
    for told in kinds:
        parts = 1 + told.pop("n") // _SORTED
        given = {**params, **told, "parts": parts}
        query = f"SELECT {', '.join(SCHEMA.names)} FROM {source}"
        tables = [engine.table(query, {**given, "part": part}) for part in range(parts)]
        if found := [table.cast(SCHEMA) for table in tables if table.num_rows]:
            yield pa.concat_tables(found)


def endless(table: pa.Table) -> pa.Table:
    """The same rows without an end."""
    return table.set_column(table.column_names.index("valid_until"), "valid_until", pa.nulls(len(table), TIME))


def confirmed(table: pa.Table, heard: Mapping[str, datetime], others: Mapping[str, Iterable[str]]) -> pa.Table:
    """Rows of one cluster with the column `confirmed`: their end, or when last somebody told of them.

    `heard`: when by source; `others`: the sources by key, where they are not just the one that told it last.
    """
    told = table["told_by"].combine_chunks().dictionary_encode()
    last = pc.coalesce(
        array([heard.get(name) for name in told.dictionary.to_pylist()], TIME).take(told.indices), table["recorded"]
    )
    if others:
        latest = {
            key: max((heard[name] for name in names if name in heard), default=None) for key, names in others.items()
        }
        times = array([latest.get(key) for key in cells(table["key"])], TIME)
        last = pc.coalesce(times, last)
    return table.append_column("confirmed", pc.coalesce(table["valid_until"], table["silent"], last))


# ── facts and rows ────────────────────────────────────────────────────────────────────────────


def facts_of(table: pa.Table) -> list[Fact]:
    """The facts that rows of the engine's table tell. What many of them share is one object."""
    if not table.num_rows:
        return []
    columns: dict[str, list[Any]] = {
        name: cells(table[name]) if name in ("key", "properties", "stated", "source_key", "target_key")
        else _shared(table[name])
        for name in SCHEMA.names
    }
    refs: dict[tuple[str, str], Ref] = {}

    def ref(kind: str, key: str) -> Ref:
        found = refs.get((kind, key))
        if found is None:
            found = refs[kind, key] = Ref(kind, key)
        return found

    rows = zip(*columns.values(), strict=True)
    return [
        Fact(
            cluster, form, kind, key, orjson.loads(properties), valid_from, began, told_by, recorded, valid_until,
            stated, silent, *((ref(a, a_key), ref(b, b_key)) if form == "relation" else (None, None)),
        )
        for cluster, form, kind, key, a, a_key, b, b_key, properties, began, valid_from, valid_until, stated, silent,
        recorded, told_by in rows
    ]  # fmt: skip


def _shared(column: pa.ChunkedArray) -> list[Any]:
    """Cells of a column with few different values."""
    encoded = column.combine_chunks().dictionary_encode()
    values = cells(encoded.dictionary)
    return [None if index is None else values[index] for index in encoded.indices.to_pylist()]


def table_of(facts: Iterable[Fact]) -> pa.Table:
    """Facts as rows of the engine's table."""
    facts = list(facts)
    sources, targets = [fact.source or _NOBODY for fact in facts], [fact.target or _NOBODY for fact in facts]
    columns: dict[str, list[Any]] = {
        "cluster": [fact.cluster for fact in facts], "form": [fact.form for fact in facts],
        "kind": [fact.kind for fact in facts], "key": [fact.key for fact in facts],
        "source_kind": [ref.kind for ref in sources], "source_key": [ref.key for ref in sources],
        "target_kind": [ref.kind for ref in targets], "target_key": [ref.key for ref in targets],
        # Decoded at once: what orjson gives holds on to a page each.
        "properties": [
            orjson.dumps(fact.properties, default=dict, option=orjson.OPT_SORT_KEYS).decode() for fact in facts
        ],
        "began": [fact.began for fact in facts], "valid_from": [fact.since for fact in facts],
        "valid_until": [fact.until for fact in facts], "stated": [fact.stated for fact in facts],
        "silent": [fact.silent for fact in facts], "recorded": [fact.recorded for fact in facts],
        "told_by": [fact.told_by for fact in facts],
    }  # fmt: skip
    return pa.table([array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)


def array(values: list[Any], told: pa.DataType) -> pa.Array:
    """An Arrow array of these values, whatever is in them."""
    if len(values) > 1 and values.count(values[0]) == len(values):  # of one snapshot most columns are
        return pa.repeat(array(values[:1], told)[0], len(values))
    try:
        return pa.array(values, told)
    except UnicodeEncodeError:  # half a character
        return pa.array([value.encode("utf-8", "replace") for value in values], told)


def properties_of(table: pa.Table) -> tuple[list[dict[str, Scalar]], pa.Array]:
    """The different properties told, in order of their first row, and for each row which of them it has."""
    encoded = table["properties"].combine_chunks().dictionary_encode()
    return [orjson.loads(told) for told in cells(encoded.dictionary)], encoded.indices
