"""Links that run below what both their ends can do, and links that run below others of their kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from qnib.domains.infiniband.rates import LANE, lanes, rate
from qnib.inventory.fabric import Link, Wiring, wiring
from qnib.inventory.facts import Facts

Rate = tuple[str, str]
"""Width and speed: ``("4x", "EDR")``."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """`could` is what both ends can do, `usual` what most links of the kind run at; each is empty where it is no more
    than the link does. `share`: of its full rate."""

    link: str
    a: str
    b: str
    cable: str
    since: str
    width: str
    speed: str
    could: str
    usual: str
    share: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Degrading:
    """`everywhere`: a shortfall that most links share is the equipment's, told once and not as a fault of each:
    connectors often have fewer lanes than the chips behind them could drive. `known`: links whose ends told."""

    links: list[Degraded]
    everywhere: str
    known: int
    of: int

    def told(self) -> dict[str, Any]:
        return asdict(self)


def degraded(facts: Facts, cluster: str, at: datetime | None = None) -> Degrading:
    """Links that are up at `at` and do less than they could, the worst first."""
    found = wiring(facts, cluster, at)
    could = {
        fact.key: (str(fact.properties["could_width"]), str(fact.properties.get("could_speed") or ""))
        for fact in facts.entities(cluster, "PORT", at) if fact.properties.get("could_width")
    }
    told = {link.name: both for link in found.links if (both := _both(link, could))}
    common = _everywhere(found, told)
    usual = _usual(found)
    rows = [
        row for link in found.links
        if (row := _row(link, told.get(link.name), usual[_kind(found, link)], common)) is not None
    ]
    rows.sort(key=lambda row: (row.share, row.link))
    everywhere = "" if common is None else (
        f"Most links run at {_word(common[0])}, though both their ends could do {_word(common[1])}: "
        "that is how the fabric is built, not a fault of each."
    )  # fmt: skip
    return Degrading(rows, everywhere, len(told), len(found.links))


def _both(link: Link, could: dict[str, Rate]) -> Rate | None:
    """What both ends can do, from either of them: each is told for the pair."""
    return could.get(f"{link.a}/{link.a_port}") or could.get(f"{link.b}/{link.b_port}")


def _does(link: Link) -> Rate:
    return str(link.fact.properties.get("width") or ""), str(link.fact.properties.get("speed") or "")


def _below(does: Rate, could: Rate) -> bool:
    """Whether fewer lanes or slower ones are in use; what is not known is not below anything."""
    narrower = 0 < lanes(does[0]) < lanes(could[0])
    slower = 0 < LANE.get(does[1], 0) < LANE.get(could[1], 0)
    return narrower or slower


def _everywhere(found: Wiring, told: dict[str, Rate]) -> tuple[Rate, Rate] | None:
    """What most links do and could, if that is a shortfall."""
    pairs = Counter((_does(link), told[link.name]) for link in found.links if link.name in told)
    if not pairs:
        return None
    (does, could), number = pairs.most_common(1)[0]
    return (does, could) if number * 2 > len(told) and number > 1 and _below(does, could) else None


def _kind(found: Wiring, link: Link) -> bool:
    """Whether it is a link of an adapter."""
    return link.a in found.host_of or link.b in found.host_of


def _usual(found: Wiring) -> dict[bool, Rate]:
    """What most links do: those of adapters, and those between switches."""
    usual: dict[bool, Rate] = {True: ("", ""), False: ("", "")}
    for kind in (True, False):
        rates = Counter(_does(link) for link in found.links if _kind(found, link) is kind)
        if rates:
            (most, number), = rates.most_common(1)
            usual[kind] = most if number * 2 > sum(rates.values()) else ("", "")
    return usual


def _row(link: Link, told: Rate | None, usual: Rate, common: tuple[Rate, Rate] | None) -> Degraded | None:
    does = _does(link)
    able = told if told and _below(does, told) and (common is None or (does, told) != common) else None
    if able and common and does[0] == common[0][0]:  # the lanes that none of them has are not this link's shortfall
        able = (does[0], able[1]) if _below(does, (does[0], able[1])) else None
    less = usual if _below(does, usual) else None
    full = max((rate(*one) for one in (able, less) if one), default=0.0)
    if not full:
        return None
    why = [f"both its ends could do {_word(able)}"] if able else []
    why += [f"most links of its kind do {_word(less)}"] if less else []
    ends = f"{link.a}/{link.a_port}", f"{link.b}/{link.b_port}"
    return Degraded(
        link.name, *ends, link.cable, link.fact.since.isoformat(), *does, _word(able) if able else "",
        _word(less) if less else "", round(rate(*does) / full, 3),
        f"{ends[0]} to {ends[1]} runs at {_word(does)}: {' and '.join(why)}. Reseat or replace the cable.",
    )  # fmt: skip


def _word(one: Rate) -> str:
    return f"{one[0]} {one[1]}".strip()
