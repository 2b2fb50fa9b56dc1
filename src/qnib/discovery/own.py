"""QNIB's own settings: what was changed since it last ran is an event like any other layer's."""

from __future__ import annotations

import json
from datetime import datetime

from qnib import clusters
from qnib.domains import configs
from qnib.engine import Engine
from qnib.monitoring import events
from qnib.settings import Settings, origins


def tell_settings(engine: Engine, settings: Settings, now: datetime) -> list[str]:
    """Compare the settings in force with those of the last start, write what differs into every recorded cluster (the
    default one where there is none), and remember them. Returns the differences; none at the first start."""
    told = {name: configs.masked(name.rpartition(".")[2], str(value)) for name, value, _, _ in origins(settings)}
    file = settings.run / "settings.json"
    before = json.loads(file.read_text()) if file.exists() else None
    found = configs.differences(before, told) if before is not None else []
    if found:
        row = {
            "time": now, "kind": "config.changed", "message": configs.sentence("settings of QNIB", found),
            "entities": ["Config:qnib"], "fields": {"file": "qnib.toml", "settings": str(len(found))},
        }  # fmt: skip
        for name in [one.name for one in clusters.load_all(settings.clusters)] or [settings.cluster]:
            events.record(engine, name, [row], token=f"settings:{now.isoformat()}")
    part = file.with_suffix(".part")
    part.write_text(json.dumps(told))
    part.replace(file)
    return found
