"""Notes, in the same insert path as the points, which hours that were rolled up have changed."""

from __future__ import annotations

from qnib.monitoring.storage.levels import HOUR


def noted(points: str, number: int) -> str:
    """Note hours of points that came late; to be run after their insert. `points` is a subquery of ``cluster, series,
    time``, `number` stands for this very insert."""
    return f"""
        INSERT INTO qnib.changed (cluster, hour, series, noted)
        SELECT cluster, toUInt32(intDiv(toUnixTimestamp64Milli(time), {HOUR * 1000})) AS hour, series, {number} AS noted
        FROM {points}
        WHERE hour < (SELECT argMaxIf(value, number, name = 'settled') FROM qnib.rollup_marks)
        GROUP BY cluster, hour, series
    """
