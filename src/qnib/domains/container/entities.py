"""Containers, seen from the engine's side and from their own inside."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

ENTITIES = (
    EntityKind(
        "Container", "A container, or what a job runs in",
        key="first 12 digits of the engine's id; where that is not known host/name",
        properties={
            "name": "string", "engine": "string", "image": "string", "image_id": "string", "state": "string",
            "hostname": "string", "rung": "string", "memory": "int", "cpus": "float", "processes": "int",
            "created": "time",
        },
    ),
)

RELATIONS = (
    RelationKind("RUNS_IN", "Host", "Container", "The host is this container"),
    RelationKind("RUNS_IN", "Job", "Container", "The job's processes are in this container"),
    RelationKind("STANDS_ON", "Container", "Host", "The machine whose engine runs the container"),
)
