"""One part of the fabric read closely: a switch, an adapter, a port, a link or a cable; what it was joined with, and
whose jobs go through it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from qnib.context.known import Sources, iso
from qnib.dashboards.fabric.folding import node_set
from qnib.dashboards.fabric.layers import Layers, layers
from qnib.dashboards.fabric.layers import ends as ends_of
from qnib.dashboards.fabric.links import link_row, weigh, worst_first
from qnib.dashboards.panels import panels_of
from qnib.domains.paths import natural, segment
from qnib.engine import DATABASE
from qnib.errors import NotFound
from qnib.inventory.fabric import Link
from qnib.inventory.facts import Fact
from qnib.inventory.net import Nets
from qnib.inventory.sharing import sharing
from qnib.inventory.spans import connections_of, overlapping
from qnib.model import Ref

MOST_HISTORY = 100
_EPOCH = datetime.fromtimestamp(0, UTC)
_WORDS = {"SW": "switch", "HCA": "adapter", "PORT": "port", "CONNECTION": "link", "CABLE": "cable"}
_QUIET = ("name", "number", "node", "a", "b", "width", "speed", "maybe", "inferred", "could_width", "could_speed")
"""Properties that are told elsewhere on the page, or are of no use to a reader."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a name means. `ends`: the ports it is about; none of a switch."""

    ref: Ref
    fact: Fact | None
    ends: tuple[str, ...] = ()
    links: list[Link] = field(default_factory=list)


def fabric_part(
    sources: Sources, nets: Nets, cluster: str, name: str, at: datetime | None = None
) -> dict[str, Any]:
    """The UI's `FabricPart`: of `SW1`, `SW1/3`, `SW1/3--compute2/1`, a cable's name, a host, or any reference to one.

    Raises NotFound for a name that no part of the fabric has or had.
    """
    known = layers(sources, cluster, at)
    found = _find(sources, cluster, known, name, at)
    weights = weigh(sources, cluster, at)
    history = _history(sources, cluster, found, at)
    links = worst_first(found.links, weights)
    up = [link.name for link in links if link.up]
    kind, key = found.ref.kind, found.ref.key
    ends = found.ends or (_last_ends(history) if kind in ("CABLE", "CONNECTION") else ())
    return {
        "kind": _WORDS[kind], "name": key if kind != "CONNECTION" else "--".join(ends), "ref": str(found.ref),
        "at": (at or sources.clock.now()).isoformat(), "ports": list(ends), "about": _about(found.fact),
        "hosts": node_set(tuple(_hosts(known, key))) if kind == "SW" and known.below.get(key) else "",
        "host": known.found.host_of.get(key) if kind == "HCA" else None,
        "links": [link_row(link, weights) for link in links], "history": history[:MOST_HISTORY],
        "jobs": sharing(nets, cluster, up, at) if up else [], "panels": _panels(sources, cluster, found.ref, ends),
        "events": str(Ref("PORT", ends[0])) if kind == "CONNECTION" else str(found.ref),
    }  # fmt: skip


# ── what a name means ─────────────────────────────────────────────────────────────────────────


def _find(sources: Sources, cluster: str, known: Layers, name: str, at: datetime | None) -> Found:
    kind, colon, key = name.partition(":")
    if colon and kind in {*_WORDS, "Host"}:
        name = key
    adapters = known.adapters_of.get(name, [])
    for device in (name, *adapters):
        for word, there in (("SW", known.found.switches), ("HCA", known.found.adapters)):
            if device in there:
                links = [link for link in known.links if device in (link.a, link.b)]
                ends = tuple(_own(link, device) for link in links) if word == "HCA" else ()
                return Found(Ref(word, device), _last(sources, cluster, word, device, at), ends[:2], links)
    for find in (_connection, _port, _cable):
        if (found := find(sources, cluster, known, name, at)) is not None:
            return found
    for word in ("SW", "HCA"):
        if (fact := _last(sources, cluster, word, name, at)) is not None:  # it was there once
            return Found(Ref(word, name), fact)
    raise NotFound(
        f"No part of the fabric is called {name!r}.", where=f"cluster {cluster}" + (f" at {at}" if at else ""),
        try_next="name a switch, an adapter or its host, a port like SW1/3, or a cable; `qnib fabric links` has them.",
    )


def _own(link: Link, device: str) -> str:
    return f"{link.a}/{link.a_port}" if link.a == device else f"{link.b}/{link.b_port}"


def _connection(sources: Sources, cluster: str, known: Layers, name: str, at: datetime | None) -> Found | None:
    plain = re.sub(r"@\d+$", "", name)
    if "--" not in plain:
        return None
    links = [link for link in known.links if link.name == plain]
    if links:
        return Found(Ref("CONNECTION", links[0].fact.key), links[0].fact, ends_of(links[0]), links[:1])
    fact = _last(sources, cluster, "CONNECTION", name, at)
    ends = (str(fact.properties.get("a")), str(fact.properties.get("b"))) if fact else ()
    return Found(Ref("CONNECTION", fact.key), fact, ends) if fact else None


