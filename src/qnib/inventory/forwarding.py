"""The switches' forwarding tables over time: arrays in the engine, arrays in memory, never relations.

``ports[lid]`` is the port by which a switch sends on what is for `lid`; 255: it has none. A row is written when a
table changed. Tables of 10,000 hosts are some 20 MB.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from qnib.engine import DATABASE, Engine
from qnib.model import Table

Ports = NDArray[np.uint8]
"""Of shape (largest lid + 1,)."""
NONE = 255

_AT_ONCE = 200
"""Tables in one insert: a few megabytes."""


def store(
    engine: Engine, cluster: str, told_by: str, at: datetime, recorded: datetime, tables: Sequence[Table]
) -> list[str]:
    """Write those tables that differ from what is known of `at`; the switches concerned.

    A dump lists all switches there are: one that is missing has no table from `at` on. The same dump twice changes
    nothing the second time.
    """
    # Without the table's own bytes: whether it changed is told by length and checksum.
    known = {
        row["switch"]: (row["size"], row["sum"])
        for row in engine.rows(
            f"SELECT switch, length(ports) AS size, CRC32(ports) AS sum FROM {DATABASE}.forwarding"
            " WHERE cluster = {cluster:String} AND told_by = {told_by:String}"
            " AND valid_from <= {at:DateTime64(6, 'UTC')}"
            " ORDER BY switch, valid_from DESC, recorded DESC LIMIT 1 BY switch",
            {"cluster": cluster, "told_by": told_by, "at": at},
        )
    }
    told = {table.switch: table.ports for table in tables}
    told.update(dict.fromkeys((switch for switch, (size, _) in known.items() if size and switch not in told), b""))
    new = {
        switch: ports for switch, ports in told.items()
        if known.get(switch, (0, 0)) != (len(ports), zlib.crc32(ports)) and (ports or switch in known)
    }  # fmt: skip
    rows = [
        {"cluster": cluster, "switch": switch, "valid_from": at, "recorded": recorded, "told_by": told_by,
         "text": base64.b64encode(ports).decode()}
        for switch, ports in new.items()
    ]  # fmt: skip
    for start in range(0, len(rows), _AT_ONCE):
        engine.insert(f"{DATABASE}.forwarding", rows[start : start + _AT_ONCE])
    _writes[cluster] += bool(rows)
    return sorted(new)


def read(
    engine: Engine, cluster: str, at: datetime | None = None, switches: Sequence[str] | None = None
) -> dict[str, Ports]:
    """The tables that held at `at` (None: the newest), of all switches or of some, by switch."""
    where = "cluster = {cluster:String}"
    params: dict[str, object] = {"cluster": cluster}
    if at is not None:
        where, params["at"] = f"{where} AND valid_from <= {{at:DateTime64(6, 'UTC')}}", at
    if switches is not None:
        where, params["switches"] = f"{where} AND switch IN {{switches:Array(String)}}", list(switches)
    table = engine.table(
        f"SELECT switch, base64Encode(ports) AS text FROM {DATABASE}.forwarding WHERE {where}"
        " ORDER BY switch, valid_from DESC, recorded DESC LIMIT 1 BY switch",
        params,
    )
    if not table.num_rows:
        return {}
    found = zip(table.column("switch").to_pylist(), table.column("text").to_pylist(), strict=True)
    return {str(switch): np.frombuffer(base64.b64decode(text), np.uint8) for switch, text in found if text}


def since(engine: Engine, cluster: str, at: datetime | None = None) -> datetime | None:
    """When the tables that held at `at` were last changed; None where none is known."""
    rows = engine.rows(
        f"SELECT max(valid_from) AS since, count() AS n FROM {DATABASE}.forwarding WHERE cluster = {{cluster:String}}"
        + (" AND valid_from <= {at:DateTime64(6, 'UTC')}" if at else ""),
        {"cluster": cluster, **({"at": at} if at else {})},
    )
    return rows[0]["since"] if rows[0]["n"] else None


_writes: Counter[str] = Counter()
"""Times tables were written, by cluster: one process owns the engine, so it need not be asked whether they changed."""


def mark(cluster: str) -> int:
    """What changes whenever a table of the cluster is written."""
    return _writes[cluster]
