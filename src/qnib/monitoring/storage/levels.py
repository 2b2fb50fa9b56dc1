"""Roll-ups in SQL: figures of a step made of the slots below it, and the value an aggregation rule reads from them.

As in whisper each step is made of the values of the one below, where enough of these are known. Beside the steps of a
rule there is always `LADDER`, made of the points themselves, for charts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from qnib.monitoring.storage.rules import Rule

LADDER = (600, 3600)
"""Seconds. Ten minutes: a week on a thousand pixels; finer ones would be as large as the points of many a site."""

_NEAREST = "bitOr(bitShiftLeft(toUInt128(reinterpretAsUInt64(abs(v))), 64), toUInt128(reinterpretAsUInt64(t)))"
"""``(abs(v), t)`` as one number in the same order: a tuple would cost three times as much as all figures together."""

FIGURES = "count, sum, min, max, last, nearest, expected"

HOUR = 3600

FOR_GOOD = 1 << 62
"""Version of a row that is not computed again, above any that is."""


@dataclass(frozen=True, slots=True)
class Level:
    step: int
    below: int
    """Step of the slots it is made of; 0: of the points as they are."""
    made_of_points: bool
    expected: int
    sums: int = 0
    """A finer step made of the same points, rolled up just before: its figures add up to these. 0: none."""


def levels(rule: Rule) -> list[Level]:
    """What is rolled up for a rule, a step after the one it is made of."""
    steps = [archive.step for archive in rule.archives]
    own = [
        Level(step, below, number == 0, step // below)
        for number, (below, step) in enumerate(pairwise(steps))
    ]
    ladder = [step for step in LADDER if step not in steps[1:]]
    return own + [Level(step, 0, True, 1, finer) for finer, step in pairwise([0, *ladder])]


def level(rule: Rule, step: int) -> Level:
    return next(one for one in levels(rule) if one.step == step)


def points(below: int, where: str) -> str:
    """Points as rows ``series, t, v``, the last of each slot: `t` in seconds. Of one moment the last written counts."""
    rows = f"SELECT series, time, value FROM qnib.points FINAL WHERE {where}"
    if not below:
        return f"SELECT series, toUnixTimestamp64Milli(time) / 1000 AS t, value AS v FROM ({rows})"
    return (
        f"SELECT series, intDiv(toUnixTimestamp64Milli(time), {below * 1000}) * {below} AS t, argMax(value, time) AS v"
        f" FROM ({rows}) GROUP BY series, t"
    )


def figures(one: Level, values: str, expected: int | None = None) -> str:
    """Rows ``series, t`` and the `FIGURES` of rows ``series, t, v``."""
    slot = f"toUInt32(intDiv(toInt64(floor(t)), {one.step}) * {one.step})"
    return (
        f"SELECT series, {slot} AS slot_t, toUInt32(count()) AS count, sum(v) AS sum, min(v) AS min, max(v) AS max,"
        f" argMax(v, t) AS last, argMin(v, {_NEAREST}) AS nearest, toUInt32({expected or one.expected}) AS expected"
        f" FROM ({values}) GROUP BY series, slot_t"
    )


def merged(rows: str, slot: str) -> str:
    """Figures of wider slots: `slot` is SQL over ``t``; rows ``series, slot`` and the `FIGURES`."""
    return (
        f"SELECT series, {slot} AS slot, sum(f.count) AS count, sum(f.sum) AS sum, min(f.min) AS min,"
        " max(f.max) AS max, argMax(f.last, t) AS last, argMin(f.nearest, (abs(f.nearest), t)) AS nearest,"
        " sum(f.expected) AS expected"
        f" FROM ({rows}) AS f GROUP BY series, slot"
    )


def summed(one: Level, rows: str) -> str:
    """Figures of a step from rows ``series, slot_t`` and the `FIGURES` of the finer one it sums."""
    added = merged(f"SELECT *, slot_t AS t FROM ({rows})", f"toUInt32(intDiv(t, {one.step}) * {one.step})")
    return f"SELECT * REPLACE (toUInt32({one.expected}) AS expected), slot AS slot_t FROM ({added})"


def known(xff: float) -> str:
    """Whether enough is known for a value. Whisper keeps the factor in 32 bits: one of five is less than its 0.2."""
    return f"count / expected >= {struct.unpack('f', struct.pack('f', xff))[0]!r}"


def value(method: str) -> str:
    """The value by a method of whisper's, of the `FIGURES`."""
    return {
        "average": "sum / count", "avg_zero": "sum / expected", "sum": "sum", "min": "min", "max": "max",
        "last": "last", "absmax": "if(abs(max) >= abs(min), max, min)", "absmin": "nearest",
    }[method]  # fmt: skip


def values(one: Level, rule: Rule, rows: str, t: str = "t") -> str:
    """Rows ``series, t, v`` of figures, where enough is known: what the next coarser step is made of."""
    return f"SELECT series, {t} AS t, {value(rule.method)} AS v FROM ({rows}) WHERE {known(rule.xff)}"


def from_points(rule: Rule, one: Level, where: str) -> str:
    """Figures of a step straight from the points, through all steps between: rows ``series, slot_t`` and `FIGURES`."""
    if one.made_of_points:
        return figures(one, points(one.below, where))
    below = level(rule, one.below)
    return figures(one, values(below, rule, from_points(rule, below, where), "slot_t"))
