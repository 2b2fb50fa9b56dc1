"""Wired as planned? The record beside a plan: an ibnetdiscover answer of a good day, or a topology file of ibsim."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from qnib.domains.infiniband.topology import read_ibnetdiscover
from qnib.domains.paths import natural
from qnib.errors import WrongUse
from qnib.inventory.fabric import wiring
from qnib.inventory.facts import Facts

Pair = tuple[str, str]
"""Two ports, in the order in which people sort them."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Links as ``[port, port]``. What is swapped or moved is not told as missing and extra again."""

    links: int
    """In the plan."""
    right: int
    missing: list[Pair] = field(default_factory=list)
    extra: list[Pair] = field(default_factory=list)
    swapped: list[dict[str, Any]] = field(default_factory=list)
    """Two cables that change places would be right: {planned: two pairs, found: two pairs, sentence}."""
    moved: list[dict[str, Any]] = field(default_factory=list)
    """One end is in another port than planned: {planned: a pair, found: a pair, sentence}."""
    absent: list[str] = field(default_factory=list)
    """Devices of the plan that nobody has seen."""
    unplanned: list[str] = field(default_factory=list)

    @property
    def as_planned(self) -> bool:
        return not (self.missing or self.extra or self.swapped or self.moved)

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "as_planned": self.as_planned}


def compare(facts: Facts, cluster: str, plan: str, at: datetime | None = None) -> Planned:
    """The fabric at `at` beside the text of a plan. Devices are the same by GUID where the plan has them, else by
    name. Raises WrongUse for a text that is no plan."""
    try:
        look = read_ibnetdiscover(plan if plan.endswith("\n") else plan + "\n")
        look.name()
        links = look.links()
    except ValueError as error:
        raise WrongUse(
            f"This is no plan: {error}", where="plan", try_next="give ibnetdiscover's answer or ibsim's topology file."
        ) from error
    if not links:
        raise WrongUse("The plan has no links.", where="plan", try_next="give ibnetdiscover's answer.")
    known = [fact for kind in ("SW", "HCA") for fact in facts.entities(cluster, kind, at)]
    by_guid = {str(fact.properties["guid"]): fact.key for fact in known if fact.properties.get("guid")}
    names = {fact.key for fact in known}
    called = {
        node.identity: node.key if node.key in names else by_guid.get(node.guid, node.key)
        for node in look.nodes.values()
    }
    wanted = {
        _pair(f"{called[a[0]]}/{a[1]}", f"{called[b[0]]}/{b[1]}") for a, b in links
    }
    there = {_pair(f"{one.a}/{one.a_port}", f"{one.b}/{one.b_port}") for one in wiring(facts, cluster, at).links}
    missing, extra = wanted - there, there - wanted
    swapped = _swapped(missing, extra)
    moved = _moved(missing, extra)
    return Planned(
        len(wanted), len(wanted & there), sorted(missing, key=_order), sorted(extra, key=_order), swapped, moved,
        sorted(set(called.values()) - names, key=natural), sorted(names - set(called.values()), key=natural),
    )


def _pair(a: str, b: str) -> Pair:
    first, second = sorted((a, b), key=natural)
    return first, second


def _order(pair: Pair) -> list[tuple[int, int, str]]:
    return natural(pair[0])


def _swapped(missing: set[Pair], extra: set[Pair]) -> list[dict[str, Any]]:
    """Takes what it finds out of both sets."""
    planned = {end: pair for pair in missing for end in pair}
    found = []
    for one in sorted(extra, key=_order):
        # a-d is plugged, a-b and c-d were planned: is c-b plugged, too?
        first, second = planned.get(one[0]), planned.get(one[1])
        if one not in extra or first is None or second is None or first == second:
            continue
        other = _pair(_other(first, one[0]), _other(second, one[1]))
        if other not in extra:
            continue
        extra -= {one, other}
        missing -= {first, second}
        found.append({
            "planned": [first, second], "found": [one, other],
            "sentence": f"The cables of {first[0]} and {second[0]} are swapped: {one[0]} is joined with {one[1]}, "
            f"{other[0]} with {other[1]}.",
        })  # fmt: skip
    return found


def _moved(missing: set[Pair], extra: set[Pair]) -> list[dict[str, Any]]:
    """Takes what it finds out of both sets."""
    found = []
    for one in sorted(extra, key=_order):
        near = [pair for pair in missing if len({*pair} & {*one}) == 1]
        if len(near) != 1:
            continue
        (pair,) = near
        stays = next(end for end in pair if end in one)
        extra.discard(one)
        missing.discard(pair)
        found.append({
            "planned": pair, "found": one,
            "sentence": f"{stays} is joined with {_other(one, stays)}, planned is {_other(pair, stays)}.",
        })  # fmt: skip
    return found


def _other(pair: Pair, end: str) -> str:
    return pair[1] if pair[0] == end else pair[0]
