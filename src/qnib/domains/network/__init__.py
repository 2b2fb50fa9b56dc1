"""Ethernet: interfaces and their addresses, who is seen on the wire, and the switch ports they are plugged into."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.network.collect import CAPTURES
from qnib.domains.network.entities import ENTITIES, RELATIONS
from qnib.model import Domain

DOMAIN = Domain(
    name="network",
    title="Network",
    description="Interfaces with addresses, speed and MTU, neighbours by ARP and ND, Ethernet switches by LLDP.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
    captures=CAPTURES,
)
