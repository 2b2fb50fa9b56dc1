"""Links that came and went, told with port, cable and host: OpenSM's own lines name neither."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qnib.model import Change, Entity, Event, Known, Ref, Relation


def events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``link.down`` and ``link.up`` for every connection that ended or began."""
    hosts = {tie.source.key: tie.target.key for tie in known.ties("BELONGS_TO")}
    cables = {tie.source.key: tie.target.key for tie in known.ties("USES")}
    for change in changes:
        if isinstance(change.after, Relation) and change.after.kind == "BELONGS_TO":
            hosts[change.after.source.key] = change.after.target.key
        elif isinstance(change.after, Relation) and change.after.kind == "USES":
            cables[change.after.source.key] = change.after.target.key
    return [
        _event(change, change.after, hosts, cables.get(change.after.key, ""), at) for change in changes
        if isinstance(change.after, Entity) and change.after.kind == "CONNECTION" and change.what != "changed"
    ]


def _event(change: Change, connection: Entity, hosts: dict[str, str], cable: str, at: datetime) -> Event:
    ends = [str(connection.properties.get(name) or "") for name in ("a", "b")]
    devices = [end.rpartition("/")[0] for end in ends]
    found = sorted({hosts[device] for device in devices if device in hosts})
    entities = [Ref("PORT", end) for end in ends] + [connection.ref]
    entities += [Ref("HCA" if device in hosts else "SW", device) for device in devices]
    entities += [Ref("Host", host) for host in found] + ([Ref("CABLE", cable)] if cable else [])
    down = change.what == "ended"
    return Event(
        time=at, kind="link.down" if down else "link.up",
        message=f"{ends[0]} and {ends[1]} {'lost their connection' if down else 'are connected'}",
        host=found[0] if len(found) == 1 else "", severity="err" if down else "notice", entities=entities,
        fields={"a": ends[0], "b": ends[1], "cable": cable},
        hint="A cable was pulled, or a port or its host went down: reseat or replace the cable." if down else "",
    )
