"""Which series are meant by host, partition, rack, job, metric and text: as SQL, as a target of `/render`, and when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources
from qnib.context.membership import Membership
from qnib.domains.paths import segment
from qnib.monitoring.graphite.views import SERIES, segments, whole
from qnib.monitoring.known import NOTED_SECONDS
from qnib.nodes import unfold

BY = {"partition": "by_partition", "rack": "by_rack", "job": "by_job"}
"""Groups of hosts, and the virtual root of each."""
MOST_HOSTS = 100_000
"""Of a node set."""
JOB = "job."
"""What the names of samples of jobs begin with."""
ANY = "^(?:[^.]*)$"
"""Any name of one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for; what is empty is not asked for. `hosts` is a node set or a glob, partition, rack and job are
    names or globs, `name` is a metric's name or a glob over the whole of it, `text` a part of a path or name."""

    hosts: str = ""
    partition: str = ""
    rack: str = ""
    job: str = ""
    name: str = ""
    text: str = ""


Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Host:
    """A chosen host."""

    name: str
    spans: Spans
    """Empty: always."""


EVERY = Host("", ())
"""Whoever is meant all the time."""


def hosts_of(
    sources: Sources, cluster: str, choice: Choice, start: datetime, end: datetime
) -> dict[str, Host] | None:
    """By the tag's value the hosts that are chosen; None: the choice says nothing of hosts."""
    tree = Membership(sources, cluster)
    found: dict[str, Host] | None = None
    if choice.hosts:
        wanted = _set(sources, cluster, choice.hosts)
        members = tree.members("by_host", "", wanted or whole(choice.hosts), start, end)
        found = {name: Host(member.host, ()) for member in members for name in member.names}
    for field, root in BY.items():
        if asked := getattr(choice, field):
            told: dict[str, Host] = {}
            for member in tree.members(root, whole(asked), ANY, start, end):
                for name in member.names:
                    told[name] = Host(member.host, (*told.get(name, EVERY).spans, *member.spans))
            if found is not None:
                both = told.keys() & found.keys()
                told = {name: Host(told[name].name, _both(found[name].spans, told[name].spans)) for name in both}
            found = told
    return found


def _set(sources: Sources, cluster: str, folded: str) -> str:
    """A regular expression for the segments of a node set's hosts; empty for a glob."""
    if "*" in folded or "?" in folded or "{" in folded:
        return ""
    known = {segment(sources.facts.resolve(cluster, name) or name) for name in unfold(folded, MOST_HOSTS)}
    return f"^(?:{'|'.join(re.escape(name) for name in sorted(known))})$"


def _both(some: Spans, others: Spans) -> Spans:
    """The time in which both hold."""
    if not some or not others:
        return some or others
    shared = [(max(a, c), min(b, d)) for a, b in some for c, d in others if max(a, c) < min(b, d)]
    return tuple(shared) or ((0.0, 0.0),)


def chosen(
    cluster: str, choice: Choice, hosts: Mapping[str, Host] | None, start: datetime, end: datetime
) -> tuple[str, dict[str, Any]]:
    """SQL of the chosen series, with their `metric`."""
    params: dict[str, Any] = {"cluster": cluster, "start": start - timedelta(seconds=NOTED_SECONDS), "end": end}
    where = ["last_seen >= {start:DateTime64(3, 'UTC')}", "first_seen <= {end:DateTime64(3, 'UTC')}"]
    source = SERIES if hosts is not None else SERIES.replace("PREWHERE host IN {names:Array(String)} ", "")
    if hosts is not None:
        params["names"] = sorted(hosts)
    if choice.name:
        where.append("match(name, {name:String})")
        params["name"] = f"^{loosely(choice.name)}$"
    if choice.text:
        where.append("positionCaseInsensitiveUTF8(concat(path, ' ', name), {text:String}) > 0")
        params["text"] = choice.text
    return f"SELECT * FROM ({source}) WHERE {' AND '.join(where)}", params


def target(
    sources: Sources, where: str, params: Mapping[str, Any], choice: Choice, names: Sequence[Mapping[str, Any]]
) -> str:
    """What `/render` draws the same with; empty where one path cannot say it."""
    asked = [(root, getattr(choice, field)) for field, root in BY.items() if getattr(choice, field)]
    if len(asked) > 1 or choice.text or len(names) != 1 or "*" in choice.name:
        return ""
    name = str(names[0]["name"])
    if not asked and not choice.hosts:
        return f"seriesByTag('name={name}')"
    metrics = [name] if choice.job and name.startswith(JOB) else [
        str(row["metric"])
        for row in sources.engine.rows(f"SELECT DISTINCT metric FROM ({where}) ORDER BY metric LIMIT 100", params)
    ]  # fmt: skip
    parts = [segments(metric) for metric in metrics]
    if len({len(own) for own in parts}) != 1:
        return ""
    metric = ".".join(own[0] if len(set(own)) == 1 else "*" for own in zip(*parts, strict=True))
    hosts = _braces(choice.hosts) if choice.hosts else "*"
    return ".".join([*(asked[0] if asked else ("by_host",)), hosts, metric])


def _braces(hosts: str) -> str:
    if "*" in hosts or "?" in hosts or "{" in hosts:
        return hosts
    names = [segment(name) for name in unfold(hosts)]
    return names[0] if len(names) == 1 else f"{{{','.join(names)}}}"


def loosely(glob: str) -> str:
    """A regular expression in which ``*`` stands for anything, dots included."""
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
