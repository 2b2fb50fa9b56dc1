"""What one cluster consists of right now, for people and programs."""

from __future__ import annotations

from typing import Any

from qnib import clusters
from qnib.clusters import Cluster
from qnib.settings import Settings
from qnib.terminal import attendant, record, services, wrapping
from qnib.terminal.engines.several import Several
from qnib.terminal.faults.written import open_ones
from qnib.terminal.hosts import engine_of
from qnib.terminal.parts import role_of
from qnib.terminal.placing import folded
from qnib.terminal.plan import LABEL


def status(settings: Settings, name: str | None = None) -> dict[str, Any]:
    """The cluster's parts and their states. Raises NotFound for a cluster that is not there.

    Keys: name, engine, created, state (``ready``, ``starting``, ``broken`` when a container is not running),
    nodes, gateway, subnet, rung, limits (a sentence), image, demo, seconds (it took to start), ready (milliseconds of
    its steps), containers (host, role, address, state), hosts (of a cluster over several: address, state ``here`` or
    ``away`` or ``done``, why, nodes, traffic), faults (open ones), attendant (what carries traffic: its state, and what
    it last did), services (those asked for: what `services.state` tells), ssh (the login node's port on this machine),
    jobs (containers of jobs: job, node, name, state). Of a real cluster only the first four and gateway.
    """
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    if not cluster.engine:
        return {
            "name": cluster.name, "engine": "", "created": cluster.created, "gateway": cluster.gateway,
            "state": "recorded",
        }
    plan, rung, told = record.plan_of(cluster), record.rung_of(cluster), cluster.details
    engine = engine_of(settings, cluster)
    beside = attendant.state(settings, cluster.name)
    try:
        there = engine.containers(f"{LABEL}={cluster.name}")
        over = _hosts(engine, cluster, beside) if isinstance(engine, Several) else []
    finally:
        engine.close()
    found = {c.labels.get("qnib.host", ""): c.state for c in there}
    containers = [
        {"host": host, "role": role, "address": plan.address(host), "state": found.get(host, "absent")}
        for host, role in [
            *((service, service) for service in plan.services),
            *((place, role_of(place)) for place in plan.places(told["nodes"])),
        ]
    ]
    core = [*containers]
    containers += [
        {"host": host, "role": host, "address": plan.address(host), "state": found.get(host, "absent")}
        for host in plan.beside
    ]
    whole = all(container["state"] == "running" for container in core)
    return {
        "name": cluster.name, "engine": cluster.engine, "created": cluster.created,
        "state": told["state"] if whole or told["state"] != "ready" else "broken",
        "nodes": told["nodes"], "gateway": cluster.gateway, "subnet": told["subnet"],
        "rung": rung.name, "limits": rung.sentence, "image": told["image"], "demo": plan.blueprint.jobs == "demo",
        "seconds": told.get("seconds"), "ready": told.get("ready"), "containers": containers, "hosts": over,
        "faults": [
            {"id": f.id, "time": f.time, "kind": f.kind, "target": f.target, "value": f.value}
            for f in open_ones(settings, cluster.name, cluster.created)
        ],
        "services": services.state(settings, cluster, plan, found),
        "attendant": beside,
        "jobs": sorted(
            (
                {"job": int(c.labels["qnib.job"]), "node": c.labels["qnib.node"], "name": c.name, "state": c.state}
                for c in there if c.labels.get("qnib.role") == wrapping.ROLE
            ), key=lambda one: (one["job"], one["node"]),
        ),
        "ssh": told.get("ssh_port"),
    }


def _hosts(engine: Several, cluster: Cluster, beside: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    for place, (host, note) in enumerate(zip(engine.hosts, cluster.details["hosts"], strict=True)):
        nodes = [f"compute{number}" for number, there in enumerate(engine.places) if there == place]
        why = host.trouble.what if host.trouble else ""
        traffic = beside.get("traffic", {}).get(host.address, "")
        found.append({
            "address": host.address, "state": "done" if note.get("done") else "away" if why else "here", "why": why,
            "nodes": folded(nodes), "traffic": traffic,
        })
    return found
