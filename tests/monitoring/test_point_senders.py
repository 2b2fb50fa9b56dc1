"""Who sends points: counted once however often a file is taken, by the five minutes in which they came."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from qnib.clock import micros
from qnib.monitoring.frames import Origin, block
from qnib.monitoring.senders import points
from qnib.monitoring.writer import Writer

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


def told(plant: Plant, minutes: float = 60) -> dict[tuple[str, str], int]:
    found = points(plant.engine, "demo", NOW - timedelta(minutes=minutes), NOW + timedelta(seconds=1))
    return {(row["sender"], row["listener"]): row["points"] for row in found}


def came(plant: Plant, text: str, sender: str = "10.0.0.1", listener: str = "carbon/tcp", at: float = 0) -> Writer:
    """A spool file of one sender's lines, taken in."""
    spool = plant.spool()
    writer = plant.writer(spool)
    prefix = Origin("demo", sender, listener).prefix()
    file = spool.ready_folder / f"{1:020d}-{uuid4().hex[:8]}.carbon"  # of another name, it is another file
    file.write_bytes(block(micros(NOW + timedelta(seconds=at)), prefix, text.encode()))
    writer.drain()
    return writer


def test_points_are_counted_by_sender_and_edge(plant: Plant) -> None:
    for n in range(3):
        came(plant, f"a.b {n} {T - n}\na.c {n} {T - n}\nnonsense\n")
    came(plant, f"a.b 1 {T}\n", "10.0.0.9", "carbon/udp", at=-90)
    came(plant, "no point at all\n", "10.0.0.8")
    came(plant, f"a.old 1 {T}\n", "UTC", "load/carbon")
    assert told(plant) == {("10.0.0.1", "carbon/tcp"): 6, ("10.0.0.9", "carbon/udp"): 1}
    first, second = points(plant.engine, "demo", NOW - timedelta(hours=1), NOW + timedelta(seconds=1))
    assert (first["last"], second["last"]) == (NOW.isoformat(), (NOW - timedelta(seconds=90)).isoformat())
    assert points(plant.engine, "other", NOW - timedelta(hours=1), NOW + timedelta(seconds=1)) == []


def test_a_file_that_is_taken_again_counts_once(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []
    insert = plant.engine.insert

    def breaks_once(table: str, rows: Any, **more: Any) -> int:
        count = insert(table, rows, **more)
        if table == "qnib.point_senders" and not failed:
            failed.append(table)
            raise RuntimeError("as if the machine went down")
        return count

    monkeypatch.setattr(plant.engine, "insert", breaks_once)
    monkeypatch.setattr("qnib.monitoring.writer._RETRY_SECONDS", 0)
    writer = came(plant, f"a.b 1 {T}\na.c 1 {T}\n")
    assert (failed, writer.counts["points"], writer.trouble) == (["qnib.point_senders"], 2, "")
    assert told(plant) == {("10.0.0.1", "carbon/tcp"): 2}


def test_a_window_begins_with_its_five_minutes(plant: Plant) -> None:
    came(plant, f"a.b 1 {T}\n")
    assert NOW.minute % 5 == 0
    for minutes, count in ((0, 1), (0.01, 1), (-4, 1), (-5, 0)):
        found = points(plant.engine, "demo", NOW - timedelta(minutes=minutes), NOW + timedelta(hours=1))
        assert sum(row["points"] for row in found) == count, minutes
