"""How well QNIB told what was made to fail: injected faults against the events and findings of the same time. Pure.

A fault is *found* when something that its kind should cause is told while it is open (or shortly after), *rightly* when
the first of these names the thing that failed. Whatever is told that no fault explains is a *false alarm*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from qnib.terminal.faults.written import Fault

CAUSES: dict[str, tuple[str, ...]] = {
    "cable-out": ("link.down",),
    "cable-move": ("link.down",),
    "cable-bad": ("finding.symbol_errors", "finding.port_or_cable"),
    "port-bad": ("finding.symbol_errors", "finding.port_or_cable"),
    "link-width": ("link.slower",),
    "node-down": ("link.down", "node.silent", "node.down", "finding.silent", "finding.node_unusable"),
    "disk-full": ("finding.disk_full",),
    "memory-leak": ("finding.memory_nearly_full",),
    "clock-skew": ("node.auth",),
    "daemon-stop": ("node.silent", "node.down", "finding.node_unusable", "finding.silent"),
}
"""What each kind of fault should make QNIB say. A kind that is not here cannot be recognised yet."""

ALSO: dict[str, tuple[str, ...]] = {
    "clock-skew": ("node.silent", "node.down", "finding.node_unusable"),
    "memory-leak": ("node.silent", "finding.silent"),
    "link-rate": ("node.silent", "node.down", "finding.node_unusable", "finding.silent"),
    "node-slow": ("node.silent", "finding.silent"),
}
"""What a kind may cause as well, later or on a busy machine: no sign of it, and no false alarm either."""

BESIDE: tuple[str, ...] = ("finding.link_down", "kernel.oom")
"""What may be said as well, and is an alarm where nothing explains it."""

ALARMS = sorted({kind for kinds in CAUSES.values() for kind in kinds} | set(BESIDE))

GRACE = timedelta(seconds=150)
"""So long after its end a fault still explains what is said: SLURM asks a node now and then, and gives it a minute."""
HOUR = timedelta(hours=1)
"""Errors are told for an hour, and told again when a port that had some comes back within it."""


@dataclass(slots=True)
class Line:
    """One kind of fault. `seconds`: from injection to the first word, of those found."""

    kind: str
    injected: int = 0
    found: int = 0
    rightly: int = 0
    seconds: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        known = self.kind in CAUSES
        return {
            "kind": self.kind, "injected": self.injected, "found": self.found if known else None,
            "right entity": self.rightly if known else None,
            "median s": round(median(self.seconds), 1) if self.seconds else None,
            "slowest s": round(max(self.seconds), 1) if self.seconds else None,
        }


@dataclass(slots=True)
class Score:
    lines: list[Line]
    missed: list[Fault]
    false_alarms: list[Mapping[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        return [line.told() for line in self.lines]


def score(faults: Iterable[Fault], told: Sequence[Mapping[str, Any]]) -> Score:
    """`told` are events with `time` (ISO 8601), `kind`, `entities` (``PORT:SW1/3``), `fields` and `host`."""
    events = sorted(
        ((datetime.fromisoformat(event["time"]), event) for event in told if event["kind"] in ALARMS),
        key=lambda pair: pair[0],
    )
    faults = list(faults)
    lines: dict[str, Line] = {}
    missed: list[Fault] = []
    for fault in faults:
        line = lines.setdefault(fault.kind, Line(fault.kind))
        line.injected += 1
        if fault.kind not in CAUSES:
            continue
        began, ended = _span(fault)
        about = [
            (time, event) for time, event in events
            if began <= time <= ended and event["kind"] in CAUSES[fault.kind] and _touches(fault, event)
        ]
        if not about:
            missed.append(fault)
            continue
        time, first = about[0]
        line.found += 1
        line.rightly += bool(_targets(fault) & _named(first))
        line.seconds.append((time - began).total_seconds())
    alarms = [event for time, event in events if not any(_explains(fault, time, event) for fault in faults)]
    return Score([lines[kind] for kind in sorted(lines)], missed, alarms)


def _span(fault: Fault) -> tuple[datetime, datetime]:
    began = datetime.fromisoformat(fault.time)
    never = datetime.max.replace(tzinfo=began.tzinfo)
    return began, datetime.fromisoformat(fault.cleared) + GRACE if fault.cleared else never


def _explains(fault: Fault, time: datetime, event: Mapping[str, Any]) -> bool:
    began, ended = _span(fault)
    if fault.kind in ("cable-bad", "port-bad") and fault.cleared:
        ended += HOUR
    caused = (*CAUSES.get(fault.kind, ()), *ALSO.get(fault.kind, ()), *BESIDE)
    return began <= time <= ended and event["kind"] in caused and _touches(fault, event)


def _targets(fault: Fault) -> set[str]:
    """The thing that fails, under each name it may be called by."""
    if "/" not in fault.target:
        ports = {f"PORT:{end}" for end in fault.cable.split("--") if end.startswith(f"{fault.target}/")}
        return {f"Host:{fault.target}", f"Node:{fault.target}", f"HCA:{fault.target}", *ports}
    if fault.kind == "port-bad":
        return {f"PORT:{fault.target}"}
    return {f"PORT:{end}" for end in (*fault.ends, *([fault.value] if "/" in fault.value else []))}


def _around(fault: Fault) -> set[str]:
    """… and what feels it: the ends of its cable wherever it is, and the machine at its end."""
    ends = {*fault.ends, *fault.cable.split("--"), *([fault.value] if "/" in fault.value else [])} - {""}
    hosts = {end.partition("/")[0] for end in ends} | {fault.target.partition("/")[0]}
    hosts = {host for host in hosts if host.startswith("compute")}
    return _targets(fault) | {f"PORT:{end}" for end in ends} | {
        f"{kind}:{host}" for host in hosts for kind in ("Host", "Node", "HCA")
    }


def _touches(fault: Fault, event: Mapping[str, Any]) -> bool:
    return bool(_around(fault) & _named(event))


def _named(event: Mapping[str, Any]) -> set[str]:
    """What an event names: its entities, node sets unfolded, and a cable by where it was first seen."""
    from ClusterShell.NodeSet import NodeSet

    found = {f"Host:{event['host']}"} if event.get("host") else set()
    for ref in event["entities"]:
        kind, _, key = str(ref).partition(":")
        if kind == "Node" and "[" in key:
            found |= {f"Node:{name}" for name in NodeSet(key)}
        elif kind == "CABLE":
            found |= {f"PORT:{end}" for end in key.removeprefix("cable ").rpartition("@")[0].split("--")}
        else:
            found.add(str(ref))
    return found
