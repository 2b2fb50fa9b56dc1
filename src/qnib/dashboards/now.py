"""The cluster at a glance: numbers counted once, the USE board, what changed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from qnib.context.known import Sources, fold, iso, things
from qnib.context.latest import newest, rates
from qnib.context.viewer import Viewer
from qnib.dashboards.fabric.found import fabric_findings
from qnib.dashboards.fabric.layers import layers
from qnib.dashboards.fabric.links import weigh
from qnib.dashboards.findings import began, node_findings, worst_first
from qnib.dashboards.jobs import job_row, jobs_now, with_progress
from qnib.dashboards.nodes import node_rows
from qnib.dashboards.words import Status, group_of
from qnib.monitoring import events

HOUR = timedelta(hours=1)
CHANGES = ("link.down", "link.up", "node.down", "node.up", "node.drain", "job.failed")


def now_page(sources: Sources, viewer: Viewer, cluster: str) -> dict[str, Any]:
    """The first page, as the UI's `Now`."""
    now = sources.clock.now()
    nodes = node_rows(sources, viewer, cluster)
    hour = now - HOUR
    known = jobs_now(sources, viewer, cluster, hour)
    jobs = [job_row(fact, now) for fact in known]
    running = [job for job in jobs if group_of(job["state"]) == "running"]
    pending = [job for job in jobs if group_of(job["state"]) == "pending"]
    ended = Counter(job["state"] for job in jobs if job["end"] and datetime.fromisoformat(job["end"]) >= hour)
    wires, found = _fabric(sources, cluster)
    since = began(sources, cluster)
    found += [finding for node in nodes for finding in node_findings(sources, node, since)]
    changes = events.search(
        sources.engine,
        cluster,
        now - timedelta(hours=6),
        now,
        kind=",".join(CHANGES),
        limit=12,
    )["events"]
    return {
        "cluster": cluster,
        "time": iso(now),
        "newest": iso(newest(sources, cluster)),
        "nodes": {"total": len(nodes), "by_state": dict(Counter(_plain(node["state"]) for node in nodes))},
        "cpus": {"total": sum(n["cpus"] for n in nodes), "allocated": sum(n["cpus_allocated"] for n in nodes)},
        "jobs": {"running": len(running), "pending": len(pending), "finished_last_hour": dict(ended)},
        "users": _users(running, pending),
        "fabric": wires,
        "partitions": _partitions(sources, cluster, nodes),
        "use": use_board(sources, cluster, nodes, jobs, wires, pending),
        "changes": changes,
        "running": with_progress(sources, cluster, known[: min(len(running), 20)]),
        "findings": worst_first(found)[:20],
    }


def _plain(state: str) -> str:
    """The base state without SLURM's flags."""
    return state.upper().replace("*", "").split("+")[0] or "UNKNOWN"


