"""Questions about the fabric that people ask often. Plain Cypher, as LadybugDB and Neo4j both read it."""

from __future__ import annotations

from qnib.model import Question

QUESTIONS = (
    Question(
        "hosts_on_switch", "What hangs on this switch? (--param switch=NAME)",
        "MATCH (s:SW {cluster: $cluster, name: $switch})-[:HAS_PORT]->(p:PORT)-[l:LINK]-(q:PORT)<-[:HAS_PORT]-(d) "
        "WHERE l.until IS NULL "
        "RETURN p.number AS port, label(d) AS kind, d.name AS device, q.number AS device_port, l.width AS width, "
        "l.speed AS speed, l.since AS since ORDER BY port",
        ("port", "kind", "device", "device_port", "width", "speed", "since"),
    ),
    Question(
        "jobs_on_switch", "Which jobs run on hosts that hang on this switch? (--param switch=NAME)",
        "MATCH (s:SW {cluster: $cluster, name: $switch})-[:HAS_PORT]->(p:PORT)-[l:LINK]-(q:PORT)<-[:HAS_PORT]-(a:HCA)"
        "-[:BELONGS_TO]->(h:Host)<-[c:JOBCLIENT]-(j:Job) WHERE l.until IS NULL AND c.until IS NULL "
        "RETURN DISTINCT j.id AS job, j.name AS name, j.user AS user, h.name AS host, p.number AS port "
        "ORDER BY job, host",
        ("job", "name", "user", "host", "port"),
    ),
    Question(
        "history_of_cables", "Which cable joined which ports, and when?",
        "MATCH (c:CONNECTION)-[:USES]->(k:CABLE) WHERE c.cluster = $cluster "
        "RETURN k.name AS cable, k.identity AS identity, c.a AS a, c.b AS b, c.since AS since, c.until AS until "
        "ORDER BY cable, since",
        ("cable", "identity", "a", "b", "since", "until"),
    ),
)
