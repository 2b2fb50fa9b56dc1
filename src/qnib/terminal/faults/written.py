"""The ground truth: every fault ever injected into clusters of a name, one line each, kept when the cluster is gone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from qnib import clusters
from qnib.settings import Settings


@dataclass(slots=True)
class Fault:
    """One injected fault. `time` and `cleared` in ISO 8601, UTC; `ends` are the ports of its cable when it began."""

    id: int
    time: str
    kind: str
    target: str
    ends: list[str]
    cleared: str | None = None
    value: str = ""
    """How much: what `qnib fault KIND TARGET VALUE` was given, or the kind's default."""
    cable: str = ""
    """The name of the cable it is about (its two ports in the plan)."""
    lasts: float | None = None
    """Seconds after which it is cleared by itself."""
    coming: int | None = None
    """Which of the blueprint's faults to come it was."""


def every(settings: Settings, name: str) -> list[Fault]:
    """All faults of clusters of that name, oldest first."""
    file = _file(settings, name)
    if not file.is_file():
        return []
    return [Fault(**json.loads(line)) for line in file.read_text().splitlines() if line.strip()]


def open_ones(settings: Settings, name: str, since: str) -> list[Fault]:
    """Those of the present cluster, created at `since`, that are not cleared."""
    return [fault for fault in every(settings, name) if not fault.cleared and fault.time >= since]


def write(settings: Settings, name: str, known: Iterable[Fault]) -> None:
    file = _file(settings, name)
    part = file.with_suffix(".part")
    part.write_text("".join(json.dumps(asdict(fault)) + "\n" for fault in known))
    part.replace(file)


def end_all(settings: Settings, name: str, at: str) -> None:
    """The cluster goes away and its faults with it."""
    known = every(settings, name)
    if any(not fault.cleared for fault in known):
        for fault in known:
            fault.cleared = fault.cleared or at
        write(settings, name, known)


def _file(settings: Settings, name: str) -> Path:
    return settings.clusters / clusters.check_name(name) / "faults.jsonl"
