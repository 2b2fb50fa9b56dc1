"""Notes, in the same insert path as the events, in which slots of time some came in: counts of those have changed."""

from __future__ import annotations

SLOT = 10
"""Seconds."""


def noted(events: str, number: int, where: str = "1") -> str:
    """Note the slots of events; to be run after their insert. `events` is a table or subquery with ``cluster, time``,
    `number` stands for this very insert."""
    return f"""
        INSERT INTO qnib.came (cluster, slot, noted)
        SELECT cluster, toUInt32(intDiv(toUnixTimestamp64Micro(time), {SLOT * 1_000_000})) AS slot, {number} AS noted
        FROM {events} WHERE {where} AND toUnixTimestamp64Micro(time) >= 0 GROUP BY cluster, slot
    """
