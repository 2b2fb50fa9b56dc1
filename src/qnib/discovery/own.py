"""What QNIB's own settings tell: what was changed in them since it last ran, and the racks a site wrote down."""

from __future__ import annotations

import json
from datetime import datetime

from qnib import clusters
from qnib.domains import configs
from qnib.engine import Engine
from qnib.inventory.facts import Facts, canonical
from qnib.inventory.graph import Graph
from qnib.model import Entity, Ref, Relation, Snapshot
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


RACKS = "racks@qnib"
"""The source of what is known of racks."""


def tell_racks(facts: Facts, graph: Graph, settings: Settings, now: datetime) -> list[str]:
    """Record which host stands in which rack, as the settings say, or else the records of the clusters; what differs
    from before began or ended `now`. Returns the clusters of which something did."""
    told = {cluster.name: cluster.details.get("racks") or {} for cluster in clusters.load_all(settings.clusters)}
    before = {name for name in facts.clusters() if facts.current(name, "Rack")}
    named = {name for name, own in settings.racks.items() if isinstance(own, dict)}
    changed = []
    for name in sorted({settings.cluster, *told, *before, *named}):
        own = settings.racks_of(name) or told.get(name, {})
        if not own and name not in before:
            continue
        racks = clusters.check_racks(own)
        entities = [
            Entity("Rack", rack, {"name": rack, "hosts": own[rack], "host_count": len(hosts)})
            for rack, hosts in racks.items()
        ]
        stand = [Relation("STANDS_IN", Ref("Host", host), Ref("Rack", rack)) for rack in racks for host in racks[rack]]
        snapshot = canonical(facts, name, Snapshot(entities, stand, frozenset({"Rack", "STANDS_IN"})))
        changes = facts.apply(name, RACKS, now, snapshot)
        graph.update(changes)
        if changes:
            changed.append(name)
    return changed
