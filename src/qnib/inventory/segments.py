"""Intervals of things that overlap, cut into segments that do not: what a join in time needs, which finds one row.

Times are microseconds since 1970 throughout; `EVER` stands for no end. An interval holds from its first microsecond
and no longer in its last.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

EVER = 1 << 62


class Interval(NamedTuple):
    """`tag` holds of `key` from `since` until `until`."""

    key: str
    since: int
    until: int
    tag: int


class Segments:
    """What holds of each key, from each moment on at which that changes."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self.of: dict[str, tuple[list[int], list[tuple[int, ...]]]] = {}
        edges: dict[str, list[tuple[int, int, int]]] = {}
        for key, since, until, tag in intervals:
            if since < until:
                edges.setdefault(key, []).extend(((since, 1, tag), (until, -1, tag)))
        for key, own in edges.items():
            own.sort()
            times: list[int] = []
            held: list[tuple[int, ...]] = []
            now: dict[int, int] = {}
            for at, step, tag in own:
                count = now.get(tag, 0) + step
                if count:
                    now[tag] = count
                else:
                    del now[tag]
                if times and times[-1] == at:
                    held[-1] = tuple(now)
                else:
                    times.append(at)
                    held.append(tuple(now))
            self.of[key] = times, held

    def at(self, key: str, time: int) -> tuple[int, ...]:
        """The tags that hold of `key` then."""
        times, held = self.of.get(key, ([], []))
        place = bisect_right(times, time) - 1
        return held[place] if place >= 0 else ()

    def rows(self) -> tuple[list[str], list[int], list[tuple[int, ...]]]:
        """As columns: key, from when on, the tags."""
        keys: list[str] = []
        times: list[int] = []
        tags: list[tuple[int, ...]] = []
        for key, (own_times, own_tags) in self.of.items():
            keys += [key] * len(own_times)
            times += own_times
            tags += own_tags
        return keys, times, tags
