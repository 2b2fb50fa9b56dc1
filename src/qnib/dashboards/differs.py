"""The nodes of a job, or any set of them, beside one another: where they differ, in words, and what was compared."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from qnib.context.known import Sources, fold, iso
from qnib.context.viewer import Viewer, may_see
from qnib.dashboards.findings import run_checks
from qnib.dashboards.jobs import find_job, job_row
from qnib.dashboards.words import group_of
from qnib.errors import NotFound, WrongUse
from qnib.inventory.differs import Differing, Group, differs
from qnib.model import Ref
from qnib.nodes import unfold

BEFORE_END = timedelta(milliseconds=1)
"""A job that has ended is looked at as it was just before."""


def job_differs(sources: Sources, viewer: Viewer, cluster: str, job: str, at: datetime | None) -> dict[str, Any]:
    """The hosts of a job compared, at a time; by default now, or at the end of one that has ended."""
    fact = find_job(sources, cluster, job)
    if not may_see(viewer, cluster, Ref("Job", fact.key)):
        raise NotFound(f"No job {job!r} is known.", where=f"cluster {cluster}", try_next="`qnib job list` lists them.")
    row = job_row(fact, sources.clock.now())
    if not row["nodes"]:
        raise WrongUse(
            f"Job {row['id']} has no nodes.", where=f"cluster {cluster}", try_next="compare when it runs, or has run.",
        )
    if at is None and group_of(row["state"]) == "finished" and row["end"]:
        at = datetime.fromisoformat(row["end"]) - BEFORE_END
    hosts = _hosts(sources, cluster, row["nodes"])
    found = differs(sources.facts, cluster, hosts, at, fact.key)
    return {"job": {"id": row["id"], "key": row["key"], "name": row["name"]}, **_told(sources, found, at)}


def set_differs(sources: Sources, cluster: str, nodes: str, at: datetime | None) -> dict[str, Any]:
    """The hosts of a node set compared, like ``compute[0-3]``. Raises NotFound when none of them is known."""
    hosts = _hosts(sources, cluster, nodes)
    found = differs(sources.facts, cluster, hosts, at)
    if not found.compared:
        raise NotFound(
            f"Nothing is known of {fold(hosts)}.", where=f"cluster {cluster}", try_next="`qnib node list` lists them.",
        )
    return {"job": None, **_told(sources, found, at)}


def _hosts(sources: Sources, cluster: str, nodes: str) -> list[str]:
    """The hosts that the names of a set mean. Raises WrongUse for no set of names."""
    from ClusterShell.NodeSet import NodeSetException
    from ClusterShell.RangeSet import RangeSetException

    try:
        names = unfold(nodes)
    except (NodeSetException, RangeSetException) as error:
        raise WrongUse(
            f"{nodes!r} is no set of nodes: {error}.", where="hosts", try_next="write compute[0-3,7].",
        ) from error
    if not names:
        raise WrongUse("No nodes are named.", where="hosts", try_next="write compute[0-3,7], or name a job.")
    return list(dict.fromkeys(sources.facts.resolve(cluster, name) or name for name in names))


def _told(sources: Sources, found: Differing, at: datetime | None) -> dict[str, Any]:
    rows = [
        {
            "aspect": row.aspect, "title": row.title, "item": row.item,
            "usual": _group(row.usual) if row.usual else None, "of_cluster": row.of_cluster,
            "others": [_group(one) for one in row.others],
        } for row in found.differences
    ]
    compared = [
        {
            "aspect": one.aspect, "title": one.title, "items": one.items, "differences": one.differences,
            "hosts": fold(one.hosts), "count": len(one.hosts), "unknown": fold(one.unknown),
            "unknown_count": len(one.unknown), "silent": fold(one.silent), "silent_count": len(one.silent),
            "oldest": iso(one.oldest),
        } for one in found.compared
    ]
    return {
        "at": iso(at or sources.clock.now()), "hosts": fold(found.hosts), "count": len(found.hosts),
        "odd": fold(found.odd), "odd_count": len(found.odd), "sentence": sentence(found), "compared": compared,
        "untold": found.untold, "differences": rows, "difference_count": found.count,
        "findings": run_checks("Hosts", {"differences": rows, "count": len(found.hosts)}),
    }


def _group(one: Group) -> dict[str, Any]:
    return {"value": one.value, "hosts": fold(one.hosts), "count": len(one.hosts)}


def sentence(found: Differing) -> str:
    """The answer in words: who differs in what, or that nobody does in what was compared."""
    if not found.compared:
        return f"Nothing is known of {fold(found.hosts)} that could be compared."
    if len(found.hosts) == 1:
        return f"{found.hosts[0]} is one host: there is nothing to compare it with."
    parts = [(one.differences, one.title) for one in found.compared if one.differences]
    if parts:
        (number, title), *rest = parts
        first = f"{number} difference{'s' if number > 1 else ''} in {title}"
        what = _listed([first, *(f"{number} in {title}" for number, title in rest)])
        if not found.odd:
            return f"As many hosts have the one as the other: {what}."
        others = len(found.hosts) - len(found.odd)
        beside = f"the other {others}" if others > 1 else "the other" if others else "what is usual"
        return f"{fold(found.odd)} differ{'s' if len(found.odd) == 1 else ''} from {beside}: {what}."
    told = _listed([f"{one.items} {one.title}" if one.aspect == "packages" else one.title for one in found.compared])
    unknown = {host for one in found.compared for host in one.unknown}
    silent = {host for one in found.compared for host in one.silent}
    missing = f" Not everything is known of {fold(unknown)}." if unknown else ""
    missing += f" Of {fold(silent)} something was last told more than three hours ago." if silent else ""
    return f"No differences between the {len(found.hosts)} hosts in {told}.{missing}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
