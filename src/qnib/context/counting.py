"""Counts events that match a declared query: how many in each interval is a point of a series ``events.NAME;host=…``.

What is counted is stored over whatever was stored for that interval before. Counted again it gives the same, unless
events came in or are said to be something else since.
"""

from __future__ import annotations

import re
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from qnib.context.known import Sources
from qnib.context.search import Search
from qnib.engine import Engine
from qnib.errors import WrongUse
from qnib.monitoring.counts import count
from qnib.monitoring.naming import series_columns
from qnib.monitoring.query import parse, terms
from qnib.monitoring.storage.notes import noted
from qnib.settings import Aggregate

OTHER = "_other"
"""The tags' value of what is counted together, beyond the number of series an aggregate may have."""
_LONGEST_TAG = 200
_BAD = re.compile(r"[;\s\x00-\x1f]")
_STAGE = "qnib_staging.counted"
_POINTS = f"(SELECT cluster, cityHash64(cluster, path) AS series, path, time, value FROM {_STAGE})"


def prepare(engine: Engine) -> None:
    """Make the stage; one thread may use it."""
    engine.run(
        f"CREATE OR REPLACE TABLE {_STAGE} (cluster LowCardinality(String), path String,"
        " time DateTime64(3, 'UTC'), value Float64) ENGINE = Memory"
    )


