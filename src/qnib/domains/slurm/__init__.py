"""SLURM: jobs, the nodes and partitions they run in, and who submitted them."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.slurm.collect import CAPTURES, METRICS, READINGS
from qnib.domains.slurm.entities import ENTITIES, RELATIONS
from qnib.domains.slurm.findings import CHECKS
from qnib.domains.slurm.panels import PANELS
from qnib.model import Domain

DOMAIN = Domain(
    name="slurm",
    title="SLURM",
    description="Jobs, attempts and allocations, users and accounts, nodes and partitions.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
    metrics=METRICS,
    captures=CAPTURES,
    readings=READINGS,
    panels=PANELS,
    checks=CHECKS,
)
