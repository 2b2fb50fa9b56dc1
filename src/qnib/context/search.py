"""Searching events: the newest that match, how many over time and by severity, by what they differ, and all as text.

One query of the language of `qnib.monitoring.query`, one cluster, one window; everything about hosts, jobs and people
is joined in time (`qnib.context.joined`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from qnib.context.joined import Around, Joined
from qnib.context.known import Sources, fold
from qnib.engine import Limits
from qnib.errors import WrongUse
from qnib.monitoring.events import EVENT_COLUMNS
from qnib.monitoring.query import parse
from qnib.monitoring.syslog import SEVERITIES

FACETS = ("host", "app", "severity", "kind", "lane", "user", "partition")
MOST_VALUES = 12
"""Values of a facet that are told, the most frequent first; hosts are folded and all told."""
MOST_HOSTS = 5000
MOST_ROWS = 100_000
"""Rows of one export."""
_AT_ONCE = 5000
_LIMITS = Limits(seconds=60, rows=MOST_ROWS, readonly=False)
"""Of one statement. Not as read-only: what people write travels as parameters, and a statement has own settings."""
LEVELS = {"critical": SEVERITIES[:4], "warn": SEVERITIES[4:5], "fine": SEVERITIES[5:]}
"""Severities as a histogram stacks them."""
Moment = Callable[[str], datetime]


class Search:
    """One query, made ready. Raises WrongUse for text that is none."""

    def __init__(
        self, sources: Sources, cluster: str, text: str, start: datetime, end: datetime, moment: Moment
    ) -> None:
        self._sources, self.cluster, self.start, self.end = sources, cluster, start, end
        self.tree = parse(text)
        self._joined = Joined(sources, cluster, start, end, self.tree, moment)

    def events(self, limit: int, *, more: str = "1", **params: Any) -> list[dict[str, Any]]:
        """The newest, each as the UI's EventRow with `around`: ``{host, switches, jobs}`` as they were then."""
        return self._shown(self._newest(more, {**params, "limit": limit}))

    def count(self, *, more: str = "1", **params: Any) -> int:
        found: int = self._ask(f"SELECT count() AS n FROM {{source}} WHERE {{where}} AND {more}", params)[0]["n"]
        return found

    def histogram(self, buckets: int) -> dict[str, Any]:
        """Counts by bucket of time: ``{t, width, count, critical, warn, fine}``; `t` are starts in epoch seconds."""
        width = (self.end - self.start).total_seconds() / buckets
        counts = ", ".join(
            f"countIf(severity IN ({', '.join(repr(one) for one in own)})) AS {level}"
            for level, own in LEVELS.items() if level != "fine"
        )  # fmt: skip
        rows = self._ask(
            "SELECT least(toUInt32(greatest((toFloat64(time) - {first:Float64}) / {width:Float64}, 0)),"
            f" {{last:UInt32}}) AS bucket, count() AS n, {counts} FROM {{source}} WHERE {{where}} GROUP BY bucket",
            {"first": self.start.timestamp(), "width": width, "last": buckets - 1},
        )
        told: dict[str, Any] = {name: [0] * buckets for name in ("count", "critical", "warn", "fine")}
        for row in rows:
            place = row["bucket"]
            told["count"][place] = row["n"]
            told["critical"][place], told["warn"][place] = row["critical"], row["warn"]
            told["fine"][place] = row["n"] - row["critical"] - row["warn"]
        return {"t": [self.start.timestamp() + width * n for n in range(buckets)], "width": width, **told}

    def slots(self, width: int, by: Sequence[str], most: int) -> list[dict[str, Any]]:
        """Counts by slots of `width` seconds since 1970 and by what is in these columns or fields (``field.NAME``):
        ``slot`` (its start), ``told`` (values), ``n`` and ``total``, of the slot. Of each slot the `most` frequent."""
        params = {f"by{place}": one.removeprefix("field.") for place, one in enumerate(by)}
        told = [
            f"toString(fields[{{by{place}:String}}])" if one.startswith("field.") else f"toString({one})"
            for place, one in enumerate(by)
        ]
        start = f"toInt64(intDiv(toUnixTimestamp64Micro(time), {width * 1_000_000}) * {width})"
        return self._ask(
            "SELECT slot, told, n, sum(n) OVER (PARTITION BY slot) AS total FROM ("
            f"SELECT {start} AS slot, CAST([{', '.join(told)}], 'Array(String)') AS told, count() AS n"
            " FROM {source} WHERE {where} GROUP BY slot, told)"
            f" ORDER BY slot, n DESC, told LIMIT {most} BY slot",
            params,
        )

    def facets(self, wanted: Sequence[str]) -> dict[str, Any]:
        """By facet the values and how many events have them: ``[{value, count}]``; hosts also as ``folded``.

        Of people and partitions, an event of a shared node counts for each whose job ran there.
        """
        if unknown := sorted(set(wanted) - set(FACETS)):
            raise WrongUse(
                f"There is no facet {unknown[0]!r}.", where="facets", try_next=f"they are {', '.join(FACETS)}.",
            )
        told: dict[str, Any] = {}
        for name in wanted:
            if name in ("user", "partition"):
                continue
            most = MOST_HOSTS if name == "host" else MOST_VALUES
            rows = self._ask(
                f"SELECT toString({name}) AS value, count() AS n FROM {{source}} WHERE {{where}}"
                f" GROUP BY value ORDER BY n DESC, value LIMIT {most}",
            )
            values = [{"value": row["value"], "count": row["n"]} for row in rows if row["value"]]
            told[name] = {"values": values[:MOST_VALUES], "more": max(0, len(values) - MOST_VALUES)}
            if name == "host":
                told[name]["folded"] = fold(one["value"] for one in values)
        if people := [name for name in wanted if name in ("user", "partition")]:
            told |= self._of_jobs(people)
        return told

    def table(self) -> pa.Table:
        """All of them at once, by the million: columns of the engine, and whose they were as lists."""
        return self._joined.table("id, time, host, app, severity, kind, message")

    def rows_of_export(self, limit: int) -> Iterator[dict[str, Any]]:
        """The newest `limit`, some thousands at a time, so that memory is bounded."""
        left, more = limit, "1"
        params: dict[str, Any] = {}
        while left > 0:
            asked = min(left, _AT_ONCE)
            rows = self._newest(more, {**params, "limit": asked})
            yield from self._shown(rows)
            left -= len(rows)
            if len(rows) < asked:
                return
            # On from there: of the very last moment only what was not among them
            last = rows[-1]["time"]
            told = [row["id"] for row in rows if row["time"] == last]
            told += params["told"] if params and params["last"] == last else []
            more = "(time < {last:DateTime64(6, 'UTC')} OR (time = {last:DateTime64(6, 'UTC')}"
            more += " AND id NOT IN {told:Array(UInt64)}))"
            params = {"last": last, "told": told}

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _newest(self, more: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        """By time alone the engine reads from the end and stops; a second key would have it read all that match."""
        rows = self._ask(
            f"SELECT {EVENT_COLUMNS}, job FROM {{source}} WHERE {{where}} AND {more} ORDER BY time DESC"
            " LIMIT {limit:UInt32} SETTINGS query_plan_max_limit_for_lazy_materialization = 10000", params,
        )  # fmt: skip
        return sorted(rows, key=lambda row: (row["time"], row["id"]), reverse=True)

    def _ask(self, sql: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        told = sql.replace("{source}", self._joined.source).replace("{where}", self._joined.where)
        return self._sources.engine.rows(told, {**self._joined.params, **(params or {})}, limits=_LIMITS)

    def _shown(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        around = Around(self._sources, self.cluster, rows)
        return [around.shown(row) for row in rows]

    def _of_jobs(self, wanted: Sequence[str]) -> dict[str, Any]:
        """How many events belong to jobs of each user, of each partition: counted by the jobs of each moment."""
        counted = self._joined.by_jobs()
        told = {}
        for name in wanted:
            sums: dict[str, int] = {}
            for jobs, n in counted:
                for value in {str(job.get(name) or "") for job in jobs} - {""}:
                    sums[value] = sums.get(value, 0) + n
            ordered = sorted(sums.items(), key=lambda one: (-one[1], one[0]))
            values = [{"value": value, "count": n} for value, n in ordered[:MOST_VALUES]]
            told[name] = {"values": values, "more": max(0, len(ordered) - MOST_VALUES)}
        return told


CSV_COLUMNS = (
    "time", "received", "host", "app", "severity", "kind", "message", "jobs", "users", "switches", "entities", "lane",
    "hint", "id",
)


def as_json_lines(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield orjson.dumps(row) + b"\n"


def as_csv(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """With a first line of names. A cell that a spreadsheet would calculate is set off by a quote."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        around = row["around"]
        own = {
            **row, "jobs": " ".join(str(job["id"]) for job in around["jobs"]),
            "users": " ".join(sorted({job["user"] for job in around["jobs"]})),
            "switches": " ".join(around["switches"]), "entities": " ".join(row["entities"]),
        }
        writer.writerow([_plain(str(own[name])) for name in CSV_COLUMNS])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()


def _plain(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell

