"""Takes series away, with their points and roll-ups."""

from __future__ import annotations

from typing import Any

from qnib.engine import Engine
from qnib.errors import NotFound
from qnib.monitoring.graphite.find import by_glob

_SHOWN = 20


def delete_series(engine: Engine, cluster: str, pattern: str, *, really: bool) -> dict[str, Any]:
    """``{series, points, rollups, paths, deleted}`` of the glob; `paths`: the first few. A series that is sent again
    is there again. Raises NotFound, TooMuch."""
    found = by_glob(engine, cluster, pattern)
    if not found:
        raise NotFound("No series matches.", where=pattern, try_next="`qnib metrics delete` takes Graphite's globs.")
    params = {"cluster": cluster, "ids": [row["series"] for row in found]}
    mine = "cluster = {cluster:String} AND series IN {ids:Array(UInt64)}"

    def count(table: str) -> int:
        return int(engine.rows(f"SELECT count() AS n FROM qnib.{table} WHERE {mine}", params)[0]["n"])

    told = {
        "series": len(found), "points": count("points"), "rollups": count("rollups"),
        "paths": sorted(str(row["path"]) for row in found)[:_SHOWN], "deleted": really,
    }  # fmt: skip
    if really:
        for table in ("points", "rollups", "changed", "series"):  # the names last: broken off, it can be done again
            engine.run(f"DELETE FROM qnib.{table} WHERE {mine}", params)
    return told
