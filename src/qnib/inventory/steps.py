"""Facts as what is to be written into a Neo4j database: of changes, and of all facts where it differs from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
_NODE = f"UNWIND $rows AS row MATCH (n:{TAG} {{uid: row.uid}})"
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
        self._graph = graph
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
        name = uid(self._graph, fact.cluster, fact.ref)
        return {"uid": name, "props": self.properties(fact)}

    def end(self, cluster: str, ref: Ref) -> Row:
        """Something that is only named by a relation."""
        return {
            "uid": uid(self._graph, cluster, ref), "props": {"key": ref.key, "cluster": cluster, "qnib": self._graph}
        }

    def tie(self, fact: Fact) -> Tie:
        a, b = (uid(self._graph, fact.cluster, end or Ref("", "")) for end in (fact.source, fact.target))
        return fact.kind, a, b, instant(fact.began)

    def properties(self, fact: Fact) -> dict[str, Scalar]:
        tables = self._schema.nodes if fact.form == "entity" else self._schema.relations
        return values(fact, tables[fact.kind], self._confirmed(fact)) | {"qnib": self._graph}


def differences(
    bolt: Bolt, graph: str, schema: Schema, facts: Iterable[Fact], confirmed: Confirmed
) -> list[Step]:
    """What makes the database hold exactly these facts, whatever it holds now; the newest values of metrics aside."""
    nodes, ties = _wanted(Steps(graph, schema, confirmed), facts)
    gone: dict[str, list[Row]] = {}
    found = f"MATCH (n:{TAG}) WHERE n.qnib = $graph RETURN n.uid, labels(n), properties(n)"
    for name, labels, props in bolt.stream(found, graph=graph):
        kind, there = name.split("/", 2)[1], {key: value for key, value in props.items() if key != "uid"}
        for column in schema.newest.get(kind, ()):
            there.pop(column, None)
        wanted = nodes.get(kind, {})
        if name not in wanted:
            gone.setdefault(kind, []).append({"uid": name})
        elif kind in labels and there == wanted[name]:
            del wanted[name]
    known: list[Row] = []
    extra: list[Row] = []
    held: set[Tie] = set()
    found = f"MATCH (a:{TAG})-[r]->(b:{TAG}) WHERE r.qnib = $graph RETURN elementId(r), type(r), a.uid, b.uid, r{{.*}}"
    for number, kind, a, b, props in bolt.stream(found, graph=graph):
        tie = kind, a, b, props.get("since")
        if tie not in ties or tie in held:
            extra.append({"id": number})
            continue
        held.add(tie)
        if props != ties[tie]:
            known.append({"id": number, "props": ties[tie]})
    new: dict[str, list[Row]] = {}
    for (kind, a, b, since), props in ties.items():
        if (kind, a, b, since) not in held:
            new.setdefault(kind, []).append({"a": a, "b": b, "props": props})
    return _made(nodes, new, known, extra, gone)


def _wanted(told: Steps, facts: Iterable[Fact]) -> tuple[dict[str, dict[str, Row]], dict[Tie, Row]]:
    """Properties that are not null: of nodes by kind and uid, of relations by what they are known by."""
    nodes: dict[str, dict[str, Row]] = {}
    ends: dict[str, dict[str, Row]] = {}
    ties: dict[Tie, Row] = {}
    for fact in facts:
        if fact.source is None or fact.target is None:
            row = told.node(fact)
            nodes.setdefault(fact.kind, {})[row["uid"]] = _filled(row["props"])
            continue
        ties[told.tie(fact)] = _filled(told.properties(fact))
        for ref in (fact.source, fact.target):
            row = told.end(fact.cluster, ref)
            ends.setdefault(ref.kind, {})[row["uid"]] = row["props"]
    for kind, named in ends.items():
        nodes[kind] = named | nodes.get(kind, {})
    return nodes, ties


def _filled(props: Mapping[str, Any]) -> Row:
    return {name: value for name, value in props.items() if value is not None}


def _made(
    nodes: Mapping[str, Mapping[str, Row]], new: Mapping[str, list[Row]], known: list[Row], extra: list[Row],
    gone: Mapping[str, list[Row]],
) -> list[Step]:
    steps: list[Step] = [
        (
            f"{_MERGE} SET n = row.props, n.uid = row.uid, n:{quoted(kind)}",
            [{"uid": name, "props": props} for name, props in rows.items()],
        )
        for kind, rows in nodes.items()
    ]
    steps += [(_new(kind), rows) for kind, rows in new.items()]
    steps += [(f"{_TIE} SET r = row.props", known), (f"{_TIE} DELETE r", extra)]
    for kind, rows in gone.items():
        steps.append((f"{_NODE} WHERE NOT (n)--() DELETE n", rows))
        # Somebody has tied something of theirs to it: it stays for them, and is ours no more.
        steps.append((f"{_NODE} SET n.qnib = NULL, n.uid = NULL REMOVE n:{TAG}:{quoted(kind)}", rows))
    return [(query, rows) for query, rows in steps if rows]
