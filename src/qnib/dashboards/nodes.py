"""The nodes' pages: rows of the list, and one node with its port, jobs and panels."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qnib.context.known import Sources, iso, not_here, things, ties, whole
from qnib.context.latest import last_heard, latest
from qnib.context.viewer import Viewer, may_see
from qnib.dashboards.findings import began, node_findings, port_findings
from qnib.dashboards.jobs import jobs_on
from qnib.dashboards.machine import carried, machine
from qnib.dashboards.panels import panels_of
from qnib.dashboards.words import group_of, node_status
from qnib.domains.paths import natural
from qnib.inventory import fabric
from qnib.inventory.facts import Fact
from qnib.model import Ref


def node_rows(sources: Sources, viewer: Viewer, cluster: str) -> list[dict[str, Any]]:
    """All nodes with state, load, jobs and leaf switch, in natural order of their names."""
    values = latest(sources, cluster, ["cpu.used", "memory.used", "memory.limit", "disk.used", "disk.size"])
    leaves = fabric.leaf_of(sources.facts, cluster, None)
    partitions: dict[str, list[str]] = {}
    for tie in ties(sources, cluster, "PART_OF"):
        if tie.source and tie.target:
            partitions.setdefault(tie.source.key, []).append(tie.target.key)
    jobs: dict[str, list[str]] = {}
    known = things(sources, cluster, "Job")
    for tie in ties(sources, cluster, "JOBCLIENT"):
        job = known.get(tie.source.key) if tie.source else None
        if job and tie.target and tie.until is None and group_of(str(job.properties.get("state"))) == "running":
            jobs.setdefault(tie.target.key, []).append(job.key)
    heard = last_heard(sources, cluster)
    return [
        _row(
            fact,
            values.get(fact.key, {}),
            partitions.get(fact.key, []),
            jobs.get(fact.key, []),
            leaves.get(fact.key),
            heard.get(fact.key),
        )
        for fact in sorted(things(sources, cluster, "Node").values(), key=lambda fact: natural(fact.key))
        if may_see(viewer, cluster, Ref("Node", fact.key))
    ]


def others(sources: Sources, viewer: Viewer, cluster: str) -> list[dict[str, Any]]:
    """Hosts that are no nodes of SLURM: the controller, a fabric's own host, the machine that containers stand on.

    Each with ``name``, ``containers`` (so many stand on it) and ``newest``.
    """
    nodes, heard = things(sources, cluster, "Node"), last_heard(sources, cluster)
    carries = carried(sources, cluster)
    return [
        {"name": key, "containers": carries.get(key, 0), "newest": iso(heard.get(key))}
        for key in sorted(things(sources, cluster, "Host"), key=natural)
        if key not in nodes and key in heard and may_see(viewer, cluster, Ref("Host", key))
    ]


def _beside(sources: Sources, viewer: Viewer, cluster: str, host: str) -> dict[str, Any] | None:
    """The row of a host that is no node."""
    known = things(sources, cluster, "Host").get(host)
    if known is None or not may_see(viewer, cluster, Ref("Host", host)):
        return None
    values = latest(sources, cluster, ["cpu.used", "memory.used", "memory.limit", "disk.used", "disk.size"])
    row = _row(known, values.get(host, {}), [], [], fabric.leaf_of(sources.facts, cluster, None).get(host),
               last_heard(sources, cluster).get(host))  # fmt: skip
    return {**row, "memory_mb": int(row["memory_limit"] or 0) >> 20}


def _row(
    fact: Fact,
    values: dict[str, float],
    partitions: list[str],
    jobs: list[str],
    switch: str | None,
    heard: datetime | None,
) -> dict[str, Any]:
    known = fact.properties
    cpus = whole(known.get("cpus"))
    used, limit = values.get("memory.used"), values.get("memory.limit")
    return {
        "name": fact.key,
        "state": str(known.get("state") or ""),
        "status": node_status(str(known.get("state") or "")),
        "reason": str(known.get("reason") or ""),
        "cpus": cpus,
        "cpus_allocated": whole(known.get("cpus_allocated")),
        "memory_mb": whole(known.get("memory")) >> 20,
        "partitions": sorted(partitions),
        "jobs": sorted(jobs),
        "switch": switch,
        "cpu_percent": values["cpu.used"] / cpus if cpus and "cpu.used" in values else None,
        "memory_used": used,
        "memory_limit": limit,
        "disk_used": values.get("disk.used"),
        "disk_size": values.get("disk.size"),
        "memory_percent": 100 * used / limit if used is not None and limit else None,
        "newest": iso(heard),
    }


def node_page(sources: Sources, viewer: Viewer, cluster: str, name: str) -> dict[str, Any]:
    """Everything the page of one node says, as the UI's `NodePage`. Any alias of the host will do."""
    host = sources.facts.resolve(cluster, name, None) or name
    row = next((row for row in node_rows(sources, viewer, cluster) if row["name"] == host), None)
    node = row is not None
    if row is None:
        row = _beside(sources, viewer, cluster, host)
        if row is None:
            raise not_here("node", name, cluster, "qnib node list")
    port = fabric.port_of(sources.facts, cluster, host, None)
    disks = "disk.read_bytes" in latest(sources, cluster, ["disk.read_bytes"]).get(host, {})
    limits = {"memory.used": row["memory_mb"] * 1048576.0, "cpu.used": row["cpus"] * 100.0} if node else {}
    return {
        **row,
        "node": node,
        "aliases": [
            {
                "name": tie.source.key.partition(":")[2],
                "kind": tie.source.key.partition(":")[0],
                "since": iso(tie.began),
            }
            for tie in ties(sources, cluster, "ALIAS_OF")
            if tie.source and tie.target and tie.target.key == host
        ],
        "port": port,
        "machine": machine(sources, cluster, host),
        "history": jobs_on(sources, cluster, host),
        "findings": node_findings(sources, row, began(sources, cluster)) + port_findings(port),
        "panels": [
            panel for panel in panels_of(
                {"Node", "Host"} if node else {"Host"}, "operator", {"cluster": cluster, "host": host}, limits
            )
            # What a host cannot have is left out: containers tell nothing of disks, a machine may have no adapter.
            if (disks or panel["title"] != "Disks") and (node or port or panel["domain"] != "infiniband")
        ],
    }
