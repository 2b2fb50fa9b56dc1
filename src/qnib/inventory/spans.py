"""Facts that held at some time within a window, as they are believed today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qnib.engine import DATABASE, Engine
from qnib.inventory.columns import facts_of
from qnib.inventory.fact import Fact


def overlapping(
    engine: Engine, cluster: str, kind: str, start: datetime, end: datetime, *, where: str = "1",
    params: Mapping[str, Any] | None = None,
) -> list[Fact]:
    """The last version of each fact of a kind that held at any time in [start, end], in order of its beginning."""
    rows = engine.table(
        f"SELECT * FROM (SELECT * FROM {DATABASE}.facts WHERE cluster = {{cluster:String}}"
        f" AND kind = {{kind:String}} AND ({where}) ORDER BY recorded DESC LIMIT 1 BY form, key, valid_from)"
        " WHERE (valid_until IS NULL OR (valid_until >= valid_from AND valid_until >= {start:DateTime64(6, 'UTC')}))"
        " AND began <= {end:DateTime64(6, 'UTC')} ORDER BY valid_from DESC LIMIT 1 BY form, key, began",
        {"cluster": cluster, "kind": kind, "start": start, "end": end, **(params or {})},
    )
    return sorted(facts_of(rows), key=lambda fact: (fact.began, fact.key))


def connections_of(
    engine: Engine, cluster: str, ports: Sequence[str], start: datetime, end: datetime
) -> list[Fact]:
    """CONNECTION entities in that window that have one of these ports as an end."""
    ends = "JSONExtractString(properties, 'a') IN {ports:Array(String)}"
    ends += " OR JSONExtractString(properties, 'b') IN {ports:Array(String)}"
    return overlapping(engine, cluster, "CONNECTION", start, end, where=ends, params={"ports": list(ports)})
