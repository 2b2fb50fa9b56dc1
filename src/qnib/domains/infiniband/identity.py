"""Which cable it is, and which period: what one look at the fabric cannot know, from what the record knows.

A cable is known by its serial where that can be read. Else it is the same cable when exactly one end moved
within a short while (marked inferred). Else it is unknown, which is said, with the one it may be when the same
two ports were joined before: somebody may have replaced it in place.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from qnib.model import Entity, Known, Ref, Relation, Snapshot

Ends = tuple[str, str]
"""Two ports, as a link names them."""

SHORTLY = timedelta(minutes=15)
"""How long a cable may hang loose and still be taken for the same one."""


def ends_of(connection: str) -> Ends:
    """The two ports in a connection's key.

    >>> ends_of("SW1/3--compute2/1@1795216670")
    ('SW1/3', 'compute2/1')
    """
    first, _, second = connection.rpartition("@")[0].partition("--")
    return first, second


def settle(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` with a CONNECTION and a CABLE for every LINK; pure. Its time grows with the number of links."""
    links = sorted((link for link in seen.relations if link.kind == "LINK"), key=lambda link: link.source.key)
    pairs = {(link.source.key, link.target.key) for link in links}
    past = _Past(known, pairs, at)
    entities, relations = list(seen.entities), list(seen.relations)
    for link in links:
        ends = link.source.key, link.target.key
        if ends in past.open_now:
            connection = past.open_now[ends].key
            cable = past.about.get(past.cables.get(connection, "")) or Entity("CABLE", f"cable {connection}")
        else:
            connection = f"{ends[0]}--{ends[1]}@{int(at.timestamp())}"
            cable = past.cable(connection, ends)
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


class _Past:
    """What was plugged where until this look, by port."""

    def __init__(self, known: Known, pairs: set[Ends], at: datetime) -> None:
        self.open_now = {ends_of(entity.key): entity for entity in known.open("CONNECTION")}
        self.about = {entity.key: entity for entity in known.entities("CABLE")}
        uses = [(relation.source.key, relation.target.key) for relation in known.ties("USES")]
        # What a cable's own serial says counts more than where it was first seen, whichever was told last.
        self.cables = dict(sorted(uses, key=lambda pair: self._read(pair[1])))
        ended = known.ended("CONNECTION", at - SHORTLY)
        self._last: dict[Ends, str] = {}
        for entity in ended:  # the latest first
            if entity.key in self.cables:
                self._last.setdefault(ends_of(entity.key), self.cables[entity.key])
        # What is loose: ended a short while ago, or ending with this very look. A cable that is plugged in is not,
        # whatever it was part of before.
        taken = {self.cables.get(entity.key, "") for ends, entity in self.open_now.items() if ends in pairs}
        loose = [*(entity for ends, entity in self.open_now.items() if ends not in pairs), *ended]
        self._loose: dict[str, list[tuple[Ends, str]]] = {}
        for entity in loose:
            ends, cable = ends_of(entity.key), self.cables.get(entity.key, "")
            if cable and cable not in taken and ends not in pairs:
                for end in ends:
                    self._loose.setdefault(end, []).append((ends, cable))
        self._new: dict[str, list[Ends]] = {}
        for ends in pairs - self.open_now.keys():
            for end in ends:
                self._new.setdefault(end, []).append(ends)

    def _read(self, cable: str) -> bool:
        """Whether its serial is known."""
        return cable in self.about and self.about[cable].properties.get("identity") == "serial"

    def cable(self, connection: str, ends: Ends) -> Entity:
        """The cable of a connection that is new."""
        was = [one for end in ends for one in self._loose.get(end, ()) if _one_end(one[0], ends)]
        candidates = {cable for _, cable in was}
        # Two new connections that could both be the same cable leave it open which one is.
        rivals = any(
            other != ends and _one_end(before, other)
            for before, _ in was for end in before for other in self._new.get(end, ())
        )
        if len(candidates) == 1 and not rivals:
            key = candidates.pop()
            if self._read(key):
                return self.about[key]
            return Entity(
                "CABLE", key, {"name": key, "identity": "inferred", "inferred": True, "serial": "", "maybe": ""}
            )
        key, before = f"cable {connection}", self._last.get(ends, "")
        return Entity(
            "CABLE", key, {"name": key, "identity": "unknown", "inferred": False, "serial": "", "maybe": before}
        )


def _one_end(before: Ends, now: Ends) -> bool:
    return len({*before} & {*now}) == 1