def _port(sources: Sources, cluster: str, known: Layers, name: str, at: datetime | None) -> Found | None:
    if not re.search(r"/\d+$", name):
        return None
    fact = _last(sources, cluster, "PORT", name, at)
    links = [link for link in known.links if name in ends_of(link)]
    if fact is None and not links:
        return None
    ends = sorted(ends_of(links[0]), key=lambda end: end != name) if links else [name]
    return Found(Ref("PORT", name), fact, tuple(ends), links[:1])


def _cable(sources: Sources, cluster: str, known: Layers, name: str, at: datetime | None) -> Found | None:
    fact = _last(sources, cluster, "CABLE", name, at)
    if fact is None:
        return None
    links = [link for link in known.links if link.cable == name]
    return Found(Ref("CABLE", name), fact, ends_of(links[0]) if links else (), links[:1])


def _last(sources: Sources, cluster: str, kind: str, key: str, at: datetime | None) -> Fact | None:
    """The entity as it was last known at a time."""
    until = at or sources.clock.now()
    told = overlapping(
        sources.engine, cluster, kind, _EPOCH, until, where="form = 'entity' AND key = {key:String}",
        params={"key": key},
    )
    return told[-1] if told else None


# ── what there is to say ──────────────────────────────────────────────────────────────────────


def _about(fact: Fact | None) -> dict[str, str]:
    known: Mapping[str, Any] = fact.properties if fact else {}
    could = " ".join(str(known[name]) for name in ("could_width", "could_speed") if known.get(name))
    told = {name: str(value) for name, value in known.items() if value not in (None, "") and name not in _QUIET}
    return {"could run at": could, **told} if could else told


def _hosts(known: Layers, switch: str) -> Sequence[str]:
    own = {known.found.host_of.get(adapter, adapter) for adapter in known.below.get(switch, ())}
    return sorted(own, key=natural)


def _history(sources: Sources, cluster: str, found: Found, at: datetime | None) -> list[dict[str, Any]]:
    """Connections of the part's ports, or those a cable made, the newest first, with their intervals."""
    until = at or sources.clock.now()
    if found.ref.kind == "CABLE":
        ties = overlapping(
            sources.engine, cluster, "USES", _EPOCH, until, where="target_key = {cable:String}",
            params={"cable": found.ref.key},
        )
        keys = [tie.source.key for tie in ties if tie.source]
        facts = overlapping(
            sources.engine, cluster, "CONNECTION", _EPOCH, until, where="key IN {keys:Array(String)}",
            params={"keys": keys},
        )
    elif found.ref.kind in ("SW", "HCA"):
        ends = " OR ".join(f"startsWith(JSONExtractString(properties, '{end}'), {{prefix:String}})" for end in "ab")
        facts = overlapping(
            sources.engine, cluster, "CONNECTION", _EPOCH, until, where=ends, params={"prefix": f"{found.ref.key}/"}
        )
    else:
        facts = connections_of(sources.engine, cluster, found.ends, _EPOCH, until)
    cables = _cables(sources, cluster, [fact.key for fact in facts], until)
    rows = [
        {
            "connection": fact.key, "a": str(fact.properties.get("a")), "b": str(fact.properties.get("b")),
            "cable": cables.get(fact.key, ""), "began": iso(fact.began),
            "until": iso(fact.until) if fact.until and fact.until <= until else None,
        }
        for fact in facts
    ]  # fmt: skip
    return rows[::-1]


def _cables(sources: Sources, cluster: str, connections: Sequence[str], until: datetime) -> dict[str, str]:
    ties = overlapping(
        sources.engine, cluster, "USES", _EPOCH, until, where="source_key IN {keys:Array(String)}",
        params={"keys": list(connections)},
    )
    return {tie.source.key: tie.target.key for tie in ties if tie.source and tie.target}


def _last_ends(history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Of a cable that is not plugged: where it was last."""
    return (str(history[0]["a"]), str(history[0]["b"])) if history else ()


def _panels(sources: Sources, cluster: str, ref: Ref, ends: Sequence[str]) -> list[dict[str, Any]]:
    """Charts of a switch's ports together, or of each port that a part is about: those whose counters were ever read,
    of the first one in any case."""
    if ref.kind == "SW":
        return panels_of({"SW"}, "operator", {"cluster": cluster, "host": ref.key})
    places = [(segment(device), number) for end in ends for device, _, number in [end.rpartition("/")]]
    rows = sources.engine.rows(
        f"SELECT DISTINCT tags['node'] AS node, tags['port'] AS port FROM {DATABASE}.series"
        " WHERE cluster = {cluster:String} AND tags['node'] IN {nodes:Array(String)}",
        {"cluster": cluster, "nodes": [node for node, _ in places]},
    )
    read = {(row["node"], row["port"]) for row in rows}
    told = [end for end, place in zip(ends, places, strict=True) if place in read] or ends[:1]
    return [
        {**spec, "id": f"{spec['id']}-{port}", "title": f"{spec['title']} at {port}"}
        for port in told for spec in panels_of({"PORT"}, "operator", {"cluster": cluster, "port": port})
    ]
