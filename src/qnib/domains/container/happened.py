"""Containers that came and went, and limits that changed, told in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qnib.model import Change, Entity, Event, Known

_LIMITS = {"memory": "memory", "cpus": "CPUs", "processes": "processes", "image": "image"}


def events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``container.start``, ``.stop`` and ``.changed``."""
    found: list[Event] = []
    for change in changes:
        thing = change.after
        if not isinstance(thing, Entity) or thing.kind != "Container":
            continue
        name = thing.properties.get("name") or thing.key
        before = dict(change.before.properties) if change.before else {}
        state = "gone" if change.what == "ended" else str(thing.properties.get("state") or "")
        was = str(before.get("state") or "")
        if state == "running" and was != "running" and change.what != "ended":
            sentence = f"container {name} runs, from image {thing.properties.get('image') or 'unknown'}"
            found.append(_event(thing, at, "start", sentence))
        elif state != "running" and (was == "running" or change.what == "ended"):
            found.append(_event(thing, at, "stop", f"container {name} {'is gone' if state == 'gone' else state}"))
        if change.what == "changed":
            told = [
                f"{word} {before.get(key)} → {thing.properties.get(key)}" for key, word in _LIMITS.items()
                if before.get(key) and before.get(key) != thing.properties.get(key)
            ]
            if told:
                found.append(_event(thing, at, "changed", f"container {name} changed: {', '.join(told)}"))
    return found


def _event(thing: Entity, at: datetime, what: str, sentence: str) -> Event:
    host = str(thing.properties.get("hostname") or "")
    return Event(
        time=at, kind=f"container.{what}", message=sentence, entities=[thing.ref], host=host,
        fields={"container": str(thing.properties.get("name") or thing.key)},
    )
