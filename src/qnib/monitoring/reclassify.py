"""Applies the rules in force to events that are stored: what they say of them is computed anew, in SQL.

Events are looked at in slices of bounded size, in order of time, as lines are when they come in. Those of which the
rules now say something else wait in a Join table; a mutation takes it over from there into the record. Rows that come
in meanwhile are no part of it and have met the new rules already. Done twice it changes nothing the second time; broken
off, it is done again from the start.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from qnib.clock import TICK, Clock
from qnib.engine import Engine
from qnib.errors import Conflict
from qnib.monitoring import classify
from qnib.monitoring.known import Known
from qnib.monitoring.rulebook import Rulebook, RuleSet
from qnib.monitoring.storage import came
from qnib.monitoring.storage.notes import noted

SLICE = 50_000
"""Events looked at together: about 50 MB in memory."""
TOGETHER = 200_000
"""Changed events from which on a mutation takes them over: each rewrites columns of every part it touches."""
_LINES, _EVENTS = "qnib_staging.old_lines", "qnib_staging.old_events"
_WAITING = "qnib.reclassified"
_OURS = "listener != 'qnib'"  # what QNIB itself wrote never was a line
_SETTINGS = {"short_circuit_function_evaluation": "force_enable", "max_threads": 1}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: events looked at of all in the period, and how many of them changed."""

    state: str = "idle"  # idle, running, done, failed
    cluster: str = ""
    start: datetime | None = None
    end: datetime | None = None
    rules: int = 0
    total: int = 0
    looked_at: int = 0
    changed: int = 0
    problem: str = ""


