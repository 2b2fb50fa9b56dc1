"""The fabric: adapters, switches, ports, cables, and what is plugged where for how long."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

ENTITIES = (
    EntityKind(
        "HCA", "A host channel adapter", key="NodeDescription, with its GUID where that is not unique",
        properties={
            "name": "string", "guid": "string", "ports": "int", "vendor": "string", "device": "string",
            "problem": "string",
        },
    ),
    EntityKind(
        "SW", "A switch", key="NodeDescription, with its GUID where that is not unique",
        properties={
            "name": "string", "guid": "string", "ports": "int", "vendor": "string", "device": "string",
            "problem": "string",
        },
    ),
    EntityKind(
        "PORT", "A port of an adapter or a switch", key="name of the adapter or switch / port number",
        properties={
            "name": "string", "number": "int", "node": "string", "guid": "string", "lid": "int", "lmc": "int",
            "could_width": "string", "could_speed": "string",
        },
    ),
    EntityKind(
        "CABLE", "A cable: by its serial, else the same one when exactly one end moved (inferred), else unknown",
        key="serial, else where and when it was first seen",
        properties={"name": "string", "serial": "string", "identity": "string", "inferred": "bool", "maybe": "string"},
    ),
    EntityKind(
        "CONNECTION", "Two ports joined by a cable, for one period; plugging it again makes the next one",
        key="port--port@when it was first seen",
        properties={"name": "string", "a": "string", "b": "string", "width": "string", "speed": "string"},
    ),
)

RELATIONS = (
    RelationKind("BELONGS_TO", "HCA", "Host", "The adapter sits in the host"),
    RelationKind("HAS_PORT", "HCA", "PORT", "The adapter has the port"),
    RelationKind("HAS_PORT", "SW", "PORT", "The switch has the port"),
    RelationKind("CONNECTS", "CONNECTION", "PORT", "The connection has the port as one of its two ends"),
    RelationKind("USES", "CONNECTION", "CABLE", "The connection is made by the cable"),
    RelationKind(
        "LINK", "PORT", "PORT", "The two ports are connected; switch first, then by name",
        properties={"width": "string", "speed": "string"},
    ),
)
