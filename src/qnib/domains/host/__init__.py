"""The machines: what they use, what they are called, what their kernels say."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.host.collect import CAPTURES, METRICS, READINGS
from qnib.domains.host.entities import ENTITIES, RELATIONS
from qnib.domains.host.findings import CHECKS
from qnib.domains.host.panels import PANELS
from qnib.model import Domain

DOMAIN = Domain(
    name="host",
    title="Hosts",
    description="Machines, their names, their CPU, memory and network, and their kernels' messages.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
    metrics=METRICS,
    captures=CAPTURES,
    readings=READINGS,
    panels=PANELS,
    checks=CHECKS,
)
