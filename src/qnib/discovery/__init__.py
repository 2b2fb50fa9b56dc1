"""From a capture's raw text to facts, graph and events: the way every snapshot of a source takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from qnib.clock import Clock
from qnib.domains import all_domains
from qnib.engine import Engine
from qnib.inventory.facts import Changes, Facts, canonical
from qnib.inventory.graph import Graph
from qnib.model import Capture, Event
from qnib.monitoring import events
from qnib.monitoring.spool import Record

TOPICS = {
    "jobs": {"Job", "Attempt", "JOBCLIENT"},
    "nodes": {"Node", "Partition", "Host", "PART_OF", "ALIAS_OF"},
    "fabric": {"SW", "HCA", "PORT", "CONNECTION", "LINK", "CABLE"},
}
"""What pages show, by the kinds whose change concerns them."""


class Publish(Protocol):
    def __call__(
        self, topic: str, cluster: str, newest: datetime | None, events: Sequence[Mapping[str, Any]] = ()
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Who captured what, and when, from the first line of a capture's record."""

    capture: Capture
    told_by: str
    at: datetime


def apply_capture(
    engine: Engine, facts: Facts, graph: Graph, clock: Clock, record: Record, publish: Publish | None = None
) -> Changes:
    """Take in one capture. Raises ValueError for text that is not what it says it is; then nothing is changed.

    The body is one line of JSON (domain, capture, host, at) followed by the raw text.
    """
    head, _, text = record.body.partition(b"\n")
    source = read_head(head, record)
    cluster = record.cluster
    known = facts.known(cluster)
    snapshot = source.capture.parse(text.decode("utf-8", "replace"), source.at)
    snapshot = canonical(facts, cluster, snapshot)
    if source.capture.settle is not None:
        snapshot = source.capture.settle(snapshot, known, source.at)
    told: list[Event] = []

    def tell(changes: Changes) -> None:
        if source.capture.events is not None and not changes.first:
            told.extend(source.capture.events(changes.told(), known, source.at))
        rows = [_row(event) for event in told]
        events.record(engine, cluster, rows, token=f"{source.told_by}:{source.at.isoformat()}")

    changes = facts.apply(cluster, source.told_by, source.at, snapshot, tell)
    graph.update(changes)
    if publish is not None:
        kinds = changes.kinds()
        for topic, concerned in TOPICS.items():
            if kinds & concerned:
                publish(topic, cluster, source.at)
        if told:
            publish("events", cluster, source.at)
    return changes


def read_head(head: bytes, record: Record) -> Source:
    """Raises ValueError when the line is not complete or names a capture nobody declares."""
    try:
        told = json.loads(head)
        domain, name, host = (str(told[key]) for key in ("domain", "capture", "host"))
        at = datetime.fromisoformat(str(told["at"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"a capture without its first line: {head[:200]!r}") from error
    capture = next((c for d in all_domains() if d.name == domain for c in d.captures if c.name == name), None)
    if capture is None:
        raise ValueError(f"no domain declares a capture {domain}/{name}")
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    # A sender's clock that is ahead would make all that follows from it look old.
    return Source(capture, f"{domain}.{name}@{host}", min(at, record.received))


def _row(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {
        "time": event.time, "kind": event.kind, "message": event.message, "host": event.host,
        "severity": event.severity, "entities": [str(ref) for ref in event.entities], "fields": dict(event.fields),
    }
    return {**row, "hint": event.hint} if event.hint else row