class Counted:
    """One aggregate as it is declared. Raises WrongUse for a query that is none, or that names a time."""

    def __init__(self, sources: Sources, name: str, told: Aggregate) -> None:
        self._sources, self.name, self.told = sources, name, told
        self._paths: dict[str, set[str]] = {}
        self.metric = count(name, told)
        self._others = self._path("", [OTHER] * len(told.by))
        self._check()

    @property
    def declared(self) -> str:
        """What makes its points what they are."""
        return repr((self.told.query, self.told.interval, self.told.by, self.told.clusters, self.told.most_series))

    def start_of(self, seconds: float) -> int:
        """Of the interval a moment lies in."""
        return int(seconds // self.told.interval) * self.told.interval

    def concerns(self, cluster: str) -> bool:
        return not self.told.clusters or cluster in self.told.clusters

    def count(self, cluster: str, slots: Sequence[int], ran: AbstractSet[int]) -> datetime | None:
        """Count intervals by their starts, in order, and store what they are now. `ran`: those of which it is known
        that nothing came in if nothing is found. Returns the newest that was stored."""
        start, end = slots[0], slots[-1] + self.told.interval
        search = self._search(cluster, start, end)
        wanted = set(slots)
        values: dict[tuple[str, int], float] = defaultdict(float)
        rest: dict[int, int] = {}
        known = self.paths(cluster)
        for row in search.slots(self.told.interval, self.told.by, self.told.most_series + 1):
            if (slot := row["slot"]) not in wanted:
                continue
            path = self._path(cluster, row["told"])
            rest[slot] = rest.get(slot, row["total"]) - row["n"]
            if path not in known and len(known) >= self.told.most_series:
                path = self._others
            else:
                known.add(path)
            values[path, slot] += row["n"]
        for slot, n in rest.items():
            if n > 0:  # what is beyond the most frequent of that interval
                values[self._others, slot] += n
        for slot in ran:
            values.setdefault((self.metric.name, slot), 0.0)
        for path, slot in self._stored(cluster, [*known, self._others], start, end):
            if slot in wanted:
                values.setdefault((path, slot), 0.0)  # they were said to be something else since
        return self._store(cluster, values)

    def _store(self, cluster: str, values: Mapping[tuple[str, int], float]) -> datetime | None:
        if not values:
            return None
        engine = self._sources.engine
        engine.run(f"TRUNCATE TABLE {_STAGE}")
        engine.insert(_STAGE, [
            {"cluster": cluster, "path": path, "time": datetime.fromtimestamp(slot, UTC), "value": float(value)}
            for (path, slot), value in sorted(values.items())
        ])  # fmt: skip
        # Not by `monitoring.known`: what we count ourselves does not say that a host was heard
        engine.run(f"""
            INSERT INTO qnib.series (cluster, series, path, name, tags, unit, mtype, host, first_seen, last_seen)
            SELECT cluster, series, path, name, tags, unit, mtype, host, first_seen, last_seen FROM (
                SELECT *, {series_columns([self.metric])} FROM (
                    SELECT series, any(cluster) AS cluster, any(path) AS path, min(time) AS first_seen,
                        max(time) AS last_seen
                    FROM {_POINTS} GROUP BY series
                )
            )
        """)
        engine.run(f"INSERT INTO qnib.points (cluster, series, time, told) SELECT cluster, series, time, value"
                   f" FROM {_POINTS}")  # fmt: skip
        engine.run(noted(_POINTS, secrets.randbits(62)))
        return datetime.fromtimestamp(max(slot for _, slot in values), UTC)

    def _stored(self, cluster: str, paths: Sequence[str], start: int, end: int) -> Iterator[tuple[str, int]]:
        """Of these series those, with starts of intervals, that are stored as something else than nothing."""
        mine = "SELECT arrayJoin({paths:Array(String)}) AS path, cityHash64({cluster:String}, path) AS series"
        for row in self._sources.engine.rows(
            "SELECT path, toInt64(toUnixTimestamp(time)) AS slot FROM (SELECT series, time, value FROM qnib.points"
            f" FINAL WHERE cluster = {{cluster:String}} AND series IN (SELECT series FROM ({mine}))"
            " AND time >= {start:DateTime64(3, 'UTC')} AND time < {end:DateTime64(3, 'UTC')}) AS p"
            f" INNER JOIN ({mine}) AS s USING (series) WHERE value != 0",
            {
                "cluster": cluster, "paths": list(paths), "start": datetime.fromtimestamp(start, UTC),
                "end": datetime.fromtimestamp(end, UTC),
            },
        ):  # fmt: skip
            yield row["path"], row["slot"]

    def paths(self, cluster: str) -> set[str]:
        """The series it has, with tags as they are declared now, without the one of all others."""
        if cluster not in self._paths:
            rows = self._sources.engine.rows(
                "SELECT path, mapKeys(tags) AS keys, mapValues(tags) AS told FROM qnib.series FINAL"
                " WHERE cluster = {cluster:String} AND name = {name:String}",
                {"cluster": cluster, "name": self.metric.name},
            )
            tags = {by.removeprefix("field.") for by in self.told.by}
            own = [row for row in rows if set(row["keys"]) <= tags and OTHER not in row["told"]]
            self._paths[cluster] = {row["path"] for row in own}
        return self._paths[cluster]

    def _path(self, cluster: str, told: Sequence[str]) -> str:
        """Of host names all that mean the same host are one. A tag without a value is left out."""
        tags = []
        for by, value in zip(self.told.by, told, strict=True):
            if by == "host":
                value = self._sources.facts.resolve(cluster, value) or value  # noqa: PLW2901
            if clean := _BAD.sub("_", value)[:_LONGEST_TAG].lstrip("~"):
                tags.append(f"{by.removeprefix('field.')}={clean}")
        return ";".join([self.metric.name, *sorted(tags)])

    def _search(self, cluster: str, start: int, end: int) -> Search:
        first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
        return Search(self._sources, cluster, self.told.query, first, last, _never)

    def _check(self) -> None:
        try:
            for term in terms(parse(self.told.query)):
                if term.field.sort == "time":
                    raise WrongUse("An aggregate's query names no time.", where=str(term), try_next="leave it out.")
            self._search(self._sources.settings.cluster, 0, self.told.interval)
        except WrongUse as error:
            raise WrongUse(
                error.what, where=f"setting aggregates.{self.name}.query: {error.where}", try_next=error.try_next
            ) from error


def _never(text: str) -> datetime:
    raise WrongUse("An aggregate's query names no time.", where=text, try_next="leave it out.")
