"""What a query may mention without being given it: the cluster, moments of time, a job's way through the fabric."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from qnib.errors import WrongUse
from qnib.inventory.distance import ports_on_routes
from qnib.inventory.facts import Facts
from qnib.inventory.schema import instant
from qnib.model import Question

_AGO = {"now": timedelta(), "hour_ago": timedelta(hours=1), "day_ago": timedelta(days=1), "week_ago": timedelta(days=7)}
FILLED = ("cluster", *_AGO, "route_ports")
"""Names that are filled in where a query has them and nobody gave them."""
_NAMES = re.compile(r"\$([A-Za-z_]\w*)")


def bind(
    query: str, given: Mapping[str, Any], *, facts: Facts, cluster: str, at: datetime | None,
    question: Question | None = None,
) -> dict[str, Any]:
    """The parameters of `query`: those given (as the question's types), and those told by cluster and time.

    Raises WrongUse for $route_ports without a $job. What else is missing the graph itself refuses.
    """
    wanted = dict.fromkeys(_NAMES.findall(query))
    params: dict[str, Any] = dict(given)
    for told in question.params if question else ():
        if told.type == "int" and isinstance(params.get(told.name), str) and params[told.name].isdigit():
            params[told.name] = int(params[told.name])
        if told.type == "string" and isinstance(params.get(told.name), int):
            params[told.name] = str(params[told.name])
    moment = at or facts.now()
    fill: dict[str, Callable[[], Any]] = {name: lambda ago=ago: instant(moment - ago) for name, ago in _AGO.items()}  # type: ignore[misc]
    fill["cluster"] = lambda: cluster
    fill["route_ports"] = lambda: _route_ports(facts, cluster, params.get("job"), at)
    for name in wanted:
        if name not in params and name in fill:
            params[name] = fill[name]()
    for told in question.params if question else ():
        if told.name not in wanted:  # it only told what to fill in
            params.pop(told.name, None)
    return params


def _route_ports(facts: Facts, cluster: str, job: Any, at: datetime | None) -> list[str]:
    """Ports on the ways between the hosts of a job, by its id (of several the newest) or its key."""
    if job is None:
        raise WrongUse("$route_ports are those of a $job.", where="--param", try_next="give --param job=ID as well.")
    known = [f for f in facts.entities(cluster, "Job", at) if str(job) in (f.key, str(f.properties.get("id")))]
    if not known:
        return []
    key = max(known, key=lambda fact: fact.began).key
    ties = facts.relations(cluster, "JOBCLIENT", at)
    hosts = sorted({tie.target.key for tie in ties if tie.source and tie.target and tie.source.key == key})
    return ports_on_routes(facts, cluster, hosts, at)
