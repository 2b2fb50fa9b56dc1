"""A machine whose packages or modules changed, and in what: the line that is missing in the log before a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from qnib.domains.software.packages import named
from qnib.domains.software.sets import members
from qnib.model import Change, Entity, Event, Known, Ref, Relation, Scalar

SHOWN = 6
"""Changes spelt out in a sentence; all are counted."""


def events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``software.changed`` for every host that has another set than before."""
    before: dict[tuple[str, str], str] = {}
    after: dict[tuple[str, str], str] = {}
    for change in changes:
        tie = change.after
        if isinstance(tie, Relation) and tie.kind == "HAS_SOFTWARE":
            side = after if change.what == "began" else before
            side[tie.source.key, str(tie.properties.get("what"))] = tie.target.key
    pairs = [(host, what, before[host, what], now) for (host, what), now in after.items() if (host, what) in before]
    if not pairs:
        return []
    sets: dict[str, Mapping[str, Scalar]] = {one.key: one.properties for one in known.open("SoftwareSet")}
    sets |= {
        change.after.key: change.after.properties for change in changes
        if isinstance(change.after, Entity) and change.after.kind == "SoftwareSet"
    }
    return [_event(host, what, *_difference(what, sets, old, new), at) for host, what, old, new in pairs]


def _difference(
    what: str, sets: Mapping[str, Mapping[str, Scalar]], old: str, new: str
) -> tuple[list[str], list[str], list[str]]:
    """In words: what has another version, what is new, what is gone."""
    had, has = members(sets, old), members(sets, new)
    if what != "packages":
        return [], sorted(has - had), sorted(had - has)
    gone = dict(named(key) for key in had - has)
    came = dict(named(key) for key in has - had)
    moved = [f"{name} {gone[name]} → {came[name]}" for name in sorted(gone.keys() & came.keys())]
    new_ones = [f"{name} {came[name]}" for name in sorted(came.keys() - gone.keys())]
    return moved, new_ones, [f"{name} {gone[name]}" for name in sorted(gone.keys() - came.keys())]


def _event(host: str, what: str, moved: list[str], came: list[str], gone: list[str], at: datetime) -> Event:
    told = [*moved, *(f"{one} is new" for one in came), *(f"{one} is gone" for one in gone)]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return Event(
        time=at, kind="software.changed", host=host, severity="notice", entities=[Ref("Host", host)],
        message=f"{what} of {host} changed: {', '.join(told[:SHOWN])}{more}",
        fields={"what": what, "changed": str(len(moved)), "new": str(len(came)), "gone": str(len(gone))},
        hint="`qnib node differs` says whether the other hosts have the same.",
    )
