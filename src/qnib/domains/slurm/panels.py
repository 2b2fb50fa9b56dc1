"""What to show of jobs and nodes."""

from __future__ import annotations

from qnib.model import Panel

PANELS = (
    Panel("CPU of the job's tasks", "series", "Job", metrics=("job.cpu",), unit="%", order=5),
    Panel("Memory of the job's tasks", "series", "Job", metrics=("job.memory",), unit="B", order=15),
    Panel("Events", "timeline", "Job", events="job:$key", order=1),
    Panel("Log", "log", "Job", events="job:$key", order=90),
    Panel("Jobs here", "table", "Node", order=50, columns=("job", "user", "state", "since", "until"), query=(
        "MATCH (j:Job)-[c:JOBCLIENT]->(h:Host)<-[:IS]-(n:Node {cluster: $cluster, key: $key}) "
        "RETURN j.key AS job, j.user AS user, j.state AS state, c.since AS since, c.until AS until "
        "ORDER BY since DESC LIMIT 50"
    )),
    Panel("Nodes", "table", "Partition", audiences=("operator", "manager"), order=20,
          columns=("node", "state", "reason"), query=(
        "MATCH (n:Node)-[r:PART_OF]->(p:Partition {cluster: $cluster, key: $key}) WHERE r.until IS NULL "
        "RETURN n.name AS node, n.state AS state, n.reason AS reason ORDER BY node"
    )),
)
