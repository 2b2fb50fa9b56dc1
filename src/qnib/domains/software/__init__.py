"""What is installed and what is loaded: packages, environment modules, and the libraries of running jobs."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.software.collect import CAPTURES
from qnib.domains.software.entities import ENTITIES, RELATIONS
from qnib.domains.software.findings import CHECKS
from qnib.model import Domain

DOMAIN = Domain(
    name="software",
    title="Software",
    description="Packages and modules of each machine, libraries and modules of each job, and where machines differ.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
    captures=CAPTURES,
    checks=CHECKS,
)
