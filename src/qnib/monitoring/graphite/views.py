"""Virtual roots of the tree of paths: the same series by host, partition, rack and job, found when they are read.

``by_host.HOST.METRIC…``, ``by_partition.PARTITION.HOST.METRIC…``, ``by_rack.RACK.HOST.METRIC…``,
``by_job.JOB.HOST.METRIC…``. Nothing is stored for them: which series are a host's its tag `host` says, which hosts
belong to what and when is asked of `Tree`, which whoever calls hands in. METRIC is what a stored path has beside the
host, without a leading ``servers``; of a tagged one its name and further tags, ``disk.free.path:_scratch``. Samples of
a job, what its own cgroups used, stand in ``by_job.JOB.HOST.job.METRIC``.

What is stored under such a name is shown beside it and hides nothing: two of one path are both drawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from qnib.domains.paths import UNSAFE
from qnib.engine import Engine
from qnib.engine.values import literal
from qnib.errors import TooMuch
from qnib.monitoring.graphite.find import MOST_NODES, MOST_SERIES, glob_pattern
from qnib.monitoring.known import NOTED_SECONDS

ROOTS = {"by_host": 1, "by_job": 2, "by_partition": 2, "by_rack": 2}
"""Each with the number of segments between it and the metric."""
SAMPLES = "job"
"""The segment under which a job's own samples stand."""
_DAY = timedelta(days=1)
_SAFE = f"{literal(UNSAFE)}, {literal('_' * len(UNSAFE))}"
SERIES = f"""
    SELECT *, if(position(path, ';') > 0,
        arrayStringConcat(arrayConcat([name], arrayMap(
            tag -> concat(translate(tag.1, {_SAFE}), ':', translate(tag.2, {_SAFE})),
            arraySort(arrayFilter(tag -> tag.1 != 'host', arrayZip(mapKeys(tags), mapValues(tags)))))), '.'),
        arrayStringConcat(arrayFilter((part, at) -> at != place AND NOT (at = 1 AND part = 'servers'),
            parts, arrayEnumerate(parts)), '.')) AS metric
    FROM (
        SELECT *, splitByChar('.', path) AS parts,
            if(has(parts, host), indexOf(parts, host),
               arrayFirstIndex(part -> startsWith(part, concat(host, '_')), parts)) AS place
        FROM qnib.series FINAL PREWHERE host IN {{names:Array(String)}} WHERE cluster = {{cluster:String}}
    )
"""
"""SQL: the series of hosts, each with its `metric`: its path without the host."""


@dataclass(frozen=True, slots=True)
class Member:
    """A host that belonged to a group within a window."""

    group: str
    """A segment: the partition, rack or job; empty by host."""
    host: str
    """A segment."""
    names: tuple[str, ...]
    """Values of the tag `host` that mean it."""
    spans: tuple[tuple[float, float], ...] = ()
    """When it belonged, in epoch seconds; empty: always."""


class Tree(Protocol):
    """Who belonged to whom. Patterns are regular expressions over a whole segment."""

    def groups(self, root: str, group: str, start: datetime, end: datetime) -> list[str]:
        """Names of groups that had a member in the window."""

    def members(self, root: str, group: str, host: str, start: datetime, end: datetime) -> list[Member]:
        """Their hosts, too. Raises TooMuch."""


def segments(query: str) -> list[str]:
    """The query's dotted segments; a dot inside braces is none."""
    found, depth = [""], 0
    for char in query:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "." and depth <= 0:
            found.append("")
        else:
            found[-1] += char
    return found


def is_view(query: str) -> bool:
    return segments(query)[0] in ROOTS


