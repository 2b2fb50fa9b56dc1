"""InfiniBand: adapters, switches, ports, cables, who is connected to whom, and the ports' counters."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.infiniband.collect import CAPTURES, METRICS, READINGS
from qnib.domains.infiniband.entities import ENTITIES, RELATIONS
from qnib.domains.infiniband.findings import CHECKS
from qnib.domains.infiniband.panels import PANELS
from qnib.model import Domain

DOMAIN = Domain(
    name="infiniband",
    title="InfiniBand",
    description="The fabric: adapters, switches, ports and cables, their links over time, and the ports' counters.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
    metrics=METRICS,
    captures=CAPTURES,
    readings=READINGS,
    panels=PANELS,
    checks=CHECKS,
)
