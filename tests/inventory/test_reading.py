"""What people may not ask of the graph."""

from __future__ import annotations

import pytest

from qnib.errors import NotAllowed, WrongUse
from qnib.inventory.reading import check_reading

WRITES = [
    "CREATE (:Host {uid: 'x'})", "MATCH (n) DELETE n", "match (n) detach delete n", "MATCH (n) SET n.key = 'x'",
    "MERGE (n:Host {uid: 'x'})", "MATCH (n)/**/REMOVE n.key", "DROP TABLE Host", "ALTER TABLE Host ADD x INT64",
    "COPY (MATCH (n) RETURN n.key) TO '/tmp/x.csv'", "COPY Host FROM '/etc/passwd'", "LOAD FROM '/etc/passwd' RETURN *",
    "MATCH (n) RETURN n UNION LOAD FROM '/etc/passwd' RETURN *", "INSTALL httpfs", "ATTACH 'x' AS y (dbtype postgres)",
    "CALL timeout=0", "CALL current_setting('x') RETURN *", "EXPORT DATABASE '/tmp/x'", "IMPORT DATABASE '/tmp/x'",
    "BEGIN TRANSACTION", "CHECKPOINT", "USE GRAPH x", "MATCH (n) RETURN 1; MATCH (m) DELETE m",
    "COMMENT ON TABLE x IS 'y'",
    "PROFILE CREATE (:Host {uid: 'x'})", "MATCH (n) //\nSET n.key = 'x'", "FOREACH (x IN [1] | CREATE (:Host))",
]  # fmt: skip
READS = [
    "MATCH (n:Host) RETURN n.name", " match (n) return n limit 1;", "UNWIND [1, 2] AS x RETURN x",
    "MATCH (n:Job) WHERE n.name = 'DROP TABLE x; DELETE' RETURN n.`set`", "RETURN {set: 1, create: 2} AS x",
    "MATCH (n:Job) WHERE n.comment CONTAINS \"SET\" RETURN n.delete // SET nothing", "CALL show_tables() RETURN *",
    "MATCH (n:`CREATE`)-[:`SET`]->(m) RETURN m", "EXPLAIN MATCH (n) RETURN n",
    "OPTIONAL MATCH (n:Host) RETURN count(n)",
    "MATCH (n:Set) RETURN $set",
]  # fmt: skip


@pytest.mark.parametrize("query", WRITES)
def test_refused(query: str) -> None:
    with pytest.raises((NotAllowed, WrongUse)):
        check_reading(query)


@pytest.mark.parametrize("query", READS)
def test_allowed(query: str) -> None:
    check_reading(query, {"set": 1})


def test_a_parameter_that_is_not_given_is_told() -> None:
    with pytest.raises(WrongUse, match="switch"):
        check_reading("MATCH (s:SW {name: $switch}) RETURN s", {"host": "x"})


@pytest.mark.parametrize("query", ["", "  ", "// only a comment", ";"])
def test_nothing_is_no_query(query: str) -> None:
    with pytest.raises(WrongUse):
        check_reading(query)
