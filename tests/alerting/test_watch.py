"""Findings as events: once when they begin, once when they are over, and not again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qnib import clusters
from qnib.alerting import Watch
from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Facts
from qnib.model import Entity, Snapshot
from qnib.monitoring import events
from qnib.settings import Settings, load

pytestmark = pytest.mark.engine

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Sources:
    settings: Settings
    clock: FrozenClock
    engine: Engine
    facts: Facts


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    settings, clock = load(home=tmp_path), FrozenClock(NOON)
    engine = open_engine(settings, clock)
    yield Sources(settings, clock, engine, Facts(engine, clock))
    engine.close()


def finding(about: str, name: str = "symbol_errors", severity: str = "warn") -> dict[str, Any]:
    return {"name": name, "severity": severity, "sentence": f"{about} is bad.", "advice": "Look.", "evidence": [],
            "about": about}  # fmt: skip


def told(sources: Sources) -> list[tuple[str, str, str]]:
    found = events.search(sources.engine, "demo", NOON - timedelta(hours=1), NOON + timedelta(hours=1))["events"]
    return sorted((row["time"][11:19], row["kind"], row["fields"]["about"]) for row in found)


def test_a_finding_is_told_when_it_begins_and_when_it_is_over(sources: Sources) -> None:
    now: list[dict[str, Any]] = [finding("PORT:SW1/3")]
    heard: list[str] = []
    watch = Watch(sources, lambda topic, cluster, newest, events=(): heard.append(topic), lambda *_: now)
    for _ in range(3):
        watch.look("demo")
        sources.clock.advance(5)
    assert told(sources) == [("12:00:00", "finding.symbol_errors", "PORT:SW1/3")]
    now.clear()
    watch.look("demo")
    assert len(told(sources)) == 1, "missed once is not over"
    now.append(finding("PORT:SW1/3"))
    watch.look("demo")
    now[:] = [finding("Node:compute1", "node_unusable", "critical")]
    for _ in range(2):
        sources.clock.advance(5)
        watch.look("demo")
    assert told(sources) == [
        ("12:00:00", "finding.symbol_errors", "PORT:SW1/3"), ("12:00:20", "finding.node_unusable", "Node:compute1"),
        ("12:00:25", "finding.over", "PORT:SW1/3"),
    ]  # fmt: skip
    assert heard == ["events"] * 3
    hour = (NOON, NOON + timedelta(hours=1))
    rows = events.search(sources.engine, "demo", *hour, kind="finding.node_unusable")["events"]
    assert rows[0]["severity"] == "err" and rows[0]["host"] == "compute1" and rows[0]["hint"] == "Look."
    assert rows[0]["entities"] == ["Node:compute1", "Host:compute1"]


def test_a_server_that_starts_again_tells_nothing_twice(sources: Sources) -> None:
    now = [finding("PORT:SW1/3"), finding("Host:compute0", "silent", "unknown")]
    Watch(sources, None, lambda *_: now).look("demo")
    sources.clock.advance(60)
    again = Watch(sources, None, lambda *_: now[:1])
    for _ in range(3):
        again.look("demo")
    assert [(kind, about) for _, kind, about in told(sources)] == [
        ("finding.silent", "Host:compute0"), ("finding.symbol_errors", "PORT:SW1/3"), ("finding.over", "Host:compute0"),
    ]  # fmt: skip


def test_clusters_do_not_mix(sources: Sources) -> None:
    watch = Watch(sources, None, lambda _, cluster: [finding("PORT:SW1/3")] if cluster == "north" else [])
    watch.look("north")
    watch.look("demo")
    assert told(sources) == []


def test_no_host_is_silent_before_it_could_be_heard(sources: Sources) -> None:
    """A cluster of the same name that starts again, and a server that starts again, find only old numbers."""
    node = Entity("Node", "compute0", {"state": "IDLE", "cpus": 1, "memory": 1 << 30})
    sources.facts.apply("demo", "slurm", NOON, Snapshot([node]))
    sources.engine.insert("qnib.heard", [{"cluster": "demo", "host": "compute0", "last": NOON}])
    sources.clock.advance(600)
    watch = Watch(sources)  # the server starts
    watch.look("demo")
    sources.clock.advance(30)
    watch.look("demo")
    began = sources.clock.now()
    clusters.save(sources.settings.clusters, clusters.Cluster("demo", created=began.isoformat()))
    for _ in range(5):
        sources.clock.advance(11)
        watch.look("demo")
    assert told(sources) == []
    sources.clock.advance(11)
    watch.look("demo")
    assert [(kind, about) for _, kind, about in told(sources)] == [("finding.silent", "Host:compute0")]
