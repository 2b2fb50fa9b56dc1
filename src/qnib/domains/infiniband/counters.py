"""The counters of every port: what tools print, what they mean, and the one rule for each way a counter can end.

| counter | bits | at its end |
|---|---|---|
| data, packets (extended) | 64 | starts again from 0: wraps |
| data, packets, wait (short form) | 32 | stops: saturates |
| errors | 8 or 16 | stops: saturates |

Any of them may be reset by whoever may write to the port. Data counts words of four octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from qnib.domains.paths import segment
from qnib.model import Known, Metric, Snapshot

WORD = 4
"""Octets in one unit of a data counter."""

COUNTERS = {
    "PortXmitData": "xmit_data", "PortRcvData": "rcv_data", "PortXmitPkts": "xmit_packets",
    "PortRcvPkts": "rcv_packets", "PortXmitWait": "xmit_wait", "SymbolErrorCounter": "symbol_error",
    "LinkErrorRecoveryCounter": "link_error_recovery", "LinkDownedCounter": "link_downed",
    "PortRcvErrors": "rcv_errors", "PortXmitDiscards": "xmit_discards",
}
ERRORS = ("xmit_wait", "symbol_error", "link_error_recovery", "link_downed", "rcv_errors", "xmit_discards")
"""Counters that ibqueryerrors leaves out while they are 0."""

BITS = {
    "xmit_data": 64, "rcv_data": 64, "xmit_packets": 64, "rcv_packets": 64, "xmit_wait": 32, "symbol_error": 16,
    "link_error_recovery": 8, "link_downed": 8, "rcv_errors": 16, "xmit_discards": 16,
}
"""How many bits a counter has; one of 64 has 32 where the port has no extended counters."""


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much a counter grew. `full`: it stopped at its end, and it was at least that much."""

    amount: int
    full: bool = False
    reset: bool = False


def growth(name: str, before: int, after: int, bits: int = 0) -> Growth:
    """What lies between two readings of a counter; `bits` where it has not its usual size.

    A lower value than before: of a counter that wraps, if it was in the last quarter before and is in the first now,
    it went on from 0; else somebody reset it, and it counted `after` since, or more before.
    """
    bits = bits or BITS[name]
    end = (1 << bits) - 1
    if after >= before:
        return Growth(after - before, full=bits < 64 and after == end)
    if bits == 64 and before > end - (end >> 2) and after < end >> 2:
        return Growth(after + end + 1 - before)
    return Growth(after, full=bits < 64 and after == end, reset=True)


def total(name: str, values: Iterable[int], bits: int = 0) -> Growth:
    """What a counter counted over its readings in order of time."""
    amount, full, reset, before = 0, False, False, None
    for value in values:
        if before is not None:
            step = growth(name, before, value, bits)
            amount, full, reset = amount + step.amount, full or step.full, reset or step.reset
        before = value
    return Growth(amount, full, reset)


# ── what tools print ──────────────────────────────────────────────────────────────────────────

Counts = dict[tuple[str, int], dict[str, int]]
"""Raw values by (node, port) and our name of the counter."""

_HEAD = re.compile(r'^(?:Data Counters|Errors) for (?:(0x[0-9a-fA-F]+) )?"([^"]*)"')
"""An adapter's errors are told without its GUID."""
_LINE = re.compile(r"^\s+GUID 0x[0-9a-fA-F]+ port (\d+):")
_VALUE = re.compile(r"\[(\w+) == (\d+)")


def parse_counters(text: str) -> Counts:
    """Counters by (node name, port) from ibqueryerrors, with --counters or without; raw values.

    The line of port ALL is a sum and left out. Raises ValueError when it is no such answer at all.
    """
    found: Counts = {}
    names: dict[str, str] = {}
    node, known = "", False
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name, guid = head[2].strip(), head[1]
            node = name if guid is None or names.setdefault(name, guid) == guid else f"{name} {guid}"
            known = True
        elif port := _LINE.match(line):
            values = found.setdefault((node, int(port[1])), {})
            for counter, value in _VALUE.findall(line):
                if counter in COUNTERS:
                    values[COUNTERS[counter]] = int(value)
        elif line.startswith("## Summary"):
            known = True
    if not known:
        raise ValueError(f"not an answer of ibqueryerrors: {text[:200]!r}")
    return found


_TITLE = re.compile(r"^# Port(?: extended)? counters: Lid (\d+) port (\d+)")
_DETAILS = re.compile(r"^# \w+ counters: Lid \d+ port \d+")
_COUNT = re.compile(r"^(\w+):\.*\s*(0x[0-9a-fA-F]+|\d+)\s*$")


