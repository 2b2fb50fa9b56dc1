"""Faults injected on purpose, each written down as ground truth: diagnosis is scored against it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from qnib import clusters
from qnib.clock import Clock, SystemClock
from qnib.errors import Conflict, NotFound
from qnib.settings import Settings
from qnib.terminal import fabric, record, topology
from qnib.terminal.engines import open_engine


@dataclass(slots=True)
class Fault:
    """One injected fault. `time` and `cleared` in ISO 8601, UTC; `ends` are the two ports of the cable."""

    id: int
    time: str
    kind: str
    target: str
    ends: list[str]
    cleared: str | None = None


def cable_out(settings: Settings, port: str, *, name: str | None = None, clock: Clock | None = None) -> Fault:
    """Unplug the cable at a port (``SW1/3`` or ``compute0/1``). Raises Conflict when it is out already."""
    with record.locked(settings, name or settings.cluster):
        cluster = clusters.load(settings.clusters, name or settings.cluster)
        plan = record.plan_of(cluster)
        link = topology.find_link(port, plan, cluster.details["nodes"])
        known = every(settings, name=cluster.name)
        ends = list(link.ends)
        if any(fault.ends == ends and not fault.cleared for fault in known):
            raise Conflict(
                f"The cable between {ends[0]} and {ends[1]} is out already.", where=cluster.name,
                try_next="`qnib fault list` shows what is injected, `qnib fault clear` puts it back.",
            )
        _send(settings, cluster.name, topology.unplug([link]))
        number = max((fault.id for fault in known), default=0) + 1
        fault = Fault(number, (clock or SystemClock()).now().isoformat(), "cable-out", port, ends)
        _write(settings, cluster.name, [*known, fault])
        return fault


def clear(
    settings: Settings, number: int | None = None, *, name: str | None = None, clock: Clock | None = None,
) -> list[Fault]:
    """Undo one fault, or all that are open; those undone. Raises NotFound for a number that is not open."""
    with record.locked(settings, name or settings.cluster):
        cluster = clusters.load(settings.clusters, name or settings.cluster)
        known = every(settings, name=cluster.name)
        # A fault of an earlier cluster of that name ended with it.
        undo = [f for f in known if not f.cleared and f.time >= cluster.created and number in (None, f.id)]
        if number is not None and not undo:
            raise NotFound(
                f"There is no open fault {number}.", where=cluster.name, try_next="`qnib fault list` shows them.",
            )
        plan = record.plan_of(cluster)
        wired = topology.links(plan, cluster.details["nodes"])
        back = [link for link in wired for fault in undo if list(link.ends) == fault.ends]
        _send(settings, cluster.name, topology.plug(back))
        now = (clock or SystemClock()).now().isoformat()
        for fault in undo:
            fault.cleared = now
        _write(settings, cluster.name, known)
        return undo


def every(settings: Settings, *, name: str | None = None) -> list[Fault]:
    """All faults ever injected into clusters of that name, oldest first."""
    file = _file(settings, name or settings.cluster)
    if not file.is_file():
        return []
    return [Fault(**json.loads(line)) for line in file.read_text().splitlines() if line.strip()]


def end_all(settings: Settings, name: str, at: str) -> None:
    """The cluster goes away and its faults with it."""
    known = every(settings, name=name)
    if any(not fault.cleared for fault in known):
        for fault in known:
            fault.cleared = fault.cleared or at
        _write(settings, name, known)


def _file(settings: Settings, name: str) -> Path:
    return record.folder(settings, name) / "faults.jsonl"


def _write(settings: Settings, name: str, known: list[Fault]) -> None:
    file = _file(settings, name)
    part = file.with_suffix(".part")
    part.write_text("".join(json.dumps(asdict(fault)) + "\n" for fault in known))
    part.replace(file)


def _send(settings: Settings, name: str, commands: list[str]) -> None:
    cluster = clusters.load(settings.clusters, name)
    engine = open_engine(settings, cluster.engine)  # type: ignore[arg-type]
    try:
        fabric.command(engine, record.plan_of(cluster), commands)
    finally:
        engine.close()