class Reclassify:
    """One at a time: `begin` starts it in a thread of its own, `run` does it here; `progress` is always true."""

    def __init__(
        self, clock: Clock, engine: Engine, rulebook: Rulebook, known: Known, *, counted: bool = False
    ) -> None:
        """`counted`: there are aggregates, which change with what is said of events."""
        self._counted = counted
        self._clock = clock
        self._known = known
        self._engine = engine
        self._rulebook = rulebook
        self._busy = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress = Progress()

    def begin(self, cluster: str, start: datetime, end: datetime) -> None:
        """Raises Conflict when one is under way."""
        self._take(cluster, start, end)
        self._thread = threading.Thread(target=self._safely, args=(cluster, start, end), name="reclassify")
        self._thread.start()

    def run(self, cluster: str, start: datetime, end: datetime) -> Progress:
        """The same, waiting for the end. Raises Conflict when one is under way."""
        self._take(cluster, start, end)
        try:
            self._all(cluster, start, end)
        finally:
            self._busy.release()
        return self.progress

    def stop(self) -> None:
        """Break off after the slice under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def tidy(self) -> None:
        """End what a process that was killed has left: its mutation goes on by itself, and is waited for."""
        if self._engine.rows(f"EXISTS TABLE {_WAITING}")[0]["result"]:
            # Mutations are done in their order: one that changes nothing ends after those before it
            self._engine.run(
                "ALTER TABLE qnib.events UPDATE kind = kind WHERE 0", settings={"mutations_sync": 1}
            )
            self._engine.run(f"DROP TABLE IF EXISTS {_WAITING} SYNC")

    def _take(self, cluster: str, start: datetime, end: datetime) -> None:
        if not self._busy.acquire(blocking=False):
            now = self.progress
            raise Conflict(
                f"Events are being reclassified already ({now.looked_at} of {now.total}).",
                where=f"cluster {now.cluster}", try_next="wait for its end: `qnib events reclassify --status`.",
            )
        self.progress = Progress("running", cluster, start, end)

    def _safely(self, cluster: str, start: datetime, end: datetime) -> None:
        try:
            self._all(cluster, start, end)
        except Exception as error:  # noqa: BLE001  nobody waits for this thread: it is told by progress
            self._tell(state="failed", problem=str(error)[:500])
        finally:
            self._busy.release()

    def _all(self, cluster: str, start: datetime, end: datetime) -> None:
        rules = self._rulebook.current()
        with self._rulebook.in_use:
            pass  # lines that came in under older rules are stored now; all later ones meet these
        self._prepare(rules)
        where = (
            f"cluster = {{cluster:String}} AND {_OURS}"
            " AND time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}"
        )
        whole = {"cluster": cluster, "start": start, "end": end}
        total = self._engine.rows(f"SELECT count() AS n FROM qnib.events WHERE {where}", whole)[0]["n"]
        self._tell(rules=len(rules.rules), total=total)
        waiting_since = start
        for first, last in self._slices(where, whole):
            if self._stopping.is_set():
                self._tell(state="failed", problem="It was broken off: the server stopped.")
                return
            waiting = self._look(rules, where, {"cluster": cluster, "start": first, "end": last})
            if waiting >= TOGETHER or (waiting and last == end):
                self._take_over(where, {"cluster": cluster, "start": waiting_since, "end": last})
                waiting_since = last
        self._engine.run(f"DROP TABLE IF EXISTS {_WAITING} SYNC")
        self._tell(state="done", looked_at=total)

    def _prepare(self, rules: RuleSet) -> None:
        self.tidy()
        self._engine.run(classify.lines_table(rules.rules, _LINES))
        self._engine.run(classify.events_table(_EVENTS))
        columns = ", ".join(f"{name} {kind}" for name, kind in classify.TYPES.items())
        # On disk, for a mutation outlives the process that asked for it
        self._engine.run(f"CREATE TABLE {_WAITING} (id UInt64, {columns}) ENGINE = Join(ANY, LEFT, id)")

    def _slices(self, where: str, whole: Mapping[str, Any]) -> Iterator[tuple[datetime, datetime]]:
        """Windows of at most `SLICE` events, but for more of them that bear the same microsecond."""
        first, end = whole["start"], whole["end"]
        while True:
            found = self._engine.rows(
                f"SELECT time FROM qnib.events WHERE {where} ORDER BY time LIMIT 1 OFFSET {SLICE}",
                {**whole, "start": first},
            )
            if not found:
                yield first, end
                return
            last = max(found[0]["time"], first + TICK)
            yield first, last
            first = last

    def _look(self, rules: RuleSet, where: str, window: Mapping[str, Any]) -> int:
        """Classify a slice; of what differs from the record the new meaning waits. Returns how many wait in all."""
        run = self._engine.run
        for table in (_LINES, _EVENTS):
            run(f"TRUNCATE TABLE {table}")
        run(
            f"INSERT INTO {_LINES} SELECT cluster, id, time, received, sender, listener, host, app, pid, facility,"
            " said, message, CAST(sent, 'Array(Tuple(String, String))'), '' AS reason, '' AS raw"
            f" FROM qnib.events WHERE {where}",
            window, settings=_SETTINGS,
        )
        found = self._engine.rows(classify.matching(_LINES))
        for statement in classify.classify(rules.rules, found, lines=_LINES, events=_EVENTS):
            run(statement, settings=_SETTINGS)
        names, meaning = ", ".join(classify.TYPES), f"id, {classify.fingerprint()}"
        run(
            f"INSERT INTO {_WAITING} (id, {names}) SELECT id, {names} FROM {_EVENTS}"
            f" WHERE ({meaning}) NOT IN (SELECT {meaning} FROM qnib.events WHERE {where})",
            window,
        )
        if any(rules.rules[number - 1].metrics for row in found for number in row["hits"]):
            # A point that is there already is the same slot
            self._known.name(rules)
            self._known.take(
                classify.numbers(_EVENTS), secrets.token_hex(8), lambda which: run(classify.points(which, _EVENTS)),
                _SETTINGS,
            )
            run(noted(classify.numbers(_EVENTS), secrets.randbits(62)))
        run(classify.patterns(_EVENTS))
        looked_at = self._engine.rows(f"SELECT count() AS n FROM {_EVENTS}")[0]["n"]
        self._tell(looked_at=self.progress.looked_at + looked_at)
        return int(self._engine.rows(f"SELECT count() AS n FROM {_WAITING}")[0]["n"])

    def _take_over(self, where: str, window: Mapping[str, Any]) -> None:
        """What waits becomes the record's."""
        sets = ", ".join(f"{name} = joinGet('{_WAITING}', '{name}', id)" for name in classify.TYPES)
        self._engine.run(
            f"ALTER TABLE qnib.events UPDATE {sets} WHERE {where} AND id IN (SELECT id FROM {_WAITING})",
            window, settings={"mutations_sync": 1},
        )
        if self._counted:
            said_anew = f"{where} AND id IN (SELECT id FROM {_WAITING})"
            self._engine.run(came.noted("qnib.events", secrets.randbits(62), said_anew), window)
        changed = self._engine.rows(f"SELECT count() AS n FROM {_WAITING}")[0]["n"]
        self._engine.run(f"TRUNCATE TABLE {_WAITING}")
        self._tell(changed=self.progress.changed + changed)

    def _tell(self, **known: Any) -> None:
        self.progress = replace(self.progress, **known)
