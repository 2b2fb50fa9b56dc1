"""Links as rows: state, cable, rate, and what the counters of their two ports said up to a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources
from qnib.context.latest import rates
from qnib.domains.infiniband.counters import WORD
from qnib.domains.paths import segment
from qnib.inventory.fabric import Link

HOUR = timedelta(hours=1)
_MEASURES = ("xmit_rate", "xmit_wait", "errors")

Port = tuple[str, str]
"""A device as carbon paths name it, and the port's number."""


@dataclass(frozen=True, slots=True)
class Weights:
    """By port: octets sent a second, ticks waited a second, symbol errors of the last hour."""

    xmit_rate: dict[Port, float]
    xmit_wait: dict[Port, float]
    errors: dict[Port, float]

    def of(self, links: Sequence[Link]) -> dict[str, float | None]:
        """Sums over both ports of links; None where neither was read."""
        ends = [port for link in links for port in ((link.a, link.a_port), (link.b, link.b_port))]
        ports = [(segment(device), str(number)) for device, number in ends]
        found: dict[str, float | None] = {}
        for name in _MEASURES:
            told: dict[Port, float] = getattr(self, name)
            known = [told[port] for port in ports if port in told]
            found[name] = sum(known) if known else None
        return found

    def failed(self, link: Link) -> bool:
        """Whether damaged symbols came in at one of its ports."""
        return bool(
            self.errors.get((segment(link.a), str(link.a_port))) or self.errors.get((segment(link.b), str(link.b_port)))
        )


def weigh(sources: Sources, cluster: str, at: datetime | None = None) -> Weights:
    """What the ports' counters say up to `at` (None: now)."""
    traffic = rates(sources, cluster, ["ib.xmit_data", "ib.xmit_wait"], until=at)
    failed = rates(sources, cluster, ["ib.symbol_error"], HOUR, until=at)
    return Weights(
        {port_of(row): row["rate"] * WORD for row in traffic if row["name"] == "ib.xmit_data"},
        {port_of(row): row["rate"] for row in traffic if row["name"] == "ib.xmit_wait"},
        {port_of(row): row["increase"] for row in failed},
    )


def port_of(row: dict[str, Any]) -> Port:
    """The port a series is about."""
    return row["tags"].get("node", ""), str(row["tags"].get("port", ""))


def link_row(link: Link, weights: Weights, on_route: bool = False) -> dict[str, Any]:
    """The UI's `FabricLink`."""
    known, fact = link.fact.properties, link.fact
    return {
        "id": link.name, "a": link.a, "a_port": link.a_port, "b": link.b, "b_port": link.b_port, "cable": link.cable,
        "width": str(known.get("width") or ""), "speed": str(known.get("speed") or ""),
        "state": "up" if link.up else "down",
        "status": "critical" if not link.up else "warn" if weights.failed(link) else "fine",
        "since": fact.began.isoformat(), "until": fact.until.isoformat() if fact.until else None,
        **weights.of([link]), "on_route": on_route, "count": 1, "down": 0 if link.up else 1,
    }  # fmt: skip


def worst_first(links: Iterable[Link], weights: Weights) -> list[Link]:
    """Those that are down, those with errors, the rest; each in the order given."""
    rank: tuple[list[Link], list[Link], list[Link]] = ([], [], [])
    for link in links:
        rank[0 if not link.up else 1 if weights.failed(link) else 2].append(link)
    return [link for part in rank for link in part]
