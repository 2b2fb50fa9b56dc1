"""The newest value of a few metrics per host or port: what a map or a table colours by, and the graph is asked with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources
from qnib.domains.paths import segment
from qnib.engine import Engine
from qnib.inventory.facts import Facts
from qnib.inventory.schema import instant
from qnib.model import Metric, Ref, Scalar
from qnib.monitoring.series import declared_metrics

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
        "SELECT host AS name, max(last) AS heard FROM qnib.heard WHERE cluster = {cluster:String} GROUP BY name",
        {"cluster": cluster},
    )
    return {row["name"]: row["heard"] for row in rows}


def rates(
    sources: Sources, cluster: str, metrics: Sequence[str], window: timedelta = timedelta(minutes=1),
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """Per series of these counters: its tags, the increase over `window` before `until` (None: now) and the rate per
    second.

    A counter that went down was reset: what it shows now is what it counted since.
    """
    end = until or sources.clock.now()
    return sources.engine.rows(
        """
        SELECT s.metric AS name, s.owner AS tags,
               arraySum((a, b) -> if(b >= a, b - a, b), arrayPopBack(v), arrayPopFront(v)) AS increase,
               if(span > 0, increase / span, 0) AS rate
        FROM (
            SELECT series, arrayMap(x -> x.2, arraySort(x -> x.1, groupArray((time, value)))) AS v,
                   dateDiff('millisecond', min(time), max(time)) / 1000 AS span
            FROM qnib.points FINAL
            WHERE cluster = {cluster:String} AND time >= {since:DateTime64(3)} AND time <= {until:DateTime64(3)}
            AND series IN (
                SELECT series FROM qnib.series WHERE cluster = {cluster:String} AND name IN {metrics:Array(String)}
            )
            GROUP BY series
        ) AS p
        INNER JOIN (
            SELECT series, anyLast(name) AS metric, anyLast(tags) AS owner FROM qnib.series
            WHERE cluster = {cluster:String} AND name IN {metrics:Array(String)} GROUP BY series
        ) AS s ON p.series = s.series
        """,
        {"cluster": cluster, "metrics": list(metrics), "since": end - window, "until": end},
    )


def newest(sources: Sources, cluster: str) -> datetime | None:
    """When anything was last heard of this cluster; None when nothing was within a day."""
    since = sources.clock.now() - timedelta(days=1)
    row = sources.engine.rows(
        """
        SELECT greatest(
            (SELECT max(last) FROM qnib.heard WHERE cluster = {cluster:String}),
            (SELECT max(received) FROM qnib.events
             WHERE cluster = {cluster:String} AND received >= {since:DateTime64(3)})
        ) AS newest
        """,
        {"cluster": cluster, "since": since},
    )[0]["newest"]
    return row if row and row > since else None


# ── values of metrics on entities ─────────────────────────────────────────────────────────────

HOUR = timedelta(hours=1)


def values_of_entities(engine: Engine, facts: Facts, at: datetime) -> Iterator[tuple[str, Ref, dict[str, Scalar]]]:
    """What metrics that are declared `on` an entity said last within the hour before `at`: (cluster, entity, columns).

    Columns are the value, its time as ``…_at``, and of a counter what it grew in that hour as ``…_hour``.
    """
    metrics = {name: metric for name, metric in declared_metrics().items() if metric.on}
    for cluster in facts.clusters():
        found: dict[Ref, dict[str, Scalar]] = {}
        names = _Names(facts, cluster, at)
        for row in _newest_values(engine, cluster, list(metrics), at):
            metric = metrics[row["name"]]
            if (ref := names.entity(metric, row["tags"])) is None:
                continue
            columns = found.setdefault(ref, {})
            columns |= {metric.column: float(row["value"]), f"{metric.column}_at": instant(row["time"])}
            if metric.mtype == "counter":
                columns[f"{metric.column}_hour"] = float(row["increase"])
        for ref, columns in found.items():
            yield cluster, ref, columns


def _newest_values(engine: Engine, cluster: str, names: list[str], at: datetime) -> list[dict[str, Any]]:
    known = "SELECT {what} FROM qnib.series WHERE cluster = {{cluster:String}} AND name IN {{names:Array(String)}}"
    return engine.rows(
        f"""
        SELECT s.metric AS name, s.owner AS tags, p.last AS value, p.newest AS time, p.increase AS increase
        FROM (
            SELECT series, argMax(value, time) AS last, max(time) AS newest,
                   deltaSumTimestamp(value, toUnixTimestamp64Milli(time)) AS increase
            FROM qnib.points
            WHERE cluster = {{cluster:String}} AND time > {{since:DateTime64(3)}} AND time <= {{at:DateTime64(3)}}
              AND series IN ({known.format(what='series')})
            GROUP BY series
        ) AS p
        INNER JOIN (
            {known.format(what='series, anyLast(name) AS metric, anyLast(tags) AS owner')} GROUP BY series
        ) AS s ON p.series = s.series
        """,
        {"cluster": cluster, "names": names, "since": at - HOUR, "at": at},
    )


class _Names:
    """Entities by the tags of a series: a tag is a name as a path's segment, which is not always the name itself."""

    def __init__(self, facts: Facts, cluster: str, at: datetime) -> None:
        self._facts = facts
        self._cluster = cluster
        self._at = at
        self._keys: dict[str, dict[str, str]] = {}

    def entity(self, metric: Metric, tags: Mapping[str, str]) -> Ref | None:
        kind, _, template = metric.on.partition(":")
        told = re.sub(r"\{(\w+)\}", lambda tag: tags.get(tag[1], ""), template)
        if kind not in self._keys:
            known = self._facts.entities(self._cluster, kind)
            self._keys[kind] = {_as_path(fact.key): fact.key for fact in known}
        key = self._keys[kind].get(_as_path(told))
        if key is None and kind == "Host":
            key = self._facts.resolve(self._cluster, told)
        return Ref(kind, key) if key else None


def _as_path(key: str) -> str:
    return "/".join(segment(part) for part in key.split("/"))
