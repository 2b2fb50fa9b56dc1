"""A machine and the names it goes by."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

ENTITIES = (
    EntityKind(
        "Host", "A machine, real or a container that plays one", key="its short host name",
        properties={"name": "string", "kernel": "string", "os": "string"},
    ),
    EntityKind(
        "Alias", "One of the names a host goes by: NodeName, FQDN, address, an HCA's NodeDescription",
        key="kind:name", properties={"name": "string", "kind": "string"},
    ),
    EntityKind(
        "Config", "A file of settings that a daemon reads; secrets are left out", key="host / file",
        properties={"file": "string", "host": "string", "settings": "string", "count": "int"},
    ),
)

RELATIONS = (
    RelationKind("ALIAS_OF", "Alias", "Host", "This name means that host; all joins between layers go through it"),
)
