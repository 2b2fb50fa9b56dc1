"""Writes an event when two sources begin to contradict each other about a fact, and when they agree again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qnib.alerting.watch import LANES, Publish, Watch
from qnib.context.known import Sources
from qnib.inventory.contradictions import MADE_OF, Contradiction, allocation_contradictions, contradictions

SURE = 2
"""Looks in a row that must find it: sources are read one after another, and one of them is always the first to know."""
_PART = "|"


class Disagreements(Watch):
    """As `Watch`: one event for each contradiction, with all things it is about, and one when it is over."""

    kinds, over = "fact.%", "fact.agreed"

    def __init__(self, sources: Sources, publish: Publish | None = None) -> None:
        super().__init__(sources, publish, self._all)
        self._seen: dict[str, dict[tuple[str, str], int]] = {}
        self._kept: dict[str, tuple[object, list[Contradiction]]] = {}

    def _all(self, sources: Sources, cluster: str) -> list[dict[str, Any]]:
        versions = sources.facts.versions(cluster, *MADE_OF)  # before they are looked at
        if (kept := self._kept.get(cluster)) is None or kept[0] != versions:
            kept = self._kept[cluster] = versions, contradictions(sources.facts, cluster)
        found = [*kept[1], *allocation_contradictions(sources.engine, sources.facts, cluster)]
        rows = [
            {
                "name": one.what, "about": _PART.join(map(str, one.about)), "sentence": one.sentence,
                "advice": one.advice, "severity": "warn",
            }
            for one in found
        ]
        before = self._seen.get(cluster, {})
        now = {(row["name"], row["about"]): before.get((row["name"], row["about"]), 0) + 1 for row in rows}
        self._seen[cluster] = now
        known = self._open.get(cluster, {})
        return [row for row in rows if (key := (row["name"], row["about"])) in known or now[key] >= SURE]

    def _begun(self, finding: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        return {
            **_row(finding["name"], finding["about"], now), "kind": "fact.contradiction", "severity": "warning",
            "message": finding["sentence"], "hint": finding["advice"],
        }

    def _over(self, key: tuple[str, str], now: datetime) -> dict[str, Any]:
        name, about = key
        things = ", ".join(ref.partition(":")[2] for ref in about.split(_PART))
        return {
            **_row(name, about, now), "kind": self.over, "severity": "notice", "hint": "",
            "message": f"the sources agree again about the {name} of {things}",
        }


def _row(name: str, about: str, now: datetime) -> dict[str, Any]:
    refs = about.split(_PART)
    hosts = [ref.partition(":")[2] for ref in refs if ref.startswith("Host:")]
    return {
        "time": now, "entities": refs, "host": hosts[0] if len(hosts) == 1 else "",
        "lane": LANES.get(refs[0].partition(":")[0], "other"), "fields": {"finding": name, "about": about},
    }
