"""What there is to find in a fabric: links that are down, ports with errors, and of these whether port or cable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources, iso
from qnib.dashboards.fabric.layers import Layers, layers
from qnib.dashboards.fabric.links import HOUR, Weights, weigh
from qnib.dashboards.findings import as_row, link_findings, worst_first
from qnib.domains.paths import segment
from qnib.engine import DATABASE
from qnib.errors import NotFound
from qnib.inventory.verdicts import COUNTED, DAY, Verdict, verdict
from qnib.model import Finding, Ref

MOST_JUDGED = 4
"""Ports with errors that are judged, those with most first: each costs some queries."""
MARKS = 120
"""Moments at which errors are told within a window, at most, for each port."""
_FINEST = 2000
"""Steps of time that a window is read in: about those of a day's readings."""


def fabric_findings(
    sources: Sources, cluster: str, at: datetime | None = None, weights: Weights | None = None
) -> list[dict[str, Any]]:
    """The UI's `Finding`s about a fabric at `at` (None: now), the worst first; verdicts before plain errors."""
    found = layers(sources, cluster, at)
    grown = _grown(found, weights or weigh(sources, cluster, at))
    down = [
        {"a": link.a, "a_port": link.a_port, "b": link.b, "b_port": link.b_port, "state": "down"}
        for link in found.found.down
    ]
    rows = link_findings(down, grown, int(HOUR.total_seconds()))
    judged = list(_judged(sources, cluster, grown, at or sources.clock.now()))
    verdicts = [as_row(_finding(one)) for one in judged if one.guilty in ("cable", "port")]
    covered = {port for one in judged if one.part for port in _ports_with(one)}
    advice = {one.port: one.advice for one in judged if one.guilty == "unknown"}
    rest = [
        {**row, "advice": advice.get(_port(row), row["advice"])} for row in rows
        if row["name"] != "symbol_errors" or _port(row) not in covered
    ]
    return worst_first([*verdicts, *rest])


def _port(row: dict[str, Any]) -> str:
    return str(row["about"]).partition(":")[2]


def _grown(found: Layers, weights: Weights) -> dict[str, float]:
    """Symbol errors of the last hour by port, most first."""
    ends = ((device, port) for link in found.links for device, port in ((link.a, link.a_port), (link.b, link.b_port)))
    told = {f"{device}/{port}": weights.errors.get((segment(device), str(port)), 0.0) for device, port in ends}
    return dict(sorted(((port, n) for port, n in told.items() if n), key=lambda pair: -pair[1]))


def _judged(sources: Sources, cluster: str, ports: Iterable[str], end: datetime) -> Iterable[Verdict]:
    """Verdicts about the ports, each part judged once."""
    blamed: set[str] = set()
    for port in list(ports)[:MOST_JUDGED]:
        if port in blamed:
            continue
        try:
            one = verdict(sources.engine, cluster, port, end - DAY, end)
        except NotFound:
            continue  # it was unplugged for longer than that
        blamed |= {port, *_ports_with(one)}
        yield one


def _ports_with(one: Verdict) -> set[str]:
    """Ports of the connections that the guilty part was in."""
    return {port for period in one.periods if period.share(one.part) == 1 for port in (period.a, period.b)}


def _finding(one: Verdict) -> Finding:
    best = one.suspects[0]
    seen = f"errors in {best.bad} of {best.bad + best.clean} connections it was part of, within a day"
    ref = Ref("CABLE" if one.guilty == "cable" else "PORT", one.part)
    return Finding("port_or_cable", "warn", one.sentence, one.advice, (seen,), ref)


# ── when errors were counted ──────────────────────────────────────────────────────────────────


def verdict_told(one: Verdict, sources: Sources, cluster: str, start: datetime, end: datetime) -> dict[str, Any]:
    """A verdict with the moments at which each of its ports counted errors."""
    ports = sorted({port for period in one.periods for port in (period.a, period.b)})
    return {
        **one.told(), "since": iso(start), "until": iso(end),
        "errors": errors_over_time(sources, cluster, ports, start, end),
    }


def errors_over_time(
    sources: Sources, cluster: str, ports: Sequence[str], start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """``{port, time, count}``: errors that damage on the way causes, at no more than `MARKS` moments for each port.

    `time` is the reading at which they were seen. A counter that went down was reset, as everywhere.
    """
    paths = {
        f"infiniband.{segment(device)}.{number}.{name}": port
        for port in ports for device, _, number in [port.rpartition("/")] for name in COUNTED
    }
    step = max(1000, round((end - start) / timedelta(milliseconds=1) / _FINEST))
    rows = sources.engine.rows(
        f"""
        SELECT path, max(time) AS last, sum(step) AS count FROM (
            SELECT s.known AS path, p.time AS time,
                   if(row_number() OVER w = 1, 0, if(p.value >= lagInFrame(p.value) OVER w,
                      p.value - lagInFrame(p.value) OVER w, p.value)) AS step
            FROM (
                SELECT series, time, value FROM {DATABASE}.points FINAL WHERE cluster = {{cluster:String}}
                AND time >= {{start:DateTime64(3, 'UTC')}} AND time <= {{end:DateTime64(3, 'UTC')}} AND series IN (
                    SELECT series FROM {DATABASE}.series
                    WHERE cluster = {{cluster:String}} AND path IN {{paths:Array(String)}}
                )
            ) AS p INNER JOIN (
                SELECT series, anyLast(path) AS known FROM {DATABASE}.series
                WHERE cluster = {{cluster:String}} AND path IN {{paths:Array(String)}} GROUP BY series
            ) AS s ON p.series = s.series
            WINDOW w AS (PARTITION BY path ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        ) WHERE step > 0 GROUP BY path, intDiv(toUnixTimestamp64Milli(time), {{step:Int64}}) ORDER BY last, path
        """,
        {"cluster": cluster, "start": start, "end": end, "paths": list(paths), "step": step},
    )
    found: dict[str, dict[datetime, int]] = {}
    for row in rows:
        told = found.setdefault(paths[row["path"]], {})
        told[row["last"]] = told.get(row["last"], 0) + int(row["count"])
    return [
        {"port": port, "time": iso(time), "count": count}
        for port, told in found.items() for time, count in _fewer(sorted(told.items()))
    ]


def _fewer(told: Sequence[tuple[datetime, int]]) -> Iterable[tuple[datetime, int]]:
    """Neighbours put together until no more than `MARKS` are left; each at its last moment."""
    size = -(-len(told) // MARKS) or 1
    for start in range(0, len(told), size):
        group = told[start : start + size]
        yield group[-1][0], sum(count for _, count in group)
