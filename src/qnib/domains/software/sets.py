"""Sets of software known by their content, told as what they add to and lack of another set where one is near.

Ten thousand hosts of six hundred packages are six million statements, nearly all of them the same; as sets they are
ten thousand and a few thousand. A parser tells the whole set (`whole`), `settle` leaves out what the record has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from qnib.model import ALWAYS, Entity, Known, Ref, Relation, Scalar, Snapshot

KIND = {"packages": "Package", "modules": "Module", "libraries": "Library"}
FEW = 24
"""Differences up to which a set is told by another one, however small both are; larger ones: an eighth of it."""


def whole(what: str, items: Iterable[Entity]) -> tuple[Entity, list[Entity], list[Relation]]:
    """The set of `items`, the items, and that it holds them. The set's `list` has a key per line."""
    import hashlib  # on the server only: it brings OpenSSL along, which is too much for an agent

    found = {item.key: item for item in items}
    keys = sorted(found)
    listed = "\n".join(keys)
    digest = hashlib.sha256(f"{what}\n{listed}".encode()).hexdigest()[:16]
    told: dict[str, Scalar] = {
        "name": f"{what} {digest[:6]}", "what": what, "size": len(keys), "base": "", "changes": 0, "list": listed,
    }
    made = Entity("SoftwareSet", digest, told, since=ALWAYS)
    holds = [Relation("HOLDS", made.ref, Ref(KIND[what], key), since=ALWAYS) for key in keys]
    return made, [replace(found[key], since=ALWAYS) for key in keys], holds


def members(sets: Mapping[str, Mapping[str, Scalar]], key: str) -> frozenset[str]:
    """The keys of what a set holds, from the properties of all sets by key. Raises KeyError for one not among them."""
    listed = _lines(sets[key])
    base = str(sets[key].get("base") or "")
    if not base:
        return frozenset(listed)
    added = {line[1:] for line in listed if line.startswith("+")}
    lacking = {line[1:] for line in listed if line.startswith("-")}
    return frozenset(_lines(sets[base])) - lacking | added


def settle(snapshot: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`snapshot` without the contents of sets that are known, and with new ones told by the nearest known one."""
    entities = [one for one in snapshot.entities if one.kind not in {"SoftwareSet", *KIND.values()}]
    relations = [tie for tie in snapshot.relations if tie.kind != "HOLDS"]
    items = {one.key: one for one in snapshot.entities if one.kind in KIND.values()}
    for made in (one for one in snapshot.entities if one.kind == "SoftwareSet"):
        if known.find("SoftwareSet", made.key):
            continue
        told, keys, ties = _told(made, known)
        entities += [told, *(items[key] for key in sorted(keys))]
        relations += ties
    return replace(snapshot, entities=_once(entities), relations=relations)


def _told(made: Entity, known: Known) -> tuple[Entity, set[str], list[Relation]]:
    """A set as it is recorded, which items of it are new with it, and its relations."""
    what = str(made.properties["what"])
    mine = set(_lines(made.properties))
    base, lacking, added = "", set[str](), mine
    for other in known.open("SoftwareSet"):
        if other.properties.get("what") != what or other.properties.get("base"):
            continue
        theirs = set(_lines(other.properties))
        less, more = theirs - mine, mine - theirs
        best = len(added) + len(lacking) if base else max(FEW, len(mine) // 8) + 1
        if len(less) + len(more) < best:
            base, lacking, added = other.key, less, more
    ties = [Relation("HOLDS", made.ref, Ref(KIND[what], key), since=ALWAYS) for key in sorted(added)]
    if not base:
        return made, added, ties
    ties += [Relation("LACKS", made.ref, Ref(KIND[what], key), since=ALWAYS) for key in sorted(lacking)]
    ties.append(Relation("VARIES", made.ref, Ref("SoftwareSet", base), since=ALWAYS))
    listed = "\n".join([*(f"-{key}" for key in sorted(lacking)), *(f"+{key}" for key in sorted(added))])
    told = {**made.properties, "base": base, "changes": len(lacking) + len(added), "list": listed}
    return replace(made, properties=told), added, ties


def _once(entities: Sequence[Entity]) -> list[Entity]:
    return list({one.ref: one for one in entities}.values())


def _lines(told: Mapping[str, Scalar]) -> list[str]:
    listed = str(told.get("list") or "")
    return listed.split("\n") if listed else []
