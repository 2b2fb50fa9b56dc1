"""One chart's data: a metric or several over a window, in units people read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qnib.context.known import Sources
from qnib.monitoring.series import series_answer

WORD = 4
"""Octets of one word, the unit InfiniBand counts data in."""


def chart(
    sources: Sources,
    cluster: str,
    metrics: list[str],
    *,
    hosts: str | None,
    job: int | None,
    port: str | None,
    start: datetime,
    end: datetime,
    points: int,
) -> dict[str, Any]:
    """The UI's `SeriesAnswer`; of several metrics each series bears its metric's name, too."""
    narrowed: dict[str, Any] = {"host": hosts, "job": job, "port": port, "start": start, "end": end, "points": points}
    answers = [
        in_octets(series_answer(sources.engine, sources.clock, cluster, metric, **narrowed)) for metric in metrics
    ]
    first = answers[0]
    if len(answers) == 1:
        return first
    heard = [answer["newest"] for answer in answers if answer["newest"]]
    units = sorted({answer["unit"] for answer in answers})
    series = [
        {
            **one,
            "name": f"{one['name']} {answer['metric'].rpartition('.')[2]}",
            "tags": {**one["tags"], "metric": answer["metric"]},
        }
        for answer in answers
        for one in answer["series"]
    ]
    return {
        **first, "metric": ",".join(metrics), "unit": " / ".join(units), "newest": max(heard, default=None),
        "description": " ".join(dict.fromkeys(answer["description"] for answer in answers)),
        "series": series, "band": None,
    }  # fmt: skip


def in_octets(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with octets in the place of InfiniBand's words."""
    unit: str = answer["unit"]
    if not unit.startswith("word"):
        return answer

    def scaled(values: list[float | None]) -> list[float | None]:
        return [None if value is None else value * WORD for value in values]

    lines = ("min", "mean", "max")
    series = [{**one, **{line: scaled(one[line]) for line in lines if line in one}} for one in answer["series"]]
    band = answer["band"] and {line: scaled(values) for line, values in answer["band"].items()}
    return {**answer, "unit": unit.replace("words", "B").replace("word", "B"), "series": series, "band": band}
