"""Keeps roll-ups right and forgets what is past its retention, in a thread of its own, a bounded piece at a time.

The hours before the last one are rolled up as time goes on. An hour that changes later is noted with the points
(`notes`); its figures are computed again from the points and only then the note is dropped. A crash at any place means
that it is done again, which gives the same rows.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from qnib.clock import Clock
from qnib.engine import Engine
from qnib.monitoring.storage import levels
from qnib.monitoring.storage.levels import HOUR
from qnib.monitoring.storage.rules import Rule, Rules

log = logging.getLogger("qnib.upkeep")

_EVERY_SECONDS = 20.0
_LAG_SECONDS = 900  # an hour is rolled up this long after its end
_NOTES = 50_000  # at once
_SPAN = 24  # most hours in one piece
_POINTS = 2_000_000  # most in one statement
_KNOWN_PATHS = 1_000_000
_FORGET = timedelta(hours=1)
_FINER = "qnib_staging.finer"


@dataclass
class State:
    """What the health tells."""

    settled: str | None = None
    """Until when all is rolled up, but for the hours `waiting`."""
    waiting: int = 0
    recomputed: int = 0
    """Hours, since the start."""
    dropped: int = 0
    """Points past their retention, since the start."""
    trouble: str = ""


class Upkeep:
    def __init__(self, clock: Clock, engine: Engine, rules: Rules) -> None:
        self._clock = clock
        self._engine = engine
        self._rules = rules
        self._rule_of: dict[int, Rule] = {}
        self._forgot: datetime | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep")
        self._state = State()

    def state(self) -> dict[str, Any]:
        return asdict(self._state)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def settle(self) -> None:
        """All there is to do now, in this thread; for tests and benches."""
        self._advance()
        while self._piece():
            """Until none is left."""
        self._forget()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._advance()
                while not self._stopping.is_set() and self._piece():
                    """Until none is left."""
                if self._forgot is None or self._clock.now() - self._forgot >= _FORGET:
                    self._forget()
                self._state.trouble = ""
            except Exception as error:  # noqa: BLE001  whatever it is, it is told and tried again
                self._state.trouble = str(error)[:500]
                log.warning("roll-ups: %s", self._state.trouble)
            self._stopping.wait(_EVERY_SECONDS)

    # ── what is to be done ────────────────────────────────────────────────────────────────────

    def _advance(self) -> None:
        """Let the settled part grow to the last hour; the hours it grows by are noted before."""
        marks = self._engine.rows(
            "SELECT argMaxIf(value, number, name = 'settled') AS settled, argMaxIf(value, number, name = 'rules')"
            " AS rules, max(number) AS newest, cityHash64({rules:String}) AS wanted FROM qnib.rollup_marks",
            {"rules": self._rules.fingerprint},
        )[0]
        wanted = (int(self._clock.now().timestamp()) - _LAG_SECONDS) // HOUR
        settled = int(marks["settled"])
        if settled and wanted > settled:
            self._note([{"cluster": "", "hour": hour} for hour in range(settled, wanted)])
        if wanted > settled:
            self._mark("settled", wanted, marks["newest"] + 1)
            settled = wanted
        if marks["rules"] != marks["wanted"]:
            # Only now, when the writer notes what is late, can no hour of before be missed
            self._note(
                self._engine.rows(
                    f"SELECT DISTINCT cluster, toUInt32(intDiv(toUnixTimestamp64Milli(time), {HOUR * 1000})) AS hour"
                    f" FROM qnib.points WHERE hour < {settled}"
                )
            )
            self._mark("rules", marks["wanted"], marks["newest"] + 2)
        self._state.settled = datetime.fromtimestamp(settled * HOUR, UTC).isoformat()

    def _note(self, hours: list[dict[str, Any]]) -> None:
        number = secrets.randbits(62)
        self._engine.insert("qnib.changed", [{**hour, "series": 0, "noted": number} for hour in hours])

    def _mark(self, name: str, value: int, number: int) -> None:
        self._engine.insert("qnib.rollup_marks", [{"name": name, "value": value, "number": number}])

    def _piece(self) -> bool:
        """Recompute some hours that changed. False: there were none."""
        notes = self._engine.rows(
            f"SELECT cluster, hour, series, noted FROM qnib.changed ORDER BY hour LIMIT {_NOTES} WITH TIES"
        )
        self._state.waiting = len({row["hour"] for row in notes})
        if not notes:
            return False
        first = notes[0]["hour"]
        notes = [row for row in notes if row["hour"] < first + _SPAN]
        everywhere = [row for row in notes if not row["cluster"]]
        clusters = {row["cluster"] for row in notes if row["cluster"]}
        if everywhere:
            clusters |= {row["cluster"] for row in self._engine.rows("SELECT DISTINCT cluster FROM qnib.series")}
        for cluster in sorted(clusters):
            mine = [row for row in notes if row["cluster"] == cluster] + everywhere
            for start, end in _runs(sorted({row["hour"] for row in mine})):
                series = {row["series"] for row in mine if start <= row["hour"] < end}
                self._recompute(cluster, None if 0 in series else sorted(series), start * HOUR, end * HOUR)
        hours = sorted({row["hour"] for row in notes})
        self._engine.run(
            "DELETE FROM qnib.changed WHERE hour IN {hours:Array(UInt32)} AND noted IN {noted:Array(UInt64)}",
            {"hours": hours, "noted": sorted({row["noted"] for row in notes})},
        )
        self._state.recomputed += len(hours)
        return True

    # ── roll-ups ──────────────────────────────────────────────────────────────────────────────

    def _recompute(self, cluster: str, series: Sequence[int] | None, start: int, end: int) -> None:
        for rule, ids, span in self._by_rule(cluster, series, start, end):
            for one in levels.levels(rule):
                since, until = start - start % one.step, end + -end % one.step
                self._roll(cluster, ids, rule, one, since, until, span)
            self._engine.run(f"DROP TABLE IF EXISTS {_FINER}")

    def _roll(
        self, cluster: str, ids: Sequence[int], rule: Rule, one: levels.Level, since: int, until: int, end: int
    ) -> None:
        mine = "series IN {ids:Array(UInt64)} AND cluster = {cluster:String}"
        window = "time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}"
        if one.made_of_points:
            inner = levels.points(one.below, f"{mine} AND {window}")
        else:
            rows = (
                f"SELECT series, toUnixTimestamp(time) AS slot_t, {levels.FIGURES} FROM qnib.rollups FINAL"
                f" WHERE {mine} AND step = {one.below} AND {window}"
            )
            inner = levels.values(levels.level(rule, one.below), rule, rows, "slot_t")
        made = levels.figures(one, inner, self._room(rule, one, end))
        params = {
            "ids": list(ids), "cluster": cluster, "since": datetime.fromtimestamp(since, UTC),
            "until": datetime.fromtimestamp(until, UTC), "version": int(self._clock.now().timestamp() * 1e6),
        }  # fmt: skip
        if one.sums:
            made = levels.summed(one, f"SELECT * FROM {_FINER}")
        elif not one.below:  # a coarser step may be summed from it
            self._engine.run(f"CREATE OR REPLACE TABLE {_FINER} ENGINE = Memory AS {made}", params)
            made = f"SELECT * FROM {_FINER}"
        self._engine.run(
            f"INSERT INTO qnib.rollups (cluster, series, step, time, {levels.FIGURES}, version)"
            f" SELECT {{cluster:String}} AS cluster, series, {one.step} AS step, toDateTime(slot_t, 'UTC') AS time,"
            f" {levels.FIGURES}, {{version:UInt64}} AS version FROM ({made})",
            params,
            settings={"optimize_on_insert": 0},
        )

    def _room(self, rule: Rule, one: levels.Level, end: int) -> int | None:
        """Slots a step is made of: one, where the finer ones are gone, for what comes so late stands alone."""
        if not self._rules.drop_raw or not one.below:
            return None
        finer = next(archive for archive in rule.archives if archive.step == one.below)
        return 1 if end <= self._clock.now().timestamp() - finer.retention else None

    def _by_rule(
        self, cluster: str, series: Sequence[int] | None, start: int, end: int
    ) -> Iterator[tuple[Rule, list[int], int]]:
        """Series with points there, in groups of one rule that have a bounded number of points together."""
        params = {
            "cluster": cluster, "ids": list(series or []), "since": datetime.fromtimestamp(start, UTC),
            "until": datetime.fromtimestamp(end, UTC),
        }  # fmt: skip
        rows = self._engine.rows(
            "SELECT series, count() AS n FROM qnib.points WHERE cluster = {cluster:String}"
            + (" AND series IN {ids:Array(UInt64)}" if series is not None else "")
            + " AND time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}"
            " GROUP BY series ORDER BY series",
            params,
        )
        found = self.rules_of([row["series"] for row in rows])
        groups: dict[Rule, list[tuple[int, int]]] = defaultdict(list)
        for row in rows:
            groups[found[row["series"]]].append((row["series"], row["n"]))
        for rule, members in groups.items():
            ids: list[int] = []
            total = 0
            for one, n in members:
                if ids and total + n > _POINTS:
                    yield rule, ids, end
                    ids, total = [], 0
                ids.append(one)
                total += n
            if ids:
                yield rule, ids, end

    def rules_of(self, ids: Sequence[int]) -> dict[int, Rule]:
        if not self._rules.schemas:
            rule = self._rules.of("")
            return dict.fromkeys(ids, rule)
        if len(self._rule_of) > _KNOWN_PATHS:
            self._rule_of.clear()
        for some in _some([one for one in ids if one not in self._rule_of], 50_000):
            for row in self._engine.rows(
                "SELECT series, any(path) AS told FROM qnib.series WHERE series IN {ids:Array(UInt64)} GROUP BY series",
                {"ids": some},
            ):
                self._rule_of[row["series"]] = self._rules.of(row["told"])
        nothing = self._rules.of("")
        return {one: self._rule_of.get(one, nothing) for one in ids}

    # ── retention ─────────────────────────────────────────────────────────────────────────────

    def _forget(self) -> None:
        """Drop what the rules no longer keep."""
        self._forgot = self._clock.now()
        if not self._rules.schemas:
            return
        groups: dict[Rule, list[int]] = defaultdict(list)
        ids = [row["series"] for row in self._engine.rows("SELECT DISTINCT series FROM qnib.series")]
        for one, rule in self.rules_of(ids).items():
            groups[rule].append(one)
        for rule, members in groups.items():
            for some in _some(members, 50_000):
                finest, longest = rule.archives[0].retention, rule.archives[-1].retention
                kept = finest if self._rules.drop_raw and len(rule.archives) > 1 else longest
                self._state.dropped += self._drop("qnib.points", some, "1", kept)
                for step in {level.step for level in levels.levels(rule)}:
                    kept = next((a.retention for a in rule.archives if a.step == step), longest)
                    self._drop("qnib.rollups", some, f"step = {step}", max(kept, step))

    def _drop(self, table: str, ids: list[int], which: str, kept: int) -> int:
        """Drop rows older than `kept` seconds, but for hours that are still to be rolled up. Returns how many."""
        before = self._clock.now() - timedelta(seconds=kept)
        before = before.replace(minute=0, second=0, microsecond=0)
        where = f"{which} AND series IN {{ids:Array(UInt64)}} AND time < {{before:DateTime64(3, 'UTC')}}"
        params = {"ids": ids, "before": before}
        hours = f"SELECT 1 FROM qnib.changed WHERE hour < {int(before.timestamp()) // HOUR} LIMIT 1"
        if table == "qnib.points" and self._engine.rows(hours):
            return 0
        count = int(self._engine.rows(f"SELECT count() AS n FROM {table} WHERE {where}", params)[0]["n"])
        if count:
            self._engine.run(f"DELETE FROM {table} WHERE {where}", params)
            log.info("%s: %d rows from before %s dropped", table, count, before.isoformat())
        return count


def _runs(hours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Hours that follow one another, as [first, last + 1)."""
    start = before = hours[0]
    for hour in hours[1:]:
        if hour != before + 1:
            yield start, before + 1
            start = hour
        before = hour
    yield start, before + 1


def _some(ids: list[int], most: int) -> Iterator[list[int]]:
    for start in range(0, len(ids), most):
        yield ids[start : start + most]
