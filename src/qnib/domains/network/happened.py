"""Interfaces that went up or down, changed their speed or MTU, or were plugged in elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from qnib.model import Change, Entity, Event, Known, Ref, Relation

_UNIT = {"speed": " Mb/s", "mtu": ""}


def events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``interface.down``, ``.up``, ``.speed``, ``.mtu`` and ``.moved``."""
    found: list[Event] = []
    left: dict[Ref, str] = {}
    for change in changes:
        thing = change.after
        if isinstance(thing, Entity) and thing.kind == "Interface" and change.before is not None:
            found += _changed(change.before.properties, thing, at)
        elif isinstance(thing, Relation) and thing.kind == "PLUGGED_INTO" and change.what == "ended":
            left[thing.source] = thing.target.key
    for change in changes:
        thing = change.after
        if isinstance(thing, Relation) and thing.kind == "PLUGGED_INTO" and change.what == "began":
            before = left.get(thing.source)
            if before is not None:
                found.append(_event(
                    thing.source, at, "moved", f"is plugged into {thing.target.key}, no longer into {before}",
                    "Somebody moved the cable: is it where it should be?", "notice",
                ))
    return found


def _changed(before: object, thing: Entity, at: datetime) -> Iterator[Event]:
    was = dict(before) if isinstance(before, dict) else {}
    state = thing.properties.get("state")
    if was.get("state") != state and state in {"up", "down"} and was.get("state"):
        hint = "A cable, a switch port or a restart of the switch." if state == "down" else ""
        yield _event(thing.ref, at, str(state), f"is {state}", hint, "err" if state == "down" else "notice")
    for name, unit in _UNIT.items():
        old, new = was.get(name), thing.properties.get(name)
        if old and new and old != new:
            hint = "A damaged cable makes two ends agree on less." if name == "speed" else ""
            yield _event(thing.ref, at, name, f"has {name} {new}{unit}, before {old}{unit}", hint, "warning")


def _event(interface: Ref, at: datetime, what: str, sentence: str, hint: str, severity: str) -> Event:
    host, _, name = interface.key.partition("/")
    return Event(
        time=at, kind=f"interface.{what}", host=host, message=f"{name} of {host} {sentence}", severity=severity,
        entities=[Ref("Host", host), interface], fields={"interface": name}, hint=hint,
    )
