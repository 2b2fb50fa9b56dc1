"""Which cable it is, and which period: what one look at the fabric cannot know, from what the record knows.

A cable is known by its serial where that can be read. Else it is the same cable when exactly one end moved
within a short while (marked inferred). Else it is unknown, which is said, with the one it may be when the same
two ports were joined before: somebody may have replaced it in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from qnib.model import Entity, Known, Ref, Relation, Snapshot

SHORTLY = timedelta(minutes=15)
"""How long a cable may hang loose and still be taken for the same one."""


def ends_of(connection: str) -> tuple[str, str]:
    """The two ports in a connection's key.

    >>> ends_of("SW1/3--compute2/1@1795216670")
    ('SW1/3', 'compute2/1')
    """
    first, _, second = connection.rpartition("@")[0].partition("--")
    return first, second


def settle(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` with a CONNECTION and a CABLE for every LINK; pure."""
    open_now = {ends_of(entity.key): entity for entity in known.open("CONNECTION")}
    cables = {relation.source.key: relation.target.key for relation in known.ties("USES")}
    about = {entity.key: entity for entity in known.entities("CABLE")}
    links = [relation for relation in seen.relations if relation.kind == "LINK"]
    pairs = {(link.source.key, link.target.key) for link in links}
    # What is loose: ended a short while ago, or ending with this very look.
    loose = [entity for ends, entity in open_now.items() if ends not in pairs]
    loose += [entity for entity in known.ended("CONNECTION", at - SHORTLY) if ends_of(entity.key) not in pairs]
    # A cable that is plugged in is not loose, whatever it was part of before.
    taken = {cables.get(entity.key, "") for ends, entity in open_now.items() if ends in pairs}
    loose = [entity for entity in loose if cables.get(entity.key) and cables[entity.key] not in taken]
    new = [pair for pair in pairs if pair not in open_now]
    entities, relations = list(seen.entities), list(seen.relations)
    for link in sorted(links, key=lambda link: link.source.key):
        ends = link.source.key, link.target.key
        if ends in open_now:
            connection = open_now[ends].key
            cable = about.get(cables.get(connection, "")) or Entity("CABLE", f"cable {connection}")
        else:
            connection = f"{ends[0]}--{ends[1]}@{int(at.timestamp())}"
            cable = _cable(connection, ends, loose, new, cables, about, known, at)
        entities.append(Entity("CONNECTION", connection, {
            "name": f"{ends[0]}--{ends[1]}", "a": ends[0], "b": ends[1],
            "width": link.properties.get("width", ""), "speed": link.properties.get("speed", ""),
        }))
        entities.append(replace(cable, since=None, until=None))
        this = Ref("CONNECTION", connection)
        relations += [
            Relation("CONNECTS", this, Ref("PORT", ends[0])), Relation("CONNECTS", this, Ref("PORT", ends[1])),
            Relation("USES", this, cable.ref),
        ]
    return Snapshot(entities, relations, seen.complete)


def _cable(
    connection: str, ends: tuple[str, str], loose: Sequence[Entity], new: Sequence[tuple[str, str]],
    cables: dict[str, str], about: dict[str, Entity], known: Known, at: datetime,
) -> Entity:
    candidates = {cables[entity.key] for entity in loose if _one_end(ends_of(entity.key), ends)}
    # Two new connections that could both be the same cable leave it open which one is.
    rivals = [
        other for other in new if other != ends
        and any(_one_end(ends_of(entity.key), other) for entity in loose if cables[entity.key] in candidates)
    ]
    if len(candidates) == 1 and not rivals:
        key = candidates.pop()
        return Entity("CABLE", key, {"name": key, "identity": "inferred", "inferred": True, "serial": "", "maybe": ""})
    before = next((
        cables[entity.key] for entity in known.ended("CONNECTION", at - SHORTLY)
        if ends_of(entity.key) == ends and entity.key in cables
    ), "")
    key = f"cable {connection}"
    return Entity("CABLE", key, {"name": key, "identity": "unknown", "inferred": False, "serial": "", "maybe": before})


def _one_end(before: tuple[str, str], now: tuple[str, str]) -> bool:
    return len({*before} & {*now}) == 1
