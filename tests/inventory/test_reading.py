"""What people may not ask of the graph, whichever database it is in."""

from __future__ import annotations

import pytest

from qnib.errors import NotAllowed, WrongUse
from qnib.inventory.reading import KUZU_CALLS, NEO4J_CALLS, check_reading

CALLS = {"kuzu": KUZU_CALLS, "neo4j": NEO4J_CALLS}

WRITES = [
    "CREATE (:Host {uid: 'x'})", "MATCH (n) DELETE n", "match (n) detach delete n", "MATCH (n) SET n.key = 'x'",
    "MERGE (n:Host {uid: 'x'})", "MATCH (n)/**/REMOVE n.key", "DROP TABLE Host", "ALTER TABLE Host ADD x INT64",
    "COPY (MATCH (n) RETURN n.key) TO '/tmp/x.csv'", "COPY Host FROM '/etc/passwd'", "LOAD FROM '/etc/passwd' RETURN *",
    "MATCH (n) RETURN n UNION LOAD FROM '/etc/passwd' RETURN *", "INSTALL httpfs", "ATTACH 'x' AS y (dbtype postgres)",
    "CALL timeout=0", "CALL current_setting('x') RETURN *", "EXPORT DATABASE '/tmp/x'", "IMPORT DATABASE '/tmp/x'",
    "BEGIN TRANSACTION", "CHECKPOINT", "USE GRAPH x", "MATCH (n) RETURN 1; MATCH (m) DELETE m",
    "COMMENT ON TABLE x IS 'y'",
    "LOAD CSV FROM 'file:///etc/passwd' AS l RETURN l", "L\\u004fAD CSV FROM 'file:///etc/passwd' AS l RETURN l",
    "RETURN 1 AS a // x\rLOAD CSV FROM 'file:///etc/passwd' AS l RETURN l", "INSERT (:Host)", "SHOW USERS",
    "MATCH (n) RETURN '\\u0027 AS x //' LOAD CSV FROM 'http://x' AS l RETURN l", "SHOW SETTINGS YIELD name",
    "TERMINATE TRANSACTION 'neo4j-transaction-1'", "CALL dbms.listConfig()", "CALL `dbms`.`listConfig`()",
    "CALL dbms . listConfig()", "CALL db.clearQueryCaches()", "CALL `x` ()", "CALL\ndbms.killConnections(['x'])",
    "CALL { CREATE (:X) } IN TRANSACTIONS", "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 9 ROWS",
    "USE system MATCH (n) RETURN n", "RETURN apoc.load.json('x')", "RETURN apoc . `cypher`.run('x')",
    "RETURN `apoc`.`x`('y')", "RETURN `apoc.x`('y')", "CYPHER runtime=slotted MATCH (n) RETURN n",
    "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'b'",
    "PROFILE CREATE (:Host {uid: 'x'})", "MATCH (n) //\nSET n.key = 'x'", "FOREACH (x IN [1] | CREATE (:Host))",
]  # fmt: skip
READS = [
    "MATCH (n:Host) RETURN n.name", " match (n) return n limit 1;", "UNWIND [1, 2] AS x RETURN x",
    "MATCH (n:Job) WHERE n.name = 'DROP TABLE x; DELETE' RETURN n.`set`", "RETURN {set: 1, create: 2} AS x",
    "MATCH (n:Job) WHERE n.comment CONTAINS \"SET\" RETURN n.delete // SET nothing",
    "MATCH (n:`CREATE`)-[:`SET`]->(m) RETURN m", "EXPLAIN MATCH (n) RETURN n",
    "OPTIONAL MATCH (n:Host) RETURN count(n)",
    "MATCH (n:Set) RETURN $set", "MATCH (n) WHERE /* these */ (n)-[:X]->() AND n.at > date('2026-01-01') RETURN n",
    "RETURN duration.between(date('2026-01-01'), date('2026-01-02')) AS d", "MATCH (n:CALL)-[:CALL]->(m) RETURN n.call",
    "MATCH (h:Host) WHERE EXISTS { MATCH (h)-[:IS]-() } RETURN COUNT { (h)--() }",
]  # fmt: skip


@pytest.mark.parametrize("database", CALLS)
@pytest.mark.parametrize("query", WRITES)
def test_refused(query: str, database: str) -> None:
    with pytest.raises((NotAllowed, WrongUse)):
        check_reading(query, (), CALLS[database])


@pytest.mark.parametrize("database", CALLS)
@pytest.mark.parametrize("query", READS)
def test_allowed(query: str, database: str) -> None:
    check_reading(query, {"set": 1}, CALLS[database])


@pytest.mark.parametrize(
    ("database", "query"),
    [
        ("kuzu", "CALL show_tables() RETURN *"), ("neo4j", "CALL db.labels()"),
        ("neo4j", "CALL db.schema.nodeTypeProperties() YIELD nodeType RETURN nodeType"),
        ("neo4j", "MATCH (h:Host) CALL (h) { MATCH (h)--(n) RETURN n LIMIT 1 } RETURN n"),
        ("neo4j", "CALL { MATCH (h:Host) RETURN h } RETURN h"),
    ],
)  # fmt: skip
def test_what_one_database_has(database: str, query: str) -> None:
    check_reading(query, (), CALLS[database])
    if "_" in query or "db." in query:
        with pytest.raises(NotAllowed):
            check_reading(query, (), CALLS["neo4j" if database == "kuzu" else "kuzu"])


def test_a_parameter_that_is_not_given_is_told() -> None:
    with pytest.raises(WrongUse, match="switch"):
        check_reading("MATCH (s:SW {name: $switch}) RETURN s", {"host": "x"})


@pytest.mark.parametrize("query", ["", "  ", "// only a comment", ";"])
def test_nothing_is_no_query(query: str) -> None:
    with pytest.raises(WrongUse):
        check_reading(query)
