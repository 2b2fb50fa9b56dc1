"""Which series there are: kept in memory, so that only new ones are named, and only as many as a cluster may have.

A series is written once, when it is new, and again every few minutes for its `last_seen`, or when an older point of it
arrives. Past the limits new series are refused, and counted; those that are known go on.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qnib.clock import Clock
from qnib.domains import all_domains
from qnib.engine import Engine
from qnib.engine.values import literal
from qnib.model import Metric
from qnib.monitoring.loads import LISTENER
from qnib.monitoring.naming import series_columns
from qnib.monitoring.rulebook import RuleSet
from qnib.settings import SeriesLimits

NOTED_SECONDS = 300
"""How far `last_seen` may be behind, for a series that is heard all the time."""
_HOUR = 3600
_MOST_SENDERS = 10_000

_KNOWN, _NOTED, _FRESH, _NAMED, _REFUSED = (
    f"qnib_staging.{name}" for name in ("known", "noted", "fresh", "named", "refused")
)
_SERIES = "cluster, series, path, name, tags, unit, mtype, host, first_seen, last_seen"
_NAMING = "(name, tags, unit, mtype, host)"
_STAGES = (
    f"""CREATE OR REPLACE TABLE {_KNOWN}
        (series UInt64, cluster LowCardinality(String), host LowCardinality(String), first DateTime64(3, 'UTC'),
        known UInt8 DEFAULT 1)
        ENGINE = Join(ANY, LEFT, series) SETTINGS join_any_take_last_row = 1, persistent = 0""",
    f"CREATE OR REPLACE TABLE {_NOTED} (series UInt64) ENGINE = Set SETTINGS persistent = 0",
    f"CREATE OR REPLACE TABLE {_REFUSED} (series UInt64) ENGINE = Set SETTINGS persistent = 0",
    f"""CREATE OR REPLACE TABLE {_FRESH} (cluster LowCardinality(String), series UInt64, path String,
        sender LowCardinality(String), listener LowCardinality(String), first_seen DateTime64(3, 'UTC'),
        last_seen DateTime64(3, 'UTC'), is_new UInt8) ENGINE = Memory""",
    f"""CREATE OR REPLACE TABLE {_NAMED} (cluster LowCardinality(String), series UInt64, path String,
        name LowCardinality(String), tags Map(String, String), unit LowCardinality(String),
        mtype LowCardinality(String), host LowCardinality(String), first_seen DateTime64(3, 'UTC'),
        last_seen DateTime64(3, 'UTC')) ENGINE = Memory""",
    f"""INSERT INTO {_KNOWN} (series, cluster, host, first)
        SELECT series, any(cluster), anyLast(host), min(first_seen) FROM qnib.series GROUP BY series""",
)

TOO_MANY = "new series, more than its sender or its cluster may have"
"""The reason of what is refused here: one reject for each sender and file."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of points. `which`: the condition on `series` of those taken, until the next are; how many `refused`,
    and how many `rejects` tell of them: one for each sender and listener."""

    which: str
    refused: int
    rejects: int


@dataclass(slots=True)
class _New:
    """How many new series a sender brings."""

    cluster: str
    sender: str
    listener: str
    series: int


@dataclass(slots=True)
class _Allowance:
    """New series that a sender may still bring, as of a moment in seconds."""

    left: float
    at: float


class Known:
    """All clusters' series. `take` from any thread, one at a time. `metrics`: declared; by default all domains'."""

    def __init__(
        self, clock: Clock, engine: Engine, limits: SeriesLimits, exempt: Collection[str] = (),
        metrics: Sequence[Metric] | None = None,
    ) -> None:  # fmt: skip
        self._metrics = metrics if metrics is not None else [m for d in all_domains() for m in d.metrics]
        self._clock = clock
        self._engine = engine
        self._limits = limits
        self._exempt = frozenset(exempt)
        self._allowances: dict[tuple[str, str], _Allowance] = {}
        self.in_use = threading.RLock()
        """Held while it matters that no other thread takes points: what `Taken.which` says changes then."""
        self._stale = True
        self._noted_from = 0.0
        self._refusing = False
        self.columns = ""
        """The naming in force."""
        self.counts: dict[str, int] = {}
        """Series of each cluster."""
        self.refused: dict[str, int] = {}
        """Points refused since the start, by cluster."""

    def state(self) -> list[dict[str, Any]]:
        """Of each cluster: series, how many it may have, points refused since the start."""
        most, counts, refused = self._limits.most, self.counts, self.refused
        return [
            {"cluster": one, "count": counts.get(one, 0), "most": most, "refused": refused.get(one, 0)}
            for one in sorted({*counts, *refused})
        ]

    def forget(self) -> None:
        """Read anew which series there are, before the next are taken: some were deleted."""
        self._stale = True

    def naming(self, rules: RuleSet) -> str:
        """SQL for ``name, tags, unit, mtype, host`` of a column `path`, by these rules and by what is declared."""
        return series_columns([*self._metrics, *rules.metrics], rules.paths, rules.site_paths)

    def name(self, rules: RuleSet) -> None:
        """Name new series by these rules, and the others anew where they make a difference."""
        if (columns := self.naming(rules)) == self.columns:
            return
        with self.in_use:
            mark = f"named by {hashlib.sha256(columns.encode()).hexdigest()[:16]}"
            noted = "SELECT comment FROM system.tables WHERE database = 'qnib' AND name = 'series'"
            if self._engine.rows(noted)[0]["comment"] != mark:
                self._engine.run(
                    f"""
                    INSERT INTO qnib.series ({_SERIES})
                    SELECT {_SERIES} FROM (
                        SELECT *, {columns} FROM (
                            SELECT cluster, series, path, first_seen, last_seen, {_NAMING} AS before
                            FROM qnib.series FINAL
                        )
                    ) WHERE before != {_NAMING}
                    """,
                    settings={"compile_expressions": 0},
                )
                self._engine.run(f"ALTER TABLE qnib.series MODIFY COMMENT {literal(mark)}")
                self._stale = True
            self.columns = columns  # last: what broke off is done again

    def take(self, points: str, token: str, store: Callable[[str], None], settings: Mapping[str, Any]) -> Taken:
        """Note the series of `points` and have `store` bring the points into the record, but for those refused.

        `points`: a subquery of ``cluster, series, path, time, sender, listener, received``; `store` is given a
        condition on `series`. Points go first: should the rest not follow, it follows when the file is taken again.
        """
        with self.in_use:
            pending = self._look(points)
            which = f"series NOT IN {_REFUSED}" if self._refusing else "1"
            store(which)
            run = self._engine.run
            if pending is not None:
                # Once for both, and only now: naming takes longer to plan than a file without new series to store
                run(f"TRUNCATE TABLE {_NAMED}")
                run(
                    f"INSERT INTO {_NAMED} SELECT {_SERIES} FROM"
                    f" (SELECT *, {self.columns} FROM {_FRESH} WHERE {which})",
                    settings=settings,
                )
                run(
                    f"INSERT INTO qnib.series ({_SERIES}) SELECT {_SERIES} FROM {_NAMED} ORDER BY series",
                    settings={**settings, "insert_deduplication_token": f"{token}:series"},
                )
                run(
                    f"INSERT INTO {_KNOWN} (series, cluster, host, first)"
                    f" SELECT series, cluster, host, first_seen FROM {_NAMED}"
                )
                run(f"INSERT INTO {_NOTED} SELECT series FROM {_NAMED}")
                self._charge(pending)
            run(_heard(points), settings={**settings, "insert_deduplication_token": f"{token}:heard"})
            refused = self._tell_refused(points, token, settings) if self._refusing else (0, 0)
            return Taken(which, *refused)

    def _look(self, points: str) -> list[_New] | None:
        """Put into the stage what is new or to be noted; None when nothing is. Refuse what is too many."""
        run, now = self._engine.run, self._clock.now().timestamp()
        if self._stale:
            for statement in _STAGES:
                run(statement)
            counted = self._engine.rows("SELECT cluster, uniqExact(series) AS n FROM qnib.series GROUP BY cluster")
            self.counts = {row["cluster"]: row["n"] for row in counted}
            self._stale, self._refusing, self._noted_from = False, False, now
        elif not self._noted_from <= now < self._noted_from + NOTED_SECONDS:
            run(f"TRUNCATE TABLE {_NOTED}")
            self._noted_from = now
        if self._refusing:
            run(f"TRUNCATE TABLE {_REFUSED}")
            self._refusing = False
        run(f"TRUNCATE TABLE {_FRESH}")
        run(
            f"""
            INSERT INTO {_FRESH}
            SELECT any(cluster), series, any(path), any(sender), any(listener), min(time), max(time),
                any(joinGet('{_KNOWN}', 'known', series)) = 0
            FROM {points}
            WHERE series NOT IN {_NOTED} OR time < joinGet('{_KNOWN}', 'first', series)
            GROUP BY series
            """,
            settings={"max_threads": 1},
        )
        if not self._engine.rows(f"SELECT count() AS n FROM {_FRESH}")[0]["n"]:
            return None
        found = self._engine.rows(
            f"SELECT cluster, sender, listener, countIf(is_new) AS series FROM {_FRESH}"
            " GROUP BY cluster, sender, listener"
        )
        new = [_New(**row) for row in found if row["series"]]
        for one in new:
            self._bound(one)
        return new

    def _bound(self, new: _New) -> None:
        """Refuse what is more than the sender and the cluster may have; the first by number are allowed."""
        room = max(0, self._limits.most - self.counts.get(new.cluster, 0))
        if new.listener.startswith(LISTENER):
            return
        if new.sender not in self._exempt:
            room = min(room, int(self._allowance(new).left))
        if new.series <= room:
            return
        self._engine.run(
            f"INSERT INTO {_REFUSED} SELECT series FROM {_FRESH} WHERE is_new AND cluster = {{cluster:String}}"
            " AND sender = {sender:String} AND listener = {listener:String}"
            f" ORDER BY series LIMIT {new.series - room} OFFSET {room}",
            {"cluster": new.cluster, "sender": new.sender, "listener": new.listener},
        )
        self._refusing = True
        new.series = room

    def _allowance(self, new: _New) -> _Allowance:
        burst, now = float(self._limits.new_per_hour), self._clock.now().timestamp()
        if len(self._allowances) > _MOST_SENDERS:
            self._allowances.clear()
        told = self._allowances.setdefault((new.cluster, new.sender), _Allowance(burst, now))
        told.left = min(burst, told.left + max(0.0, now - told.at) * burst / _HOUR)
        told.at = now
        return told

    def _charge(self, new: list[_New]) -> None:
        for one in new:
            self.counts[one.cluster] = self.counts.get(one.cluster, 0) + one.series
            if one.sender not in self._exempt and not one.listener.startswith(LISTENER):
                self._allowance(one).left -= one.series

    def _tell_refused(self, points: str, token: str, settings: Mapping[str, Any]) -> tuple[int, int]:
        self._engine.run(
            f"""
            INSERT INTO qnib.rejects (cluster, received, listener, sender, reason, raw)
            SELECT cluster, max(received), listener, sender, {literal(TOO_MANY)},
                concat(toString(count()), ' points of ', toString(uniqExact(series)), ' series, as ', min(path))
            FROM {points} WHERE series IN {_REFUSED} GROUP BY cluster, listener, sender
            """,
            settings={**settings, "insert_deduplication_token": f"{token}:refused"},
        )
        told = self._engine.rows(
            f"SELECT cluster, count() AS points, uniqExact(listener, sender) AS rejects FROM {points}"
            f" WHERE series IN {_REFUSED} GROUP BY cluster"
        )
        for row in told:
            self.refused[row["cluster"]] = self.refused.get(row["cluster"], 0) + row["points"]
        return sum(row["points"] for row in told), sum(row["rejects"] for row in told)


def _heard(points: str) -> str:
    return f"""
        INSERT INTO qnib.heard (cluster, host, last)
        SELECT joinGet('{_KNOWN}', 'cluster', series) AS cluster, joinGet('{_KNOWN}', 'host', series) AS host,
            max(time) AS last
        FROM (SELECT series, max(time) AS time FROM {points} GROUP BY series)
        WHERE cluster != '' GROUP BY cluster, host ORDER BY cluster, host
    """
