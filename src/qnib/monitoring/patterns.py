"""Lines of a window by their template, the most frequent first: what no rule knows, or all of them.

Counting is the engine's; when a template was first heard stands in a table of its own, so that a new one is known as
new without a look at all of history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from qnib.engine import Engine
from qnib.monitoring.documents import POSTED
from qnib.monitoring.events import iso

BUCKETS = 40
"""Into how many parts of the window each pattern's lines are counted."""
_LIMIT = 100


def patterns(
    engine: Engine,
    cluster: str,
    start: datetime,
    end: datetime,
    *,
    new_since: datetime,
    hosts: Sequence[str] | None = None,
    app: str = "",
    known: bool = False,
    limit: int = _LIMIT,
) -> dict[str, Any]:
    """``{patterns, lines, unknown, kinds, new}``: rows of patterns, and how many lines the window has, how many of them
    no rule knows, in how many patterns, of which so many were first heard after `new_since`.

    A row: ``pattern`` (its number as text), ``rule`` and ``kind`` (empty where none knows it), ``template`` (of a known
    one its rule's name), ``app``, ``count``, ``share`` of all lines, ``hosts``, ``first``, ``last``, ``seen_since``
    (when it was heard for the first time ever), ``new``, ``counts`` over the window, ``example`` and its ``host``.
    `known`: lines that rules know, too, by their first rule.
    """
    where = [
        "cluster = {cluster:String}", f"listener NOT IN ('qnib', '{POSTED}')",  # neither writes lines
        "time >= {start:DateTime64(6, 'UTC')}", "time < {end:DateTime64(6, 'UTC')}",
    ]  # fmt: skip
    params: dict[str, Any] = {"cluster": cluster, "start": start, "end": end, "limit": limit, "new": new_since}
    if hosts:
        where.append("host IN {hosts:Array(String)}")
        params["hosts"] = list(hosts)
    if app:
        where.append("app IN {apps:Array(String)}")
        params["apps"] = app.split(",")
    first, step = int(start.timestamp()), max(1, -(-int((end - start) / timedelta(seconds=1)) // BUCKETS))
    window = " AND ".join(where)
    total = engine.rows(f"SELECT count() AS n, countIf(empty(rules)) AS u FROM qnib.events WHERE {window}", params)[0]
    grouped = f"""
        SELECT pattern, rules[1] AS rule, any(kind) AS its_kind, any(app) AS its_app, count() AS count,
            uniqExact(host) AS hosts, min(time) AS first, max(time) AS last, argMax(message, time) AS example,
            argMax(host, time) AS its_host,
            countResample({first}, {first + step * BUCKETS}, {step})(toUnixTimestamp(time)) AS counts
        FROM qnib.events WHERE {window} AND {"1" if known else "empty(rules)"} GROUP BY pattern, rule
    """
    told = f"""
        SELECT g.*, if(rule != '', rule, if(seen.template != '', seen.template, g.example)) AS template,
            if(seen.template != '', seen.first_seen, g.first) AS seen_since,
            rule = '' AND seen_since >= {{new:DateTime64(6, 'UTC')}} AS new
        FROM ({grouped}) AS g LEFT JOIN (
            SELECT pattern, anyLast(template) AS template, min(first_seen) AS first_seen FROM qnib.patterns
            WHERE cluster = {{cluster:String}} GROUP BY pattern
        ) AS seen ON g.pattern = seen.pattern
    """
    rows = engine.rows(
        f"SELECT *, count() OVER () AS kinds, sum(new) OVER () AS news FROM ({told})"
        " ORDER BY count DESC, last DESC, template LIMIT {limit:UInt32}",
        params,
    )
    return {
        "patterns": [_row(row, total["n"]) for row in rows],
        "lines": total["n"], "unknown": total["u"],
        "kinds": rows[0]["kinds"] if rows else 0, "new": int(rows[0]["news"]) if rows else 0,
    }  # fmt: skip


def _row(row: Mapping[str, Any], lines: int) -> dict[str, Any]:
    return {
        "pattern": str(row["pattern"]), "rule": row["rule"], "kind": row["its_kind"], "template": row["template"],
        "app": row["its_app"], "count": row["count"], "share": row["count"] / lines if lines else 0.0,
        "hosts": row["hosts"], "first": iso(row["first"]), "last": iso(row["last"]),
        "seen_since": iso(row["seen_since"]), "new": bool(row["new"]), "counts": list(row["counts"]),
        "example": row["example"], "host": row["its_host"],
    }  # fmt: skip
