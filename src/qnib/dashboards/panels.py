"""From what domains declare to what a page draws: panels of one entity for one audience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from qnib.domains import all_domains
from qnib.model import Audience, Domain, Metric, Panel


def panels_of(
    entities: set[str], audience: Audience, scope: Mapping[str, str], limits: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Panel specifications (`PanelSpec` of the UI) for these kinds of entity.

    `scope` are the query parameters that narrow a panel to this entity (cluster, job, host …); `limits` maps a
    metric's name to a line worth drawing, in the metric's unit.
    """
    found = [
        (panel.order, _spec(domain, panel, scope, limits or {}))
        for domain in all_domains()
        for panel in domain.panels
        if panel.entity in entities and audience in panel.audiences
    ]
    return [spec for _, spec in sorted(found, key=lambda pair: pair[0])]


def _spec(domain: Domain, panel: Panel, scope: Mapping[str, str], limits: Mapping[str, float]) -> dict[str, Any]:
    metric = _metric(domain, panel.metrics[0]) if panel.metrics else None
    if panel.kind in {"series", "heatmap", "stat"}:
        url = "/api/series?" + urlencode({**scope, "metric": ",".join(panel.metrics)})
    elif panel.kind in {"log", "timeline"}:
        url = "/api/events?" + urlencode({**scope, **event_query(panel)})
    elif panel.kind == "topology":
        url = "/api/fabric?" + urlencode(scope)
    else:
        url = "/api/table?" + urlencode({**scope, "panel": f"{domain.name}/{panel.title}"})
    return {
        "id": f"{domain.name}-{panel.title.lower().replace(' ', '-')}",
        "title": panel.title,
        "kind": panel.kind,
        "domain": domain.name,
        "url": url,
        "unit": panel.unit or (metric.unit if metric else ""),
        "source": metric.source if metric else domain.title,
        "description": metric.description if metric else "",
        "limit": next((limits[name] for name in panel.metrics if name in limits), None),
    }


def event_query(panel: Panel) -> dict[str, str]:
    """Parameters of a panel's event query, ``kind:kernel some words``; a log shows what is the entity's own."""
    wanted: dict[str, str] = {"own": "true"} if panel.kind == "log" else {}
    words = []
    for word in panel.events.split():
        name, colon, value = word.partition(":")
        if colon and name in {"kind", "lane", "app", "severity"}:
            wanted[name] = f"{value}.*" if name == "kind" and "." not in value else value
        elif "$key" not in word:  # the page's own entity: the scope says it already
            words.append(word)
    return {**wanted, **({"q": " ".join(words)} if words else {})}


def _metric(domain: Domain, name: str) -> Metric | None:
    own = next((metric for metric in domain.metrics if metric.name == name), None)
    return own or next((m for d in all_domains() for m in d.metrics if m.name == name), None)
