"""Questions about jobs that people ask often. Plain Cypher, as LadybugDB and Neo4j both read it."""

from __future__ import annotations

from qnib.model import Question

QUESTIONS = (
    Question(
        "failed_jobs_sharing_a_node", "Which failed jobs ran on the same host?",
        "MATCH (a:Job)-[x:JOBCLIENT]->(h:Host)<-[y:JOBCLIENT]-(b:Job) "
        "WHERE h.cluster = $cluster AND a.key < b.key "
        "AND a.state IN ['FAILED', 'NODE_FAIL', 'OUT_OF_MEMORY', 'TIMEOUT', 'BOOT_FAIL'] "
        "AND b.state IN ['FAILED', 'NODE_FAIL', 'OUT_OF_MEMORY', 'TIMEOUT', 'BOOT_FAIL'] "
        "RETURN DISTINCT h.name AS host, a.id AS job, a.name AS name, a.state AS state, a.`end` AS ended, "
        "b.id AS other_job, b.name AS other_name, b.state AS other_state, b.`end` AS other_ended "
        "ORDER BY host, ended DESC, job, other_job",
        ("host", "job", "name", "state", "ended", "other_job", "other_name", "other_state", "other_ended"),
    ),
    Question(
        "jobs_on_node", "Which jobs had an allocation on this host? (--param host=NAME)",
        "MATCH (j:Job)-[c:JOBCLIENT]->(h:Host {cluster: $cluster, name: $host}) "
        "RETURN j.id AS job, j.name AS name, j.user AS user, j.state AS state, c.since AS since, c.until AS until, "
        "c.cpus AS cpus ORDER BY since DESC",
        ("job", "name", "user", "state", "since", "until", "cpus"),
    ),
    Question(
        "who_uses_what", "Who holds how much of the cluster now?",
        "MATCH (u:User)-[:SUBMITTED]->(j:Job)-[c:JOBCLIENT]->(h:Host) "
        "WHERE j.cluster = $cluster AND c.until IS NULL "
        "RETURN u.name AS user, count(DISTINCT j.key) AS jobs, count(DISTINCT h.key) AS hosts, sum(c.cpus) AS cpus "
        "ORDER BY cpus DESC, user",
        ("user", "jobs", "hosts", "cpus"),
    ),
)