def by_view(
    engine: Engine, cluster: str, tree: Tree, query: str, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """Series of a virtual path with globs, as `find.by_glob` has them; also `virtual`, the path they go by here, and
    `spans`, when they are meant (empty: always). A job's samples have `job` and no `series`. Raises TooMuch."""
    root, group, host, metric = _split(query)
    if not metric:
        return []
    members = tree.members(root, whole(group), whole(host), start, end)
    pattern = f"^{glob_pattern(metric)}$"
    found = []
    for row in _series(engine, cluster, members, "match(metric, {pattern:String})", {"pattern": pattern}, query):
        found += _virtual(root, row, members)
    if root == "by_job":
        for row in _samples(engine, cluster, members, pattern, start, end, query):
            found += _virtual(root, row, members)
    if len(found) > MOST_SERIES:
        raise _too_many(query)
    return sorted(found, key=lambda row: str(row["virtual"]))


def level(
    engine: Engine, cluster: str, tree: Tree, query: str, start: datetime | None, end: datetime | None, now: datetime,
    *, each: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """One level of the virtual tree, as `find.level` has it; of the last day where no window is given. Without `each`
    a text is there once, whatever it is below. Raises TooMuch."""
    parts = segments(query)
    if len(parts) == 1:
        return [_row([root], False) for root in ROOTS if re.fullmatch(glob_pattern(query), root)]
    if parts[0] not in ROOTS:
        return []
    until = end or now
    since = start or until - _DAY
    root, group, host, metric = _split(query)
    if ROOTS[root] == 2 and len(parts) == 2:
        rows = [_row([root, name], False) for name in tree.groups(root, whole(group), since, until)]
    else:
        members = tree.members(root, whole(group), whole(host), since, until)
        if metric:
            rows = _metrics(engine, cluster, root, members, metric, since, until, each, query)
        else:
            rows = [_row(_above(root, member), False) for member in members]
    if not each:
        rows = list({row["text"]: row for row in rows}.values())
    if len(rows) > MOST_NODES:
        raise _too_many(query, MOST_NODES, "nodes")
    return sorted(rows, key=lambda row: (-row["branch"], row["id"]))


# ── inside ────────────────────────────────────────────────────────────────────────────────────


def _split(query: str) -> tuple[str, str, str, str]:
    """Root, group (of hosts themselves empty), host and metric of a virtual path; what is not there is empty."""
    root, *rest = segments(query)
    if ROOTS[root] == 1:
        rest = ["", *rest]
    group, host, *metric = [*rest, "", ""][: max(2, len(rest))]
    return root, group, host, ".".join(metric)


def whole(glob: str) -> str:
    """A regular expression for a whole segment that a glob means."""
    return f"^(?:{glob_pattern(glob)})$"


def _above(root: str, member: Member) -> list[str]:
    return [root, member.group, member.host] if ROOTS[root] == 2 else [root, member.host]


def _row(path: Sequence[str], leaf: bool) -> dict[str, Any]:
    return {"id": ".".join(path), "text": path[-1], "leaf": int(leaf), "branch": int(not leaf)}


def _virtual(root: str, row: dict[str, Any], members: Sequence[Member]) -> list[dict[str, Any]]:
    """A series once for each group that its host belonged to."""
    asked = root.removeprefix("by_")
    return [
        {
            **row, "virtual": ".".join([*_above(root, one), row["metric"]]), "spans": one.spans,
            "tags": {**row["tags"], "host": one.host, **({asked: one.group} if one.group else {})},
        }
        for one in members
        if _is_of(row, one)
    ]  # fmt: skip


def _is_of(row: dict[str, Any], member: Member) -> bool:
    """Whether a series is one of this host in this group; samples are those of one job."""
    return row["host"] in member.names and row.get("job") in (None, member.group.partition("@")[0])


def _series(
    engine: Engine, cluster: str, members: Sequence[Member], where: str, params: dict[str, Any], asked: str
) -> list[dict[str, Any]]:
    names = sorted({name for member in members for name in member.names})
    if not names:
        return []
    rows = engine.rows(
        f"SELECT series, path, name, tags, host, metric FROM ({SERIES}) WHERE metric != '' AND {where}"
        f" ORDER BY path LIMIT {MOST_SERIES + 1}",
        {**params, "cluster": cluster, "names": names},
    )
    if len(rows) > MOST_SERIES:
        raise _too_many(asked)
    return rows


def _samples(
    engine: Engine, cluster: str, members: Sequence[Member], pattern: str, start: datetime, end: datetime, asked: str
) -> list[dict[str, Any]]:
    """A row for each job, host and metric; `path` as it is read here."""
    rows = engine.rows(
        "SELECT toString(job) AS job, host, metric AS own FROM qnib.job_samples"
        " WHERE cluster = {cluster:String} AND job IN {jobs:Array(UInt64)} AND host IN {names:Array(String)}"
        " AND time >= {start:DateTime64(3, 'UTC')} AND time <= {end:DateTime64(3, 'UTC')}"
        f" AND match(concat('{SAMPLES}.', metric), {{pattern:String}})"
        f" GROUP BY job, host, own ORDER BY job, host, own LIMIT {MOST_SERIES + 1}",
        {
            "cluster": cluster, "pattern": pattern, "start": start, "end": end,
            "jobs": sorted({int(told) for member in members if (told := member.group.partition("@")[0]).isdigit()}),
            "names": sorted({name for member in members for name in member.names}),
        },
    ) if members else []  # fmt: skip
    if len(rows) > MOST_SERIES:
        raise _too_many(asked)
    return [{**row, "metric": f"{SAMPLES}.{row['own']}", "name": f"{SAMPLES}.{row['own']}", "tags": {}} for row in rows]


def _metrics(
    engine: Engine, cluster: str, root: str, members: Sequence[Member], metric: str, start: datetime, end: datetime,
    each: bool, asked: str,
) -> list[dict[str, Any]]:  # fmt: skip
    depth = len(segments(metric))
    pattern = f"^{glob_pattern(metric)}([.]|$)"
    own = "host, " if each else ""
    names = sorted({name for member in members for name in member.names})
    rows = engine.rows(
        f"SELECT {own}arrayStringConcat(arraySlice(told, 1, {{depth:UInt32}}), '.') AS id,"
        " max(length(told) = {depth:UInt32}) AS leaf, max(length(told) > {depth:UInt32}) AS branch"
        f" FROM (SELECT host, splitByChar('.', metric) AS told FROM ({SERIES})"
        "  WHERE match(metric, {pattern:String}) AND last_seen >= {start:DateTime64(3, 'UTC')}"
        "  AND first_seen <= {end:DateTime64(3, 'UTC')})"
        f" GROUP BY {own}id LIMIT {MOST_NODES + 1}",
        {"cluster": cluster, "names": names, "depth": depth, "pattern": pattern, "end": end,
         "start": start - timedelta(seconds=NOTED_SECONDS)},
    ) if names else []  # fmt: skip
    if len(rows) > MOST_NODES:
        raise _too_many(asked, MOST_NODES, "nodes")
    if root == "by_job":
        for sample in _samples(engine, cluster, members, pattern, start, end, asked):
            told = str(sample["metric"]).split(".")
            below = {"id": ".".join(told[:depth]), "leaf": len(told) == depth, "branch": len(told) > depth}
            rows.append({"host": sample["host"], "job": sample["job"], **below})
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        above = [_above(root, one) for one in members if _is_of(row, one)] if each else [[""]]
        for start_of in above:
            parts = [*start_of, *str(row["id"]).split(".")]
            new = {"id": ".".join(parts), "text": parts[-1], "leaf": int(row["leaf"]), "branch": int(row["branch"])}
            old = found.setdefault(".".join(parts), new)
            old["leaf"], old["branch"] = old["leaf"] | new["leaf"], old["branch"] | new["branch"]
        if len(found) > MOST_NODES:
            raise _too_many(asked, MOST_NODES, "nodes")
    return list(found.values())


def _too_many(asked: str, most: int | None = None, what: str = "series") -> TooMuch:
    return TooMuch(
        f"More than {most or MOST_SERIES} {what} match.", where=asked,
        try_next="name fewer hosts, a metric, or a shorter time.",
    )  # fmt: skip
