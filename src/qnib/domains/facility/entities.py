"""Racks, and what stands in them."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

ENTITIES = (
    EntityKind(
        "Rack", "A rack of the machine room", key="its name",
        properties={"name": "string", "hosts": "string", "host_count": "int"},
    ),
)  # fmt: skip

RELATIONS = (RelationKind("STANDS_IN", "Host", "Rack", "The host stands in the rack, for this interval"),)
