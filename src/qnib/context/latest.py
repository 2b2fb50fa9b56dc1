"""The newest value of a few metrics per host or port: what a map or a table colours by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources

FRESH = timedelta(minutes=2)
"""An older value is no longer the latest state; it is told as unknown."""


def latest(sources: Sources, cluster: str, metrics: Sequence[str], tag: str = "host") -> dict[str, dict[str, float]]:
    """``{host: {metric: newest value}}`` of series that were heard within `FRESH`."""
    found: dict[str, dict[str, float]] = {}
    for row in sources.engine.rows(
        """
        SELECT s.owner AS key, s.metric AS name, argMax(p.value, p.time) AS value
        FROM qnib.points AS p
        INNER JOIN (
            SELECT series, anyLast(name) AS metric, anyLast(tags[{tag:String}]) AS owner FROM qnib.series
            WHERE cluster = {cluster:String} AND name IN {metrics:Array(String)} GROUP BY series
        ) AS s ON p.series = s.series
        WHERE p.cluster = {cluster:String} AND p.time >= {since:DateTime64(3)} AND p.series IN (
            SELECT series FROM qnib.series WHERE cluster = {cluster:String} AND name IN {metrics:Array(String)}
        )
        GROUP BY key, name
        """,
        {"cluster": cluster, "tag": tag, "metrics": list(metrics), "since": sources.clock.now() - FRESH},
    ):
        found.setdefault(row["key"], {})[row["name"]] = row["value"]
    return found


def last_heard(sources: Sources, cluster: str) -> dict[str, datetime]:
    """When each host last sent a number."""
    rows = sources.engine.rows(
        "SELECT host AS name, max(last_seen) AS heard FROM qnib.series WHERE cluster = {cluster:String} GROUP BY name",
        {"cluster": cluster},
    )
    return {row["name"]: row["heard"] for row in rows}


def rates(
    sources: Sources, cluster: str, metrics: Sequence[str], window: timedelta = timedelta(minutes=1)
) -> list[dict[str, Any]]:
    """Per series of these counters: its tags, the increase over `window` and the rate per second.

    A counter that went down was reset: what it shows now is what it counted since.
    """
    return sources.engine.rows(
        """
        SELECT s.metric AS name, s.owner AS tags,
               arraySum((a, b) -> if(b >= a, b - a, b), arrayPopBack(v), arrayPopFront(v)) AS increase,
               if(span > 0, increase / span, 0) AS rate
        FROM (
            SELECT series, arrayMap(x -> x.2, arraySort(x -> x.1, groupArray((time, value)))) AS v,
                   dateDiff('millisecond', min(time), max(time)) / 1000 AS span
            FROM qnib.points FINAL
            WHERE cluster = {cluster:String} AND time >= {since:DateTime64(3)} AND series IN (
                SELECT series FROM qnib.series WHERE cluster = {cluster:String} AND name IN {metrics:Array(String)}
            )
            GROUP BY series
        ) AS p
        INNER JOIN (
            SELECT series, anyLast(name) AS metric, anyLast(tags) AS owner FROM qnib.series
            WHERE cluster = {cluster:String} AND name IN {metrics:Array(String)} GROUP BY series
        ) AS s ON p.series = s.series
        """,
        {"cluster": cluster, "metrics": list(metrics), "since": sources.clock.now() - window},
    )


def newest(sources: Sources, cluster: str) -> datetime | None:
    """When anything was last heard of this cluster; None when nothing was within a day."""
    since = sources.clock.now() - timedelta(days=1)
    row = sources.engine.rows(
        """
        SELECT greatest(
            (SELECT max(last_seen) FROM qnib.series WHERE cluster = {cluster:String}),
            (SELECT max(received) FROM qnib.events
             WHERE cluster = {cluster:String} AND received >= {since:DateTime64(3)})
        ) AS newest
        """,
        {"cluster": cluster, "since": since},
    )[0]["newest"]
    return row if row and row > since else None
