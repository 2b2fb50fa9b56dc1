"""Where machines stand: racks, as the site's settings or a virtual cluster's blueprint say."""

from __future__ import annotations

from pathlib import Path

from qnib.domains.facility.entities import ENTITIES, RELATIONS
from qnib.model import Domain

DOMAIN = Domain(
    name="facility",
    title="Facility",
    description="Racks, and which host stands in which.",
    folder=Path(__file__).parent,
    entities=ENTITIES,
    relations=RELATIONS,
)
