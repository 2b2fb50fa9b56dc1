"""Containers: images and limits, what hosts and jobs run in them, and the machine they stand on."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.container.collect import CAPTURES
from qnib.domains.container.entities import ENTITIES, RELATIONS
from qnib.model import Domain

DOMAIN = Domain(
    name="container",
    title="Containers",
    description="Containers with image, engine and limits; the hosts and jobs inside them, the machines below them.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
    captures=CAPTURES,
)
