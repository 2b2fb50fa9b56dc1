"""Facts as what is to be written into a Neo4j database: of changes, and of all facts where it differs from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qnib.inventory.bolt import TAG, Bolt
from qnib.inventory.fact import Fact
from qnib.inventory.schema import Schema, instant, quoted, values
from qnib.inventory.store import Confirmed
from qnib.model import Ref, Scalar

Row = dict[str, Any]
Step = tuple[str, list[Row]]
"""A query that unwinds `$rows`, with `$graph` for the tag, and the rows."""
Tie = tuple[str, str, str, str | None]
"""Kind, both ends' uid and since: what a relation is known by."""

_MERGE = f"UNWIND $rows AS row MERGE (n:{TAG} {{uid: row.uid}})"
_NODE = "UNWIND $rows AS row MATCH (n) WHERE elementId(n) = row.id"
_ENDS = f"UNWIND $rows AS row MATCH (a:{TAG} {{uid: row.a}}), (b:{TAG} {{uid: row.b}})"
_TIE = "UNWIND $rows AS row MATCH ()-[r]->() WHERE elementId(r) = row.id"


def _new(kind: str) -> str:
    return f"{_ENDS} CREATE (a)-[r:{quoted(kind)}]->(b) SET r = row.props"


def _known(kind: str, then: str) -> str:
    return f"{_ENDS} MATCH (a)-[r:{quoted(kind)}]->(b) WHERE r.since = row.since AND r.qnib = $graph {then}"


def uid(graph: str, cluster: str, ref: Ref) -> str:
    """What a node is known by in the whole database."""
    return f"{graph}/{ref.kind}/{cluster}/{ref.key}"


class Steps:
    """Changed facts, collected into one query for all that are alike."""

    def __init__(self, graph: str, schema: Schema, confirmed: Confirmed) -> None:
        self.graph = graph
        self._schema = schema
        self._confirmed = confirmed
        self._gone: dict[str, list[Row]] = {}
        self._ends: dict[str, dict[str, Row]] = {}
        self._nodes: dict[str, list[Row]] = {}
        self._ties: dict[tuple[str, bool], list[Row]] = {}

    def put(self, fact: Fact, new: bool) -> None:
        """`new`: a relation that is not there yet; making one is quicker than looking whether it is there."""
        if fact.source is None or fact.target is None:
            self._nodes.setdefault(fact.kind, []).append(self.node(fact))
            return
        for end in (fact.source, fact.target):
            row = self.end(fact.cluster, end)
            self._ends.setdefault(end.kind, {})[row["uid"]] = row
        kind, a, b, since = self.tie(fact)
        row = {"a": a, "b": b, "since": since, "props": self.properties(fact)}
        self._ties.setdefault((kind, new), []).append(row)

    def forget(self, fact: Fact) -> None:
        """A relation that began at another time than was believed; of entities the beginning is only a property."""
        if fact.source is not None and fact.target is not None:
            kind, a, b, since = self.tie(fact)
            self._gone.setdefault(kind, []).append({"a": a, "b": b, "since": since})

    def all(self) -> list[Step]:
        steps = [(_known(kind, "DELETE r"), rows) for kind, rows in self._gone.items()]
        for kind, named in self._ends.items():
            steps.append((f"{_MERGE} ON CREATE SET n:{quoted(kind)}, n += row.props", [*named.values()]))
        steps += [(f"{_MERGE} SET n:{quoted(kind)}, n += row.props", rows) for kind, rows in self._nodes.items()]
        for (kind, new), rows in self._ties.items():
            steps.append((_new(kind) if new else _known(kind, "SET r += row.props"), rows))
        return steps

    def node(self, fact: Fact) -> Row:
        name = uid(self.graph, fact.cluster, fact.ref)
        return {"uid": name, "props": self.properties(fact)}

    def end(self, cluster: str, ref: Ref) -> Row:
        """Something that is only named by a relation."""
        return {
            "uid": uid(self.graph, cluster, ref), "props": {"key": ref.key, "cluster": cluster, "qnib": self.graph}
        }

    def tie(self, fact: Fact) -> Tie:
        a, b = (uid(self.graph, fact.cluster, end or Ref("", "")) for end in (fact.source, fact.target))
        return fact.kind, a, b, instant(fact.began)

    def properties(self, fact: Fact) -> dict[str, Scalar]:
        tables = self._schema.nodes if fact.form == "entity" else self._schema.relations
        return values(fact, tables[fact.kind], self._confirmed(fact)) | {"qnib": self.graph}


