"""Findings: what the domains' checks say about an entity, given what is known around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qnib import clusters
from qnib.context.known import Sources
from qnib.domains import all_domains
from qnib.model import Finding


def job_findings(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Findings about a job, from the row its page shows."""
    return run_checks("Job", row)


def began(sources: Sources, cluster: str) -> datetime | None:
    """When a cluster was started here; None for one that was only made known, or is not known any more."""
    known = clusters.find(sources.settings.clusters, cluster)
    return datetime.fromisoformat(known.created) if known and known.created else None


def node_findings(sources: Sources, row: Mapping[str, Any], since: datetime | None) -> list[dict[str, Any]]:
    """Findings about a node and the host it is, from the row its page shows. `since`: before it nobody could have
    been heard, as the cluster or the server had not begun: no host was silent then."""
    heard = datetime.fromisoformat(row["newest"]) if row["newest"] else None
    age = (sources.clock.now() - max(heard, since or heard)).total_seconds() if heard else None
    host = {
        "host": row["name"], "age": age, "memory.used": row["memory_used"], "memory.limit": row["memory_limit"],
        "disk.used": row["disk_used"], "disk.size": row["disk_size"],
    }
    return run_checks("Node", row) + run_checks("Host", host)


def port_findings(port: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Findings about the fabric port of a node (`NodePage.port`); none where it has none."""
    if port is None:
        return []
    facts = {"port": f"{port['switch']}/{port['switch_port']}", "link": port["state"], "peer": f"{port['hca']}/1"}
    return run_checks("PORT", facts)


def link_findings(links: Sequence[Mapping[str, Any]], grown: Mapping[str, float], window: int) -> list[dict[str, Any]]:
    """Findings about links: those that are down, and ports whose symbol errors grew within `window` seconds."""
    down: list[dict[str, Any]] = [
        {"port": f"{link['a']}/{link['a_port']}", "link": "down", "peer": f"{link['b']}/{link['b_port']}"}
        for link in links
        if link["state"] == "down"
    ]
    bad: list[dict[str, Any]] = [
        {"port": port, "symbol_error": errors, "window": window} for port, errors in grown.items() if errors > 0
    ]
    return [finding for facts in (*down, *bad) for finding in run_checks("PORT", facts)]


def run_checks(entity: str, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every domain's checks for this kind of entity over the same facts."""
    found = [
        finding
        for domain in all_domains()
        for check in domain.checks
        if check.entity == entity
        for finding in check.find(known)
    ]
    return worst_first([as_row(finding) for finding in found])


def worst_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings in the order in which they deserve a look."""
    rank = {"critical": 0, "warn": 1, "unknown": 2, "fine": 3}
    return sorted(found, key=lambda one: rank[one["severity"]])


def as_row(finding: Finding) -> dict[str, Any]:
    """A finding as the UI's `Finding`."""
    return {
        "name": finding.name,
        "severity": finding.severity,
        "sentence": finding.sentence,
        "advice": finding.advice,
        "evidence": list(finding.evidence),
        "about": str(finding.about) if finding.about else None,
    }
