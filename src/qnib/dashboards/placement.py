"""A job's place in the fabric in sentences: which switches, how far apart, and what would have been closer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qnib.context.known import Sources, fold
from qnib.inventory import fabric
from qnib.inventory.distance import APART, hops
from qnib.inventory.placement import Choice, place

PAIRS_OF = 64
"""Hosts between which the single distances are told; of more only how many pairs are how far apart."""


def placement(
    sources: Sources, cluster: str, hosts: list[str], seen: datetime | None, *,
    began: datetime | None = None, partition: str = "", job: str = "",
) -> dict[str, Any]:
    """The UI's `Placement`. `seen`: the moment whose wiring counts; `began`: when the hosts were chosen."""
    found = place(sources.facts, cluster, hosts, seen=seen, began=began, partition=partition, job=job)
    names, far = hops(sources.facts, cluster, hosts[:PAIRS_OF], seen)
    unplaced = [_lost(sources, cluster, host, seen) for host in found.unplaced[:4]]
    return {
        "switches": _switches(found.chosen),
        "hops": [
            {"from": names[i], "to": names[j], "hops": int(far[i, j])}
            for i in range(len(names)) for j in range(i + 1, len(names)) if far[i, j] != APART
        ],
        "lengths": {str(length): pairs for length, pairs in found.chosen.hops.items() if length != APART},
        "mean": found.chosen.mean,
        "sentence": _placed(len(hosts), found.chosen, unplaced),
        "better": _better(found.chosen, found.better),
    }  # fmt: skip


def _switches(choice: Choice) -> list[dict[str, Any]]:
    return [{"name": name, "nodes": fold(hosts), "count": len(hosts)} for name, hosts in choice.by_switch.items()]


def _better(chosen: Choice, better: Choice | None) -> dict[str, Any] | None:
    if better is None:
        return None
    where = _where(better.by_switch)
    return {
        "nodes": fold(better.hosts), "switches": _switches(better), "mean": better.mean,
        "sentence": f"Free when it started and closer together: {where}, {better.mean:.1f} links between two nodes "
        f"on average, in place of {chosen.mean:.1f}.",
    }  # fmt: skip


def _where(by_switch: Mapping[str, list[str]]) -> str:
    told = [f"{name} ({fold(hosts)})" for name, hosts in list(by_switch.items())[:4]]
    rest = len(by_switch) - len(told)
    return (", ".join(told) + f" and {rest} more switches") if rest else " and ".join(told)


def _placed(count: int, choice: Choice, unplaced: list[str]) -> str:
    if not count:
        return "It has no nodes yet."
    if unplaced:
        return f"{'; '.join(unplaced)}."
    where = _where(choice.by_switch)
    if count == 1:
        return f"One node, on switch {where}."
    if len(choice.by_switch) == 1:
        return f"All {count} nodes hang on one switch, {where}."
    far = max(choice.hops, default=0)
    pairs = sum(choice.hops.values())
    return (
        f"{count} nodes on {len(choice.by_switch)} switches: {where}; {choice.hops.get(far, 0)} of {pairs} pairs are "
        f"{far} links apart."
    )


def _lost(sources: Sources, cluster: str, host: str, at: datetime | None) -> str:
    """Why a host has no place in the fabric."""
    port = fabric.port_of(sources.facts, cluster, host, at)
    if port is None:
        return f"{host} has no adapter in the fabric that is known"
    return f"{host} has lost its link to {port['switch']} port {port['switch_port']}"
