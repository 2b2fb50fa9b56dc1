"""From a capture's raw text to facts, graph and events: the way every snapshot of a source takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from qnib.clock import Clock
from qnib.discovery.outcomes import MOST, Outcome, waiting
from qnib.domains import all_domains
from qnib.engine import Engine
from qnib.inventory import forwarding
from qnib.inventory.bulk import bulk
from qnib.inventory.earlier import known_at
from qnib.inventory.facts import Changes, Facts, canonical
from qnib.inventory.graph import Graph
from qnib.model import HERE, Capture, Change, Entity, Event, Ref, Relation, Snapshot
from qnib.monitoring import events
from qnib.monitoring.spool import Record

TOPICS = {
    "jobs": {"Job", "Attempt", "JOBCLIENT"},
    "nodes": {
        "Node", "Partition", "Host", "PART_OF", "ALIAS_OF", "HAS_SOFTWARE", "LOADED_ON", "Interface", "PLUGGED_INTO",
        "Container", "RUNS_IN",
    },
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
    host: str
    at: datetime
    id: str = ""
    """By which somebody waits for the outcome; empty: nobody does."""


def apply_capture(
    engine: Engine, facts: Facts, graph: Graph, clock: Clock, record: Record, publish: Publish | None = None
) -> Changes:
    """Take in one capture. Raises ValueError for text that is not what it says it is; then nothing is changed.

    The body is one line of JSON (domain, capture, host, at) followed by the raw text.
    """
    head, _, text = record.body.partition(b"\n")
    source = read_head(head, record)
    try:
        return _apply(engine, facts, graph, record.cluster, source, text.decode("utf-8", "replace"), publish)
    except Exception as error:
        waiting.tell(source.id, Outcome(refused=str(error) or type(error).__name__))
        raise


@bulk()
def _apply(
    engine: Engine, facts: Facts, graph: Graph, cluster: str, source: Source, text: str, publish: Publish | None
) -> Changes:
    known = known_at(facts, engine, cluster, source.at)
    snapshot = source.capture.parse(text, source.at)
    if source.capture.of_host:
        snapshot = placed(snapshot, facts.resolve(cluster, source.host) or source.host)
    snapshot = replace(canonical(facts, cluster, snapshot), tables=snapshot.tables)
    if source.capture.settle is not None:
        snapshot = source.capture.settle(snapshot, known, source.at)
    told: list[Event] = []

    def tell(changes: Changes) -> None:
        if source.capture.events is not None and (not changes.first or source.capture.first_is_news):
            told.extend(source.capture.events(changes.told(), known, source.at))
        rows = [_row(event) for event in told]
        events.record(engine, cluster, rows, token=f"{source.told_by}:{source.at.isoformat()}")

    changes = facts.apply(cluster, source.told_by, source.at, snapshot, tell)
    tables: list[str] = []
    if snapshot.tables and not changes.late:
        tables = forwarding.store(engine, cluster, source.told_by, source.at, facts.now(), snapshot.tables)
    graph.update(changes)
    if publish is not None:
        kinds = changes.kinds()
        for topic, concerned in TOPICS.items():
            if kinds & concerned:
                publish(topic, cluster, source.at)
        if tables and not kinds & TOPICS["fabric"]:
            publish("fabric", cluster, source.at)
        if told:
            publish("events", cluster, source.at)
    if source.id:
        waiting.tell(source.id, _outcome(snapshot, changes, tables, len(told)))
    return changes


def _outcome(snapshot: Snapshot, changes: Changes, tables: Sequence[str], events: int) -> Outcome:
    told = [] if changes.late else changes.told()
    count = Counter(change.what for change in told)
    listed = [_listed(change) for change in told[:MOST]]
    listed += [{"what": "changed", "kind": "table", "key": switch} for switch in tables[: MOST - len(listed)]]
    return Outcome(
        entities=len(snapshot.entities), relations=len(snapshot.relations), tables=len(snapshot.tables),
        began=count["began"], changed=count["changed"], ended=count["ended"], tables_changed=len(tables),
        events=events, first=changes.first, late=changes.late, changes=listed,
    )


def _listed(change: Change) -> dict[str, str]:
    thing = change.after
    key = f"{thing.source.key} → {thing.target.key}" if isinstance(thing, Relation) else thing.key
    return {"what": change.what, "kind": thing.kind, "key": key}


def placed(snapshot: Snapshot, host: str) -> Snapshot:
    """`snapshot` with the name of the machine it was taken on wherever it says `HERE`."""

    def key(old: str) -> str:
        return host + old.removeprefix(HERE) if old.startswith(HERE) else old

    def entity(old: Entity) -> Entity:
        if not old.key.startswith(HERE) and HERE not in old.properties.values():
            return old
        properties = {name: host if told == HERE else told for name, told in old.properties.items()}
        return replace(old, key=key(old.key), properties=properties)

    def relation(old: Relation) -> Relation:
        source, target = old.source, old.target
        if not source.key.startswith(HERE) and not target.key.startswith(HERE):
            return old
        return replace(old, source=Ref(source.kind, key(source.key)), target=Ref(target.kind, key(target.key)))

    entities, relations = map(entity, snapshot.entities), map(relation, snapshot.relations)
    return replace(snapshot, entities=list(entities), relations=list(relations))


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
    at = min(at, record.received)
    return Source(capture, f"{domain}.{capture.source or name}@{host}", host, at, str(told.get("id", "")))


def _row(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {
        "time": event.time, "kind": event.kind, "message": event.message, "host": event.host,
        "severity": event.severity, "entities": [str(ref) for ref in event.entities], "fields": dict(event.fields),
    }
    return {**row, "hint": event.hint} if event.hint else row
