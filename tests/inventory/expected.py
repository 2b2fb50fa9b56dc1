"""What a graph has to hold, worked out from the facts without any of the code that makes graphs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from qnib.inventory.fact import Fact
from qnib.inventory.facts import Facts
from qnib.inventory.graph import KEEP, Graph


def _at(time: datetime | None) -> str | None:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if time else None


def _told(fact: Fact) -> list[tuple[str, Any]]:
    told = {**fact.properties, "cluster": fact.cluster, "since": _at(fact.began), "until": _at(fact.until)}
    return sorted((name, value) for name, value in told.items() if value is not None)


def expected(facts: Facts) -> list[str]:
    """As `content` tells of a graph. Properties have to be of the types that were declared of them."""
    known = facts.everything(facts.now() - KEEP)
    nodes = {(fact.kind, fact.cluster, fact.key): _told(fact) for fact in known if fact.form == "entity"}
    ties = [fact for fact in known if fact.source and fact.target]
    for fact in ties:
        for end in (fact.source, fact.target):
            if end:
                nodes.setdefault((end.kind, fact.cluster, end.key), [("cluster", fact.cluster)])
    found: list[Any] = [sorted([*told, ("key", key), ("label", kind)]) for (kind, _, key), told in nodes.items()]
    for fact in ties:
        told = sorted([*_told(fact), ("label", fact.kind)])
        found.append([fact.kind, fact.source and fact.source.key, fact.target and fact.target.key, told])
    return sorted(map(str, found))


def content(graph: Graph) -> list[str]:
    """All that a graph holds, in an order of its own; but not when it was confirmed, which moves by itself."""

    def told(thing: dict[str, Any]) -> list[Any]:
        return sorted((name, value) for name, value in thing.items() if name != "confirmed" and name[0] != "@")

    # Kind by kind: of several at once Kuzu makes a property one type, for example text of numbers.
    kinds = {row[0]["label"] for row in graph.cypher("MATCH (n) RETURN n").rows} - {"QNIB_GRAPH"}
    types = {row[0] for row in graph.cypher("MATCH (a)-[r]->(b) RETURN DISTINCT type(r)").rows}
    nodes = [told(row[0]) for kind in kinds for row in graph.cypher(f"MATCH (n:`{kind}`) RETURN n").rows]
    ties = [
        [*row[:3], told(row[3])] for kind in types
        for row in graph.cypher(f"MATCH (a)-[r:`{kind}`]->(b) RETURN type(r), a.key, b.key, r").rows
    ]  # fmt: skip
    return sorted(map(str, [*nodes, *ties]))
