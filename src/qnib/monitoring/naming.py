"""Compiles the paths domains declare into SQL that names series: ``servers.{host}.cpu.user`` to name and tags.

A declared path says which dotted segment is which tag. What nobody declared is stored all the same, with its
path as its name; a tagged path (``name;tag=value``) brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from qnib.engine.values import literal
from qnib.errors import WrongUse
from qnib.model import Metric

JOB_PREFIX = "slurm.job."
"""Lines of such paths are samples of jobs: ``slurm.job.{job}.{step}.{task}.{host}.{metric}``."""
_TAG = re.compile(r"\{(\w+)\}")


def declared(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that make series, the ones with the fewest tags first: the most particular path wins."""
    series = [metric for metric in metrics if not metric.path.startswith(JOB_PREFIX)]
    return sorted(series, key=lambda metric: metric.path.count("{"))


def tag_positions(metric: Metric) -> dict[str, int]:
    """Which dotted segment (from 1) of the metric's path holds which tag.

    Raises WrongUse when a tag is only a part of its segment: it could not be told from what is around it.
    """
    found: dict[str, int] = {}
    for position, segment in enumerate(metric.path.split("."), 1):
        if tag := _TAG.fullmatch(segment):
            found[tag[1]] = position
        elif "{" in segment:
            raise WrongUse(
                f"Metric {metric.name!r} has a tag inside a segment of its path.",
                where=metric.path,
                try_next="give each tag a dotted segment of its own.",
            )
    return found


def pattern(metric: Metric) -> str:
    """A regular expression that matches the metric's paths and no others."""
    segments = ("[^.;]+" if "{" in part else re.escape(part) for part in metric.path.split("."))
    return f"^{'[.]'.join(segments)}$"


def series_columns(metrics: Sequence[Metric]) -> str:
    """SQL for ``name, tags, unit, mtype, host`` of a column `path`, for a SELECT."""
    known = declared(metrics)
    names, units, mtypes = ([getattr(m, key) for m in known] for key in ("name", "unit", "mtype"))
    tags = [tag_positions(m) for m in known]
    number = f"arrayMin(multiMatchAllIndices(path, {_array(list(map(pattern, known)), 'String')}))" if known else "0"
    return f"""
        splitByChar('.', path) AS segments,
        splitByChar(';', path) AS parts,
        arrayMap(part -> splitByChar('=', part, 2), arrayPopFront(parts)) AS pairs,
        toUInt32({number}) AS number,
        multiIf(number > 0, {_array(names, "String")}[number], parts[1]) AS name,
        mapFromArrays(
            if(number > 0, {_array([list(t) for t in tags], "Array(String)")}[number], arrayMap(p -> p[1], pairs)),
            if(number > 0,
               arrayMap(position -> segments[position],
                        {_array([list(t.values()) for t in tags], "Array(UInt16)")}[number]),
               arrayMap(p -> p[2], pairs))
        ) AS tags,
        indexOf({_array(names, "String")}, name) AS by_name,
        {_array(units, "String")}[by_name] AS unit,
        if(by_name > 0, {_array(mtypes, "String")}[by_name], 'gauge') AS mtype,
        tags['host'] AS host
    """


def _array(values: Sequence[object], kind: str) -> str:
    """A literal that has its type even when it is empty."""
    return f"CAST({literal(list(values))}, 'Array({kind})')"
