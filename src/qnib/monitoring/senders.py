"""Who sends events and points: how many, when last; of events for which host, how far its clock is off, what was
refused or dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qnib.engine import Engine
from qnib.monitoring.loads import LISTENER
from qnib.monitoring.syslog import AHEAD, BEHIND

# A time too far off to be a clock's was replaced by the arrival; what was sent is still there
_SKEW = """if(fields['sent'] = '', date_diff('microsecond', received, time) / 1e6,
    ifNull(date_diff('microsecond', received, parseDateTime64BestEffortOrNull(fields['sent'], 6, 'UTC')) / 1e6, 0))"""
# Files are brought by a person: whoever loads one is told at once, and it is nobody's sending
_REFUSED = """cluster = {cluster:String} AND NOT startsWith(listener, 'load/')
    AND received >= {start:DateTime64(6, 'UTC')} AND received < {end:DateTime64(6, 'UTC')}"""


def senders(
    engine: Engine, cluster: str, start: datetime, end: datetime, dropped: Mapping[str, int]
) -> list[dict[str, Any]]:
    """One row for each sender, listener and host heard in a window, the most talkative first.

    The window is that of arrival: by its own time, a host whose clock is ahead would be missing.

    `skew`: seconds by which the host's clock seems ahead (negative: behind, or its messages were long under way), the
    median over its events. `sent_by`: events that named this host, but came from the address of another.
    `dropped`: datagrams of this sender that were dropped since the server started, because it flooded.
    """
    params: dict[str, Any] = {"cluster": cluster, "start": start, "end": end}
    rows = engine.rows(
        f"""
        SELECT sender, host, listener, count() AS events, max(received) AS last, median({_SKEW}) AS skew,
            countIf(fields['sent'] != '') AS wrong_clock, countIf(fields['sent_by'] != '') AS sent_by
        FROM qnib.events
        WHERE cluster = {{cluster:String}}
            AND received >= {{start:DateTime64(6, 'UTC')}} AND received < {{end:DateTime64(6, 'UTC')}}
            AND time >= subtractSeconds({{start:DateTime64(6, 'UTC')}}, {BEHIND})
            AND time < addSeconds({{end:DateTime64(6, 'UTC')}}, {AHEAD})
            AND sender != 'qnib' AND NOT startsWith(listener, 'load/')
        GROUP BY sender, host, listener ORDER BY events DESC, sender, host, listener LIMIT 5000
        """,
        params,
    )
    refused = engine.rows(f"SELECT sender, count() AS n FROM qnib.rejects WHERE {_REFUSED} GROUP BY sender", params)
    rejects = {row["sender"]: row["n"] for row in refused}
    told = [
        {**row, "last": row["last"].isoformat(), "skew": round(row["skew"], 3),
         "rejects": rejects.get(row["sender"], 0), "dropped": dropped.get(row["sender"], 0)}
        for row in rows
    ]  # fmt: skip
    silent = sorted((set(rejects) | set(dropped)) - {row["sender"] for row in rows})
    return told + [
        {"sender": sender, "host": "", "listener": "", "events": 0, "last": None, "skew": 0.0, "wrong_clock": 0,
         "sent_by": 0, "rejects": rejects.get(sender, 0), "dropped": dropped.get(sender, 0)}
        for sender in silent
    ]  # fmt: skip


def of_points(heard: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `point_senders` for what came in one file: `carbon.SUMMARY`'s, but for files that were loaded."""
    return [
        {
            "cluster": row["cluster"], "sender": row["sender"], "listener": row["listener"], "last": row["last"],
            "slot": row["last"].replace(minute=row["last"].minute // 5 * 5, second=0, microsecond=0),
            "points": row["points"] + row["samples"],
        }
        for row in heard
        if not row["listener"].startswith(LISTENER)
    ]  # fmt: skip


def points(engine: Engine, cluster: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Who sent points in a window of arrival, which counts in whole five minutes; the most first, and of 5000 rows no
    more. Those refused count, too."""
    rows = engine.rows(
        """
        SELECT sender, listener, sum(p.points) AS points, max(p.last) AS last FROM qnib.point_senders AS p
        WHERE cluster = {cluster:String} AND slot >= toStartOfFiveMinutes({start:DateTime64(6, 'UTC')})
            AND slot < {end:DateTime64(6, 'UTC')}
        GROUP BY sender, listener ORDER BY points DESC, sender, listener LIMIT 5000
        """,
        {"cluster": cluster, "start": start, "end": end},
    )
    return [{**row, "last": row["last"].isoformat()} for row in rows]


def rejected(engine: Engine, cluster: str, start: datetime, end: datetime, limit: int = 8) -> list[dict[str, Any]]:
    """What was refused, by sender, listener and reason, the latest first; `example`: how its last one began."""
    rows = engine.rows(
        f"""
        SELECT sender, listener, reason, count() AS count, max(received) AS last,
            substringUTF8(argMax(raw, received), 1, 300) AS example
        FROM qnib.rejects WHERE {_REFUSED}
        GROUP BY sender, listener, reason ORDER BY last DESC, sender, listener, reason LIMIT {{limit:UInt32}}
        """,
        {"cluster": cluster, "start": start, "end": end, "limit": limit},
    )
    return [{**row, "last": row["last"].isoformat()} for row in rows]
