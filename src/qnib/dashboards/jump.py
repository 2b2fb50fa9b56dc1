"""Jump to anything: what the box in the header finds while one types."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from qnib.context.known import Sources, things
from qnib.context.viewer import Viewer, may_see
from qnib.inventory.jobs import called
from qnib.model import Ref

KINDS = {
    "Node": "/node/{}",
    "Host": "/node/{}",
    "Job": "/job/{}",
    "Partition": "/nodes?partition={}",
    "User": "/jobs?user={}",
    "SW": "/fabric?show={}",
    "HCA": "/fabric?show={}",
    "PORT": "/fabric?show={}",
    "CABLE": "/fabric?show={}",
    "Rack": "/series?by=rack&of={}",
}
PAGES = {
    "Now": "/", "Jobs": "/jobs", "Nodes": "/nodes", "Fabric": "/fabric", "Events": "/events", "Sources": "/sources",
    "Series": "/series", "Graph": "/graph", "What changed": "/changes",
}  # fmt: skip
MOST = 12


def hits(sources: Sources, viewer: Viewer, cluster: str, text: str) -> list[dict[str, str]]:
    """At most `MOST` entities and pages whose name holds `text`; exact and leading matches first."""
    wanted = text.strip().lower()
    found: list[tuple[int, str, dict[str, str]]] = [
        (rank, name, {"kind": "Page", "key": name, "label": name, "detail": "", "url": url})
        for name, url in PAGES.items()
        if (rank := _rank(wanted, name.lower())) is not None
    ]
    nodes = things(sources, cluster, "Node")
    for kind, url in KINDS.items():
        if not _worth(kind, wanted):
            continue
        known = things(sources, cluster, kind)
        if kind == "Job" and wanted.isdigit():  # however long ago it ended
            known = {fact.key: fact for fact in called(sources.engine, cluster, wanted)} | known
        for key, fact in known.items():
            if kind == "Host" and key in nodes:
                continue  # found as a node
            label = f"{fact.properties.get('id')} {fact.properties.get('name')}" if kind == "Job" else key
            rank = _rank(wanted, label.lower())
            if rank is not None and may_see(viewer, cluster, Ref(kind, key)):
                found.append(
                    (
                        rank,
                        label,
                        {
                            "kind": kind,
                            "key": key,
                            "label": label,
                            "detail": _detail(kind, fact.properties),
                            "url": url.format(quote(key)),
                        },
                    )
                )
    found.sort(key=lambda hit: (hit[0], hit[1]))
    return [hit for _, _, hit in found[:MOST]]


def _worth(kind: str, wanted: str) -> bool:
    """Whether to look through a kind: of ports and cables there are very many, and nobody means them by one letter."""
    if kind == "PORT":
        return "/" in wanted
    return kind != "CABLE" or (len(wanted) > 3 and "/" not in wanted)


def _rank(wanted: str, name: str) -> int | None:
    if not wanted or wanted not in name:
        return None if wanted else 2
    return 0 if name == wanted else 1 if name.startswith(wanted) else 2


def _detail(kind: str, known: Any) -> str:
    if kind == "Job":
        return f"{known.get('user')}, {known.get('state')}"
    return str(known.get("state") or "")
