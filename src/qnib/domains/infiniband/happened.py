"""Links that came and went, told with port, cable and host: OpenSM's own lines name neither."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qnib.domains.infiniband.rates import rate
from qnib.model import Change, Entity, Event, Known, Ref, Relation


def events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``link.down`` and ``link.up`` for every connection that ended or began; ``link.slower`` and ``link.faster`` where
    one came up otherwise than before."""
    hosts = {tie.source.key: tie.target.key for tie in known.ties("BELONGS_TO")}
    cables = {tie.source.key: tie.target.key for tie in known.ties("USES")}
    for change in changes:
        if isinstance(change.after, Relation) and change.after.kind == "BELONGS_TO":
            hosts[change.after.source.key] = change.after.target.key
        elif isinstance(change.after, Relation) and change.after.kind == "USES":
            cables[change.after.source.key] = change.after.target.key
    told = (
        _event(change, change.after, hosts, cables.get(change.after.key, ""), at) for change in changes
        if isinstance(change.after, Entity) and change.after.kind == "CONNECTION"
    )
    return [event for event in told if event is not None]


def _event(change: Change, connection: Entity, hosts: dict[str, str], cable: str, at: datetime) -> Event | None:
    ends = [str(connection.properties.get(name) or "") for name in ("a", "b")]
    devices = [end.rpartition("/")[0] for end in ends]
    found = sorted({hosts[device] for device in devices if device in hosts})
    entities = [Ref("PORT", end) for end in ends] + [connection.ref]
    entities += [Ref("HCA" if device in hosts else "SW", device) for device in devices]
    entities += [Ref("Host", host) for host in found] + ([Ref("CABLE", cable)] if cable else [])
    kind, told, severity, hint = _what(change, connection)
    if not kind:
        return None
    return Event(
        time=at, kind=kind, message=f"{ends[0]} and {ends[1]} {told}", host=found[0] if len(found) == 1 else "",
        severity=severity, entities=entities, fields={"a": ends[0], "b": ends[1], "cable": cable}, hint=hint,
    )


def _what(change: Change, connection: Entity) -> tuple[str, str, str, str]:
    """Kind, what is said of the two ends, severity and hint; no kind for what is no news."""
    if change.what == "ended":
        hint = "A cable was pulled, or a port or its host went down: reseat or replace the cable."
        return "link.down", "lost their connection", "err", hint
    if change.what == "began":
        return "link.up", "are connected", "notice", ""
    before = _pace(change.before) if isinstance(change.before, Entity) else 0.0
    now = _pace(connection)
    if not before or not now or before == now:
        return "", "", "", ""
    told = f"run at {connection.properties.get('width')} {connection.properties.get('speed')} now"
    if now > before:
        return "link.faster", told, "notice", ""
    return "link.slower", told, "warning", "Lanes were lost: reseat the cable; if it stays so, replace it."


def _pace(connection: Entity) -> float:
    return rate(str(connection.properties.get("width") or ""), str(connection.properties.get("speed") or ""))