def differences(
    bolt: Bolt, graph: str, schema: Schema, facts: Iterable[Fact], confirmed: Confirmed
) -> Iterator[Step]:
    """What makes the database hold exactly these facts, whatever it holds now; the newest values of metrics aside.

    Kind by kind, since all at once would be a copy of the graph in memory.
    """
    told = Steps(graph, schema, confirmed)
    nodes: dict[str, list[Fact]] = {}
    ends: dict[str, set[tuple[str, Ref]]] = {}
    ties: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.source is None or fact.target is None:
            nodes.setdefault(fact.kind, []).append(fact)
            continue
        ties.setdefault(fact.kind, []).append(fact)
        for ref in (fact.source, fact.target):
            ends.setdefault(ref.kind, set()).add((fact.cluster, ref))
    ours = f"MATCH (n:{TAG}) WHERE n.qnib = $graph"
    gone = {"": [{"id": row[0]} for row in bolt.rows(f"{ours} AND n.uid IS NULL RETURN elementId(n)", graph=graph)]}
    kinds = bolt.rows(f"{ours} AND n.uid IS NOT NULL RETURN DISTINCT split(n.uid, '/')[1]", graph=graph)
    for kind in {*nodes, *ends, *(name for (name,) in kinds)}:
        newest = schema.newest.get(kind, {})
        missing, gone[kind] = _nodes(bolt, told, kind, nodes.get(kind, ()), ends.get(kind, ()), newest)
        yield f"{_MERGE} SET n = row.props, n.uid = row.uid, n:{quoted(kind)}", missing
    types = f"MATCH (:{TAG})-[r]->(:{TAG}) WHERE r.qnib = $graph RETURN DISTINCT type(r)"
    for kind in {*ties, *(name for (name,) in bolt.rows(types, graph=graph))}:
        new, changed, extra = _ties(bolt, told, kind, ties.get(kind, ()))
        yield _new(kind), new
        yield f"{_TIE} SET r = row.props", changed
        yield f"{_TIE} DELETE r", extra
    for kind, rows in gone.items():
        yield f"{_NODE} AND NOT (n)--() DELETE n", rows
        # Somebody has tied something of theirs to it: it stays for them, and is ours no more.
        labels = f"{TAG}:{quoted(kind)}" if kind else TAG
        yield f"{_NODE} SET n.qnib = NULL, n.uid = NULL REMOVE n:{labels}", rows


def _nodes(
    bolt: Bolt, told: Steps, kind: str, facts: Iterable[Fact], ends: Iterable[tuple[str, Ref]], newest: Iterable[str]
) -> tuple[list[Row], list[Row]]:
    """Nodes of a kind that are missing or other than they should be, and those that should not be."""
    wanted = {row["uid"]: _filled(row["props"]) for row in map(told.node, facts)}
    for cluster, ref in ends:
        row = told.end(cluster, ref)
        wanted.setdefault(row["uid"], row["props"])
    gone: list[Row] = []
    found = f"MATCH (n:{TAG}) WHERE n.uid STARTS WITH $own RETURN elementId(n), n.uid, labels(n), properties(n)"
    for number, name, labels, props in bolt.stream(found, own=f"{told.graph}/{kind}/"):
        there = {key: value for key, value in props.items() if key != "uid" and key not in newest}
        if name not in wanted:
            gone.append({"id": number})
        elif kind in labels and there == wanted[name]:
            del wanted[name]
    return [{"uid": name, "props": props} for name, props in wanted.items()], gone


def _ties(bolt: Bolt, told: Steps, kind: str, facts: Iterable[Fact]) -> tuple[list[Row], list[Row], list[Row]]:
    """Relations of a kind that are missing, other than they should be, and that should not be."""
    wanted = {told.tie(fact): fact for fact in facts}
    held: set[Tie] = set()
    changed: list[Row] = []
    extra: list[Row] = []
    found = (
        f"MATCH (a:{TAG})-[r:{quoted(kind)}]->(b:{TAG}) WHERE r.qnib = $graph "
        "RETURN elementId(r), a.uid, b.uid, properties(r)"
    )
    for number, a, b, props in bolt.stream(found, graph=told.graph):
        tie = kind, a, b, props.get("since")
        if tie not in wanted or tie in held:
            extra.append({"id": number})
            continue
        held.add(tie)
        if props != (right := _filled(told.properties(wanted[tie]))):
            changed.append({"id": number, "props": right})
    new = [
        {"a": tie[1], "b": tie[2], "props": told.properties(fact)} for tie, fact in wanted.items() if tie not in held
    ]
    return new, changed, extra


def _filled(props: Mapping[str, Any]) -> Row:
    return {name: value for name, value in props.items() if value is not None}
