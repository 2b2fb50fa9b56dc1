"""statsd over UDP: counters, gauges, timers and sets of all hosts of a cluster, one set of points an interval.

``name:value|type[|@rate][|#tag:value,…]``, several lines a datagram; values packed as ``name:1:2:3|ms`` or
``name:1|c:2|c``. Names of the points are those of statsd without its legacy namespace: ``stats.counters.NAME.count`` …
What was not sent in an interval is not told in it: an old gauge would look like a new one.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, NamedTuple

from qnib.monitoring.datagrams import Datagrams
from qnib.monitoring.frames import Origin, row
from qnib.settings import Statsd

if TYPE_CHECKING:
    from qnib.monitoring.receive import Receiver

_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BLANKS = re.compile(rb"\s+")
_NOT_IN_NAMES = re.compile(rb"[^a-zA-Z0-9_\-.;=]")
_ENDS_TAGS = re.compile(rb"[\s;=]")
_TIMERS = frozenset({b"ms", b"h", b"d"})  # DogStatsD's histograms and distributions, too
_MOST_VALUES = 1_000_000
"""Values of timers and members of sets kept in an interval."""
_LONGEST_NAME = 500
_AT_ONCE = 5000  # lines in a row of the spool, so that its files keep their usual size
_FULL = "more names or values in an interval than are kept"

Name = tuple[bytes, bytes]
"""A name and its tags as they end a series: ``;tag=value;…``."""


class Full(ValueError):
    """There are more names or values in this interval than are kept."""


class Sample(NamedTuple):
    name: Name
    kind: bytes
    value: bytes
    rate: float


def samples(line: bytes) -> Iterator[Sample]:
    """What a line says. Raises ValueError for what is none of statsd's."""
    if line.startswith((b"_e{", b"_sc|")):
        raise ValueError("an event or a check of DogStatsD")
    key, colon, told = line.partition(b":")
    fields = told.split(b"|")
    values = fields.pop(0)
    found: list[tuple[bytes, bytes, float]] = []
    while colon:
        if not fields:
            raise ValueError("not name:value|type")
        kind, colon, following = fields.pop(0).partition(b":")
        rate = 1.0
        if not colon and fields and fields[0].startswith(b"@"):
            text, colon, following = fields.pop(0)[1:].partition(b":")
            rate = _number(text)
            if not 0 < rate <= 1:
                raise ValueError("the rate is not above 0 and at most 1")
        found += [(kind, value, rate) for value in values.split(b":")]
        values = following
    name = _named(key, b",".join(field[1:] for field in fields if field.startswith(b"#")))
    if not name[0] or not found:
        raise ValueError("not name:value|type")
    if len(name[0]) + len(name[1]) > _LONGEST_NAME:
        raise ValueError(f"name and tags are longer than {_LONGEST_NAME} octets")
    for kind, value, rate in found:
        yield Sample(name, kind, value, rate)


def _named(key: bytes, tags: bytes) -> Name:
    """statsd's own cleaning, so that the names are those its users know."""
    clean = _NOT_IN_NAMES.sub(b"", _BLANKS.sub(b"_", key.strip()).replace(b"/", b"-"))
    name, _, own = clean.partition(b";")
    told = [b";" + pair for pair in own.split(b";") if b"=" in pair]
    for tag in filter(None, tags.split(b",")):
        label, _, value = tag.partition(b":")
        told.append(b";%b=%b" % (_ENDS_TAGS.sub(b"_", label), _ENDS_TAGS.sub(b"_", value) or b"true"))
    return name, b"".join(told)


def _number(text: bytes) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise ValueError("the value is no number")
    return number


