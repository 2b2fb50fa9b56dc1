"""Findings: what the domains' checks say about an entity, given what is known around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qnib.context.known import Sources
from qnib.domains import all_domains
from qnib.model import Finding, Ref


def findings_about(sources: Sources, cluster: str, about: Ref, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Findings about one entity, worst first. `row` is what its page already says of it."""
    return run_checks(about.kind, {"cluster": cluster, "about": str(about), **row})


def run_checks(entity: str, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every domain's checks for this kind of entity over the same facts."""
    rank = {"critical": 0, "warn": 1, "unknown": 2, "fine": 3}
    found = [
        finding
        for domain in all_domains()
        for check in domain.checks
        if check.entity == entity
        for finding in check.find(known)
    ]
    return [as_row(finding) for finding in sorted(found, key=lambda one: rank[one.severity])]


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
