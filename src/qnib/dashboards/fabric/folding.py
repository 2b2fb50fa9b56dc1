"""What of a fabric is drawn, and where: hosts of one switch and switches that are alike become one box each when there
are too many of them, until somebody opens one or asks for a device of it. Pure; the same question, the same picture."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from qnib.context.known import fold as folded
from qnib.dashboards.fabric.layers import Layers
from qnib.domains.paths import natural
from qnib.inventory.fabric import Link

MOST_HOSTS = 48
"""With more than these the hosts of each switch are one box."""
MOST_SWITCHES = 24
"""A level with more than these has its switches in groups, where nobody asks for another number."""
CLOSED = 0.35
"""Room of a closed group beside what is open, which has 1."""


@dataclass(slots=True)
class Box:
    """One thing on the map: a device, or several that are alike. `x` and `y` from 0 to 1."""

    name: str
    kind: Literal["SW", "HCA"]
    level: int
    members: list[str]
    room: float = 1.0
    """Its share of its row."""
    x: float = 0.5
    y: float = 0.5


@dataclass(slots=True)
class Drawn:
    boxes: list[Box]
    of: dict[str, Box]
    """The box each device is in; adapters without a place are in none."""
    bundles: dict[str, tuple[Box, Box, list[Link]]]
    """Links between two boxes by their name: upper box, lower box, links. A link between single devices is alone."""
    opened: list[tuple[str, str]] = field(default_factory=list)
    """Groups that were opened: the word that did it, and what they were called."""

    @property
    def folded(self) -> bool:
        return any(len(box.members) > 1 for box in self.boxes)


@lru_cache(4096)
def node_set(names: tuple[str, ...]) -> str:
    """``leaf[0-17]``; names that no node set can hold are told by the first one and their number."""
    if len(names) == 1:
        return names[0]
    from ClusterShell.NodeSet import NodeSetException

    try:
        return folded(names)
    except NodeSetException:
        return f"{names[0]} and {len(names) - 1} more"


def draw(found: Layers, *, most: int = MOST_SWITCHES, open_: Collection[str] = (), out: Collection[str] = ()) -> Drawn:
    """`open_`: any member of a group opens it; a host or adapter its switch's hosts. `out`: devices or hosts that are
    drawn on their own, whatever group they are in."""
    alone = {one for name in out for one in found.adapters_of.get(name, [name])}
    opening = {one: name for name in open_ for one in found.adapters_of.get(name, [name])}
    opening = {found.leaf[one]: name for one, name in opening.items() if one in found.leaf} | opening
    drawn = Drawn([], {}, {})
    for number, row in enumerate(found.switches, 1):
        for members in _grouped(found, row, number, most):
            _add(drawn, "SW", number, members, alone, opening)
    leaves = [box for box in drawn.boxes if any(switch in found.below for switch in box.members)]
    many = sum(map(len, found.below.values())) > MOST_HOSTS
    for box in sorted(leaves, key=lambda box: natural(box.members[0])):
        adapters = [adapter for switch in box.members for adapter in found.below.get(switch, ())]
        if not many:
            for adapter in adapters:
                _put(drawn, Box(adapter, "HCA", 0, [adapter]))
            continue
        own = {one: name for one, name in opening.items() if one in set(adapters)}
        one = len(box.members) == 1
        _add(drawn, "HCA", 0, adapters, alone, own if one else {}, f"{box.name}/hosts", 1.0 if one else CLOSED)
    _place(found, drawn)
    _bundle(found, drawn)
    return drawn


def _put(drawn: Drawn, box: Box) -> None:
    drawn.boxes.append(box)
    drawn.of.update(dict.fromkeys(box.members, box))


def _add(
    drawn: Drawn, kind: Literal["SW", "HCA"], level: int, members: list[str], alone: set[str], opening: dict[str, str],
    name: str = "", room: float = CLOSED,
) -> None:
    """Draw devices as one box, or each where the group is open, or some beside the rest, which has that much `room`."""
    word = next((opening[one] for one in members if one in opening), None)
    if len(members) > 1 and word is not None:
        drawn.opened.append((word, node_set(tuple(members))))
    single = members if word is not None else [one for one in members if one in alone]
    rest = [one for one in members if one not in set(single)]
    if len(rest) == 1:
        single, rest = [one for one in members if one in {*single, *rest}], []
    for one in single:
        _put(drawn, Box(one, kind, level, [one]))
    if rest:
        _put(drawn, Box(name or node_set(tuple(rest)), kind, level, rest, room))


# ── which switches are alike ──────────────────────────────────────────────────────────────────


def _grouped(found: Layers, row: list[str], level: int, most: int) -> list[list[str]]:
    """The switches of a level: each alone where they are few; else those with the same neighbours on the next level
    (a pod's leaves, a plane's cores); and where that tells too little or too much, runs of their names."""
    if len(row) <= most:
        return [[switch] for switch in row]
    toward = 2 if level == 1 else level - 1
    alike: dict[frozenset[str], list[str]] = {}
    for switch in row:
        beside = frozenset(one for one in found.beside.get(switch, ()) if found.levels.get(one) == toward)
        alike.setdefault(beside, []).append(switch)
    if most <= 3 * len(alike) and len(alike) <= 2 * most:
        return list(alike.values())
    size = -(-len(row) // most)
    return [row[start : start + size] for start in range(0, len(row), size)]


# ── places ────────────────────────────────────────────────────────────────────────────────────


def _place(found: Layers, drawn: Drawn) -> None:
    """Hosts below their switch, switches above the middle of what hangs below them, the rest spread evenly."""
    if not drawn.boxes:
        return
    top = max(box.level for box in drawn.boxes) or 1
    _spread([box for box in drawn.boxes if box.level == 0])
    for level in range(1, top + 1):
        row = [box for box in drawn.boxes if box.level == level]
        middle = {box.name: _middle(found, drawn, box) for box in row}
        row.sort(key=lambda box: (round(middle[box.name], 3), natural(box.members[0])))
        apart = (0.2 if level == 1 else 0.5) / max(1, len(row))
        if all(right - left > apart for left, right in pairwise(middle[box.name] for box in row)):
            for box in row:
                box.x = middle[box.name]
        else:
            _spread(row)
    for box in drawn.boxes:
        box.y = 0.08 + 0.84 * (1 - box.level / top)


def _spread(row: list[Box]) -> None:
    whole, left = sum(box.room for box in row), 0.0
    for box in row:
        box.x = (left + box.room / 2) / whole
        left += box.room


def _middle(found: Layers, drawn: Drawn, box: Box) -> float:
    """Where the boxes below a box are on average; the middle when nothing is."""
    seen: dict[str, float] = {}
    for member in box.members:
        for other in found.beside.get(member, ()):
            below = drawn.of.get(other)
            if below is not None and below.level == box.level - 1:
                seen[below.name] = below.x
    return sum(seen.values()) / len(seen) if seen else 0.5


def _bundle(found: Layers, drawn: Drawn) -> None:
    between: dict[tuple[str, str], tuple[Box, Box, list[Link]]] = {}
    for link in found.links:
        a, b = drawn.of.get(link.a), drawn.of.get(link.b)
        if a is None or b is None or a is b:
            continue
        if len(a.members) == len(b.members) == 1:
            drawn.bundles[link.name] = (a, b, [link])
            continue
        upper, lower = (a, b) if (-a.level, a.name) <= (-b.level, b.name) else (b, a)
        between.setdefault((upper.name, lower.name), (upper, lower, []))[2].append(link)
    for (upper_name, lower_name), bundle in between.items():
        alone = len(bundle[2]) == 1
        drawn.bundles[bundle[2][0].name if alone else f"{upper_name}--{lower_name}"] = bundle
