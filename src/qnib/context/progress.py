"""How far jobs are: from the lines their scripts log (``progress 31/100 rate 1.9 it/s``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources

SPARK = 24
"""Points of the small rate drawing in a row."""


def progress_of(
    sources: Sources, cluster: str, jobs: Iterable[tuple[str, int, datetime, datetime]]
) -> dict[str, dict[str, Any]]:
    """Per job key: done, total, fraction, rate (iterations per second), expected end, unit, spark of rates.

    `jobs` are (key, id, start, end or now); ids repeat, so the lines of each are those within its own interval.
    """
    wanted = list(jobs)
    if not wanted:
        return {}
    rows = sources.engine.rows(
        """
        SELECT toUInt64OrZero(fields['job']) AS job, time, fields['unit'] AS unit,
               toFloat64OrZero(fields['done']) AS done, toFloat64OrZero(fields['total']) AS total,
               toFloat64OrZero(fields['rate']) AS rate
        FROM qnib.events
        WHERE cluster = {cluster:String} AND kind = 'job.progress' AND time >= {start:DateTime64(3)}
          AND time <= {end:DateTime64(3)} AND job IN {jobs:Array(UInt64)} AND total > 0
        ORDER BY time
        """,
        {
            "cluster": cluster,
            "start": min(start for _, _, start, _ in wanted) - timedelta(seconds=1),
            "end": max(end for _, _, _, end in wanted) + timedelta(seconds=5),
            "jobs": sorted({number for _, number, _, _ in wanted}),
        },
    )
    lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        lines[row["job"]].append(row)
    found: dict[str, dict[str, Any]] = {}
    for key, number, start, end in wanted:
        first, last = start - timedelta(seconds=1), end + timedelta(seconds=5)
        if own := [line for line in lines[number] if first <= line["time"] <= last]:
            found[key] = _summed(own)
    return found


def _summed(lines: list[dict[str, Any]]) -> dict[str, Any]:
    last = lines[-1]
    rates = [line["rate"] for line in lines if line["rate"] > 0]
    rate = rates[-1] if rates else _pace(lines)
    left = last["total"] - last["done"]
    ends = last["time"] + timedelta(seconds=left / rate) if rate and left > 0 else None
    step = max(1, len(rates) // SPARK)
    return {
        "done": last["done"],
        "total": last["total"],
        "fraction": min(1.0, last["done"] / last["total"]),
        "rate": rate,
        "ends": ends.isoformat() if ends else None,
        "unit": last["unit"] or "it/s",
        "spark": rates[::-step][:SPARK][::-1],
    }


def _pace(lines: list[dict[str, Any]]) -> float | None:
    """Iterations per second over all lines, for scripts that do not say it themselves."""
    seconds = (lines[-1]["time"] - lines[0]["time"]).total_seconds()
    done = lines[-1]["done"] - lines[0]["done"]
    return done / seconds if seconds > 0 and done > 0 else None