class Tally:
    """What a cluster's hosts said in this interval. `most`: names kept, of each kind."""

    def __init__(self, percentiles: Sequence[float], most: int) -> None:
        self._percentiles = percentiles
        self._most = most
        self._gauges: dict[Name, float] = {}  # in the order in which they were set, for increments that come later
        self._forget()

    def _forget(self) -> None:
        self._counters: dict[Name, float] = {}
        self._timers: dict[Name, list[float]] = {}
        self._timed: dict[Name, float] = {}  # how many there were, sampled ones counted as the many they stand for
        self._sets: dict[Name, set[bytes]] = {}
        self._set_gauges: set[Name] = set()
        self._values = 0

    def take(self, sample: Sample) -> None:
        """Count one in. Raises ValueError for a value or type that is none, Full when there is no room."""
        name, kind, value, rate = sample
        if kind == b"c":
            number = _number(value) / rate
            self._room(self._counters, name)
            self._counters[name] = self._counters.get(name, 0.0) + number
        elif kind == b"g":
            self._gauge(name, value)
        elif kind in _TIMERS:
            number = _number(value)
            self._room(self._timers, name, 1)
            self._timers.setdefault(name, []).append(number)
            self._timed[name] = self._timed.get(name, 0.0) + 1 / rate
        elif kind == b"s":
            self._room(self._sets, name, 1)
            self._sets.setdefault(name, set()).add(value)
        else:
            raise ValueError("a type that is none of c, g, ms, h, d and s")

    def _gauge(self, name: Name, value: bytes) -> None:
        number = _number(value)
        if value[:1] in {b"+", b"-"} and name in self._gauges:
            number += self._gauges[name]
        self._room(self._set_gauges, name)
        self._gauges.pop(name, None)
        while len(self._gauges) >= self._most:
            self._gauges.pop(next(iter(self._gauges)))
        self._gauges[name] = number
        self._set_gauges.add(name)

    def _room(self, names: dict[Name, float] | dict[Name, list[float]] | dict[Name, set[bytes]] | set[Name], name: Name,
              values: int = 0) -> None:  # fmt: skip
        if (len(names) >= self._most and name not in names) or self._values + values > _MOST_VALUES:
            raise Full(_FULL)
        self._values += values

    def flush(self, seconds: float) -> Iterator[tuple[bytes, float]]:
        """Paths and values of the interval, `seconds` long; a new one begins."""
        for (name, tags), number in self._counters.items():
            yield b"stats.counters.%b.count%b" % (name, tags), number
            yield b"stats.counters.%b.rate%b" % (name, tags), number / seconds
        for key in self._set_gauges:
            yield b"stats.gauges.%b%b" % key, self._gauges[key]
        for (name, tags), values in self._timers.items():
            for what, number in self._timer(sorted(values), self._timed[name, tags], seconds):
                yield b"stats.timers.%b.%b%b" % (name, what.encode(), tags), number
        for (name, tags), members in self._sets.items():
            yield b"stats.sets.%b.count%b" % (name, tags), float(len(members))
        self._forget()

    def _timer(self, values: list[float], timed: float, seconds: float) -> Iterator[tuple[str, float]]:
        """statsd's numbers of a timer; `values` in order."""
        count, sums = len(values), list(accumulate(values))
        squares = list(accumulate(value * value for value in values))
        mean, half = sums[-1] / count, count // 2
        yield from (
            ("count", timed), ("count_ps", timed / seconds), ("lower", values[0]), ("upper", values[-1]),
            ("mean", mean), ("sum", sums[-1]), ("sum_squares", squares[-1]),
            ("median", values[half] if count % 2 else (values[half - 1] + values[half]) / 2),
            ("std", math.sqrt(sum((value - mean) * (value - mean) for value in values) / count)),  # ** would raise
        )  # fmt: skip
        for percent in self._percentiles:
            within = math.floor(abs(percent) / 100 * count + 0.5) if count > 1 else 1
            if not within:
                continue
            first, last = (0, within - 1) if percent > 0 else (count - within, count - 1)
            name = f"{percent:g}".replace(".", "_").replace("-", "top")
            total = sums[last] - (sums[first - 1] if first else 0.0)
            yield f"count_{name}", float(within)
            yield f"mean_{name}", total / within
            yield (f"upper_{name}", values[last]) if percent > 0 else (f"lower_{name}", values[first])
            yield f"sum_{name}", total
            yield f"sum_squares_{name}", squares[last] - (squares[first - 1] if first else 0.0)


class Flushing:
    """The tally of one cluster, and the points it becomes each interval. Call from the event loop."""

    def __init__(self, receiver: Receiver, cluster: str, settings: Statsd) -> None:
        self.tally = Tally(settings.percentiles, settings.most_names)
        self._receiver = receiver
        self._origin = Origin(cluster, "statsd", "statsd/udp")
        self._interval = settings.flush_seconds
        self._began = asyncio.get_running_loop().time()
        self._too_many: Counter[Origin] = Counter()
        self._next()

    def _next(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._flush)

    def refuse(self, origin: Origin) -> None:
        """Count what there was no room for; it is told once an interval."""
        self._too_many[origin] += 1

    def _flush(self) -> None:
        self._next()
        if not self._receiver.spool.full:  # else the interval becomes longer
            self.tell()

    def tell(self) -> None:
        """Spool the points of the interval so far, and what was refused in it."""
        now = asyncio.get_running_loop().time()
        # Short at the end of the server, when a rate of so little would be none
        seconds, self._began = max(self._interval, now - self._began), now
        at = self._receiver.now()
        lines = (b"%b %a %.3f" % (path, value, at / 1e6) for path, value in self.tally.flush(seconds))
        while some := list(islice(lines, _AT_ONCE)):
            self._receiver.spool.append("carbon", row(at, self._origin.prefix(), some))
        for origin, count in self._too_many.items():
            self._receiver.reject(origin, _FULL, b"%d" % count)
        self._too_many.clear()

    def close(self) -> None:
        self._timer.cancel()
        self.tell()


class StatsdDatagrams(Datagrams):
    weight = 16  # each number is read here, where all other edges wait meanwhile

    def take(self, data: bytes, prefix: bytes, sender: str) -> None:
        origin = self.origin(sender)
        flushing = self.receiver.flushing(origin.cluster)
        bad: dict[str, list[bytes]] = {}
        for line in data.split(b"\n"):
            if not line.strip():
                continue
            try:
                if len(line) > self.longest:
                    raise ValueError(f"longer than {self.longest} octets")
                for sample in samples(line):
                    flushing.tally.take(sample)
            except Full:
                flushing.refuse(origin)
            except ValueError as error:
                bad.setdefault(str(error), []).append(line)
        for reason, lines in bad.items():
            raw = lines[0] if len(lines) == 1 else b"%d lines, the first: %b" % (len(lines), lines[0])
            self.receiver.reject(origin, reason, raw)