def _users(running: list[dict[str, Any]], pending: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = sorted({job["user"] for job in (*running, *pending)})
    rows = [
        {
            "name": name,
            "running": sum(job["user"] == name for job in running),
            "pending": sum(job["user"] == name for job in pending),
            "cpus": sum(job["cpus"] for job in running if job["user"] == name),
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: -row["cpus"])


def _partitions(sources: Sources, cluster: str, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name, fact in sorted(things(sources, cluster, "Partition").items()):
        members = [node["name"] for node in nodes if name in node["partitions"]]
        rows.append(
            {
                "name": name,
                "nodes": fold(members),
                "state": str(fact.properties.get("state") or ""),
                "total": len(members),
            }
        )
    return rows


def _fabric(sources: Sources, cluster: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The fabric in numbers, and what there is to find in it."""
    found = layers(sources, cluster).found
    weights = weigh(sources, cluster)
    numbers = {
        "hcas": len(found.adapters),
        "switches": len(found.switches),
        "links": len(found.links) + len(found.down),
        "links_down": len(found.down),
        "symbol_errors": int(sum(weights.errors.values())),
    }
    return numbers, fabric_findings(sources, cluster, weights=weights)


def use_board(
    sources: Sources,
    cluster: str,
    nodes: list[dict[str, Any]],
    jobs: list[dict[str, Any]],
    wires: dict[str, int],
    pending: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Errors, saturation, utilisation per resource; each cell names its worst offender."""
    down = [node for node in nodes if node["status"] == "critical"]
    busiest = max((n for n in nodes if n["cpu_percent"] is not None), key=lambda n: n["cpu_percent"], default=None)
    fullest = max(
        (n for n in nodes if n["memory_percent"] is not None), key=lambda n: n["memory_percent"], default=None
    )
    killed = [job for job in jobs if job["state"] == "OUT_OF_MEMORY"]
    waits = [row for row in rates(sources, cluster, ["ib.xmit_wait"]) if row["rate"] > 0]
    data = rates(sources, cluster, ["ib.xmit_data"])
    hot = max(data, key=lambda row: row["rate"], default=None)
    asked = sum(job["cpus"] for job in pending)
    total = sum(node["cpus"] for node in nodes)
    percent = [node["cpu_percent"] for node in nodes if node["cpu_percent"] is not None]
    memory = [node["memory_percent"] for node in nodes if node["memory_percent"] is not None]
    return [
        {
            "resource": "Nodes",
            "errors": cell(
                len(down), "down", bad=1, worst=fold(n["name"] for n in down) if down else "", link="/nodes"
            ),
            "saturation": cell(asked, "CPUs waited for", warn=max(1, total), worst=_head(pending), link="/jobs"),
            "utilisation": cell(_share(sum(n["cpus_allocated"] for n in nodes), total), "% allocated", link="/nodes"),
        },
        {
            "resource": "CPU",
            "errors": cell(None, "", note="no machine-check source in a container"),
            "saturation": cell(
                sum(value > 95 for value in percent), "nodes above 95 %", warn=max(1, len(nodes)), link="/nodes"
            ),
            "utilisation": cell(
                _mean(percent), "% used", worst=busiest["name"] if busiest else "", link=_node(busiest)
            ),
        },
        {
            "resource": "Memory",
            "errors": cell(len(killed), "jobs out of memory", bad=1, worst=_head(killed), link="/jobs"),
            "saturation": cell(sum(value > 90 for value in memory), "nodes above 90 %", warn=1, link="/nodes"),
            "utilisation": cell(_mean(memory), "% used", worst=fullest["name"] if fullest else "", link=_node(fullest)),
        },
        {
            "resource": "Fabric",
            "errors": cell(
                wires["links_down"] + wires["symbol_errors"], "links down, symbol errors", bad=1, link="/fabric"
            ),
            "saturation": cell(
                len(waits), "ports waiting to send", warn=1, worst=port_name(waits[0]) if waits else "", link="/fabric"
            ),
            "utilisation": cell(
                hot["rate"] * 4 if hot else None,
                "B/s on the busiest port",
                worst=port_name(hot) if hot else "",
                link="/fabric",
            ),
        },
    ]


def cell(
    value: float | None,
    unit: str,
    *,
    warn: float | None = None,
    bad: float | None = None,
    worst: str = "",
    note: str = "",
    link: str = "",
) -> dict[str, Any]:
    """One cell of the board; `warn` and `bad` are the values from which it looks so."""
    status: Status = "unknown" if value is None else "fine"
    if value is not None and warn is not None and value >= warn:
        status = "warn"
    if value is not None and bad is not None and value >= bad:
        status = "critical"
    return {"value": value, "unit": unit, "status": status, "worst": worst, "note": note, "link": link}


def _share(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _head(jobs: list[dict[str, Any]]) -> str:
    return f"{jobs[0]['id']} {jobs[0]['name']}" if jobs else ""


def _node(node: dict[str, Any] | None) -> str:
    return f"/node/{quote(node['name'])}" if node else "/nodes"


def port_name(row: dict[str, Any]) -> str:
    return f"{row['tags'].get('node', '')}/{row['tags'].get('port', '')}"
