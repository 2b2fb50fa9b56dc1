"""Carries values across the border: Python values to query parameters and JSON rows, Arrow back to Python."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
_PLAIN = str.maketrans(_ESCAPES)
_QUOTED = str.maketrans({**_ESCAPES, "'": "\\'"})
_TIMES = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def when(at: datetime) -> str:
    """A moment as ClickHouse reads it, in UTC with microseconds. A naive one is taken as UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def parameter(value: Any) -> str:
    """`value` as the text of a query parameter; its type is in the SQL: ``{name:Array(String)}``."""
    match value:
        case None:
            return "\\N"
        case str():
            return value.translate(_PLAIN)
        case Mapping() | list() | tuple() | set() | frozenset():
            return literal(value)
        case datetime():
            return when(value)
        case bool():
            return str(int(value))
        case _:
            return str(value)


def literal(value: Any) -> str:  # noqa: PLR0911  one line per type reads best
    """`value` as a literal inside SQL text: quoted strings, [arrays], maps."""
    match value:
        case None:
            return "NULL"
        case str():
            return f"'{value.translate(_QUOTED)}'"
        case Mapping():
            return "{" + ",".join(f"{literal(k)}:{literal(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(literal, value)) + "]"
        case set() | frozenset():
            return literal(sorted(value))
        case datetime():
            return f"'{when(value)}'"
        case bool():
            return str(int(value))
        case int() | float():
            return repr(value)
        case date() | Path():
            return literal(str(value))
        case _:
            raise TypeError(f"no SQL literal for {type(value).__name__}")


def json_lines(rows: Sequence[Mapping[str, Any]]) -> Iterable[bytes]:
    """Rows as JSONEachRow, a thousand to a chunk."""
    for first in range(0, len(rows), 1000):
        some = rows[first : first + 1000]
        try:
            yield b"\n".join(orjson.dumps(row, default=_json, option=_TIMES) for row in some) + b"\n"
        except TypeError:  # half a character, or a number beyond 64 bits: slower, and said clearly
            lines = (json.dumps(row, default=_json, ensure_ascii=False, allow_nan=False) for row in some)
            yield ("\n".join(lines) + "\n").encode("utf-8", "replace")


def arrow_stream(table: pa.Table) -> Iterable[bytes]:
    """A table as an Arrow stream of one batch, 64 MB to a chunk."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    octets = memoryview(sink.getvalue())
    for first in range(0, len(octets), 1 << 26):
        yield octets[first : first + (1 << 26)].tobytes()


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return when(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value)


def dictionaries(table: pa.Table) -> list[dict[str, Any]]:
    """Arrow rows as dictionaries: maps as dict, times aware in UTC, odd octets in text replaced."""
    columns = {name: cells(table.column(index)) for index, name in enumerate(table.column_names)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def cells(column: pa.ChunkedArray) -> list[Any]:
    """One column in the same way."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        # A fixed offset of UTC, not a zone of the database: callers compare and subtract these
        return [None if v is None else v.replace(tzinfo=UTC) for v in column.cast(pa.timestamp("us")).to_pylist()]
    values: list[Any]
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        raw = column.cast(pa.binary()).to_pylist()
        values = [None if v is None else v.decode("utf-8", "replace") for v in raw]
    if pa.types.is_map(kind):
        return [None if v is None else dict(v) for v in values]
    return values


def numbers(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers without nulls, not copied. Arrow's own way there loads pandas first, which takes a second."""
    column: NDArray[Any] = np.from_dlpack(table.column(name).combine_chunks())
    return column