def parse_perfquery(text: str) -> Counts:
    """Counters by (LID as text, port) from perfquery: one port or all (``-a``), extended (``-x``) or not; also the
    plain ``name: value`` lists of drivers, whose port is told as PortSelect and whose node is "".

    A counter told twice is told in its short form first: the longer one counts. Raises ValueError with the line that
    is none of perfquery's, and for a text without any counter.
    """
    found: Counts = {}
    lid, values, other = "", dict[str, int](), False
    for line in text.splitlines():
        if title := _TITLE.match(line):
            lid, other = title[1], False
            values = found.setdefault((lid, int(title[2])), {})
        elif _DETAILS.match(line):
            other = True  # what a counter is made of, told under names of its own
        elif count := _COUNT.match(line):
            name, value = count[1], int(count[2], 0)
            if name == "PortSelect" and not other and (lid, value) not in found:
                values = found.setdefault((lid, value), {})
            elif name in COUNTERS and not other:
                values[COUNTERS[name]] = value
        elif line.strip() and not line.startswith(("ibwarn:", "#")):
            raise ValueError(f"not a line of perfquery: {line[:200]!r}")
    if not any(found.values()):
        raise ValueError(f"no counter: {text[:200]!r}")
    return found


# ── files of them ─────────────────────────────────────────────────────────────────────────────


def parse_ibqueryerrors_file(text: str, at: datetime) -> Snapshot:
    """Nothing that holds is told, only numbers. Raises ValueError as `parse_counters` does."""
    parse_counters(text)
    return Snapshot()


def parse_perfquery_file(text: str, at: datetime) -> Snapshot:
    """The same of perfquery."""
    parse_perfquery(text)
    return Snapshot()


def ibqueryerrors_numbers(text: str, known: Known) -> list[tuple[str, float]]:
    return _points(parse_counters(text))


def perfquery_numbers(text: str, known: Known) -> list[tuple[str, float]]:
    """perfquery tells LIDs: the record knows whose they are. Raises ValueError for one that nobody has."""
    ports = {
        (str(port.properties.get("lid")), int(str(port.properties.get("number") or 0))): str(port.properties["node"])
        for port in known.open("PORT") if port.properties.get("lid")
    }
    named: Counts = {}
    for (lid, number), values in parse_perfquery(text).items():
        if (lid, number) not in ports:
            raise ValueError(f"nobody is known to have port {number} at LID {lid or '(none)'}: load a topology first")
        named[ports[lid, number], number] = values
    return _points(named)


def _points(counts: Counts) -> list[tuple[str, float]]:
    return [
        (f"infiniband.{segment(node)}.{port}.{name}", float(value))
        for (node, port), values in counts.items() for name, value in values.items()
    ]


# ── declared ──────────────────────────────────────────────────────────────────────────────────

_RULE = (
    "{size} A lower value than before is a reset (sum on from 0), not a negative rate. "
    "The raw value is stored; rates are differences made when reading."
)


_ASKED = ("symbol_error", "link_error_recovery", "link_downed", "xmit_discards")
"""Those whose newest value the graph keeps on the port: what questions about bad ports ask."""


_PORT = "PORT:{node}/{port}"


def _counter(name: str, unit: str, description: str, on: str = "") -> Metric:
    path = f"infiniband.{{node}}.{{port}}.{name}"
    text = f"{description} {_RULE.format(size=_SIZE[BITS[name]])}"
    on = "PORT:{node}/{port}" if name in _ASKED else ""
    return Metric(f"ib.{name}", path, unit, text, "counter", "ibqueryerrors", on)


_SIZE = {
    64: "64 bits where the port has extended counters, else 32 bits that stop at 4294967295 when full.",
    32: "32 bits that stop at 4294967295 when full.",
    16: "16 bits that stop at 65535 when full.",
    8: "8 bits that stop at 255 when full.",
}

METRICS = (
    _counter("xmit_data", "words", "Data sent, in words of four octets: octets are four times this."),
    _counter("rcv_data", "words", "Data received, in words of four octets: octets are four times this."),
    _counter("xmit_packets", "packets", "Packets sent."),
    _counter("rcv_packets", "packets", "Packets received."),
    _counter("xmit_wait", "ticks", "Ticks in which data waited for credit of the other end: congestion.", _PORT),
    _counter("symbol_error", "errors", "Symbols received damaged: a bad cable or port.", _PORT),
    _counter("link_error_recovery", "recoveries", "Times the link retrained itself."),
    _counter("link_downed", "times", "Times the link went down.", _PORT),
    _counter("rcv_errors", "packets", "Packets received with an error.", _PORT),
    _counter("xmit_discards", "packets", "Packets dropped because the port was down or congested."),
)
