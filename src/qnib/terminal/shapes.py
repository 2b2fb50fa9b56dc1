"""How switches and hosts are wired: a tree, a fat tree, a torus. Each gives its cables, and which of them a cluster
of so many nodes has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

from qnib.terminal.blueprint import Fabric

SUBNET_MANAGER = "fabric"
"""OpenSM and the diagnostic tools sit on an HCA of their own."""

SPARE = 2
"""Ports of a leaf switch without a cable: where one is moved to find out what is broken."""


@dataclass(frozen=True, slots=True)
class Link:
    """One cable, named by both its ends; the first end is a switch."""

    device: str
    port: int
    peer: str
    peer_port: int

    @property
    def ends(self) -> tuple[str, str]:
        return f"{self.device}/{self.port}", f"{self.peer}/{self.peer_port}"


class Shape(Protocol):
    def switches(self) -> dict[str, int]:
        """Every switch the fabric may have, with its number of ports."""

    def links(self, nodes: int) -> list[Link]:
        """The cables of a cluster of so many nodes, the subnet manager's among them."""


def shape_of(fabric: Fabric, capacity: int, first: int) -> Shape:
    """The shape a blueprint asks for; `first` nodes decide how wide a tree's leaves are when it does not say."""
    if fabric.shape == "fat-tree":
        return FatTree(fabric.radix, fabric.levels, capacity)
    if fabric.shape == "torus":
        return Torus(tuple(fabric.size), fabric.hosts or 2)
    return Tree(fabric.hosts or hosts_per_leaf(first), fabric.spines, capacity)


def hosts_per_leaf(count: int) -> int:
    """So many hosts on a leaf switch that even a small cluster spans two leaves, at most eight.

    >>> [hosts_per_leaf(n) for n in (1, 2, 4, 6, 16, 64)]
    [2, 2, 2, 3, 8, 8]
    """
    return min(8, max(2, -(-count // 2)))


def host(number: int) -> str:
    return f"compute{number}"


@dataclass(frozen=True, slots=True)
class Tree:
    """Leaf switches SW1, SW2 … with their uplinks on the first ports (to SPINE1 …) and hosts after them."""

    per_leaf: int
    spines: int
    capacity: int

    @property
    def _leaves(self) -> int:
        return -(-self.capacity // self.per_leaf)

    def switches(self) -> dict[str, int]:
        found = {f"SPINE{s}": self._leaves + 1 for s in range(1, self.spines + 1)}
        return found | {f"SW{leaf}": self.spines + self.per_leaf + SPARE for leaf in range(1, self._leaves + 1)}

    def links(self, nodes: int) -> list[Link]:
        used = -(-nodes // self.per_leaf)
        found = [
            Link(f"SPINE{s}", leaf, f"SW{leaf}", s) for leaf in range(1, used + 1) for s in range(1, self.spines + 1)
        ]
        for number in range(nodes):
            leaf, place = divmod(number, self.per_leaf)
            found.append(Link(f"SW{leaf + 1}", self.spines + 1 + place, host(number), 1))
        return [*found, Link("SPINE1", self._leaves + 1, SUBNET_MANAGER, 1)]


@dataclass(frozen=True, slots=True)
class FatTree:
    """Switches of one radix, half of their ports down and half up (the top's all down): full bisection.

    Two levels: leaves SW1 … under SPINE1 …. Three: pods of radix/2 leaves and radix/2 middle switches (POD1-M1 …)
    under CORE1 …. The subnet manager has one more port on the first switch of the top.
    """

    radix: int
    levels: int
    capacity: int

    @property
    def _half(self) -> int:
        return self.radix // 2

    @property
    def _leaves(self) -> int:
        return -(-self.capacity // self._half)

    def switches(self) -> dict[str, int]:
        half, leaves = self._half, self._leaves
        found = {f"SW{leaf}": self.radix for leaf in range(1, leaves + 1)}
        if self.levels == 2:
            tops = [f"SPINE{s}" for s in range(1, half + 1)]
        else:
            pods = range(1, self._pods(leaves) + 1)
            found |= {f"POD{pod}-M{middle}": self.radix for pod in pods for middle in range(1, half + 1)}
            tops = [f"CORE{c}" for c in range(1, half * half + 1)]
        return found | {top: self.radix + (place == 0) for place, top in enumerate(tops)}

    def _pods(self, leaves: int) -> int:
        return -(-leaves // self._half)

    def links(self, nodes: int) -> list[Link]:
        half = self._half
        used = -(-nodes // half)
        found = list(self._up(used) if self.levels == 2 else self._up_three(used))
        for number in range(nodes):
            leaf, place = divmod(number, half)
            found.append(Link(f"SW{leaf + 1}", 1 + place, host(number), 1))
        return [*found, Link("SPINE1" if self.levels == 2 else "CORE1", self.radix + 1, SUBNET_MANAGER, 1)]

    def _up(self, leaves: int) -> Iterator[Link]:
        for leaf, spine in product(range(1, leaves + 1), range(1, self._half + 1)):
            yield Link(f"SPINE{spine}", leaf, f"SW{leaf}", self._half + spine)

    def _up_three(self, leaves: int) -> Iterator[Link]:
        half = self._half
        for leaf, middle in product(range(1, leaves + 1), range(1, half + 1)):
            pod, place = divmod(leaf - 1, half)
            yield Link(f"POD{pod + 1}-M{middle}", 1 + place, f"SW{leaf}", half + middle)
        for pod, middle, up in product(range(1, self._pods(leaves) + 1), range(1, half + 1), range(1, half + 1)):
            yield Link(f"CORE{(middle - 1) * half + up}", pod, f"POD{pod}-M{middle}", half + up)


@dataclass(frozen=True, slots=True)
class Torus:
    """Switches on a grid that closes in every dimension (SW1-1, SW1-2 …), each with hosts of its own.

    Two ports per dimension (up, down), the hosts, one for the subnet manager on the first switch, then spare ones.
    """

    size: tuple[int, ...]
    hosts: int

    def _places(self) -> list[tuple[int, ...]]:
        return list(product(*(range(side) for side in self.size)))

    @staticmethod
    def _name(place: tuple[int, ...]) -> str:
        return "SW" + "-".join(str(at + 1) for at in place)

    def switches(self) -> dict[str, int]:
        return {self._name(place): 2 * len(self.size) + self.hosts + 1 + SPARE for place in self._places()}

    def links(self, nodes: int) -> list[Link]:
        found = []
        for place in self._places():
            for axis, side in enumerate(self.size):
                # Between two switches one cable is enough; a third closes the ring.
                if side == 2 and place[axis] == 1:
                    continue
                beyond = (*place[:axis], (place[axis] + 1) % side, *place[axis + 1 :])
                found.append(Link(self._name(place), 2 * axis + 1, self._name(beyond), 2 * axis + 2))
        places = self._places()
        for number in range(nodes):
            # One host on each switch, then a second: a small cluster still spans the grid.
            layer, at = divmod(number, len(places))
            found.append(Link(self._name(places[at]), 2 * len(self.size) + 1 + layer, host(number), 1))
        return [*found, Link(self._name(places[0]), 2 * len(self.size) + self.hosts + 1, SUBNET_MANAGER, 1)]
