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
    sources: Sources, cluster: str, jobs: Iterable[tuple[int, datetime, datetime]]
) -> dict[int, dict[str, Any]]:
    """Per job id: done, total, fraction, rate (iterations per second), expected end, unit, spark of rates.

    `jobs` are (id, start, end or now); ids repeat over the years, so each is read within its own interval.
    """
    wanted = {job: (start, end) for job, start, end in jobs}
    if not wanted:
        return {}
    rows = sources.engine.rows(
        """
        SELECT toUInt64OrZero(fields['job']) AS job, time, fields['unit'] AS unit,
               toFloat64OrZero(fields['done']) AS done, toFloat64OrZero(fields['total']) AS total,
               toFloat64OrZero(fields['rate']) AS rate
        FROM qnib.events
        WHERE cluster = {cluster:String} AND kind = 'job.progress' AND time >= {start:DateTime64(3)}
          AND job IN {jobs:Array(UInt64)}
        ORDER BY time
        """,
        {"cluster": cluster, "start": min(start for start, _ in wanted.values()), "jobs": sorted(wanted)},
    )
    lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        start, end = wanted[row["job"]]
        if start - timedelta(seconds=1) <= row["time"] <= end + timedelta(seconds=5) and row["total"] > 0:
            lines[row["job"]].append(row)
    return {job: _summed(found) for job, found in lines.items()}


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
