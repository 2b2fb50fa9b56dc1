"""Which intervals of which aggregates are to be counted, and when: a thread that has them counted (`context.counting`).

An interval is counted once it is over, and again, whole, whenever events come in that belong to it or are said anew;
the last count stands. Which intervals that are is noted with the events (`monitoring.storage.came`), and a note goes
only when they were counted: a crash at any place means that it is done again, which gives the same.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from qnib import clusters
from qnib.context import counting
from qnib.context.counting import Counted
from qnib.context.known import Sources, iso
from qnib.errors import NotFound, QnibError, TooMuch, WrongUse
from qnib.monitoring.storage.came import SLOT

log = logging.getLogger("qnib.aggregates")

EVERY = 5.0
GRACE = 5.0
"""Seconds after its end at which an interval is counted: its last events are under way until then."""
AGAIN = 60.0
"""Seconds until what could not be counted is tried again."""
FORGET = 30.0
"""Seconds between two times at which notes are dropped: each rewrites a part of their table."""
MOST_SLOTS = 50_000
"""Intervals of the past that one request may have counted."""
_ROWS = 50_000  # of one question
_NOTES = 50_000  # at once
_LONGEST_GAP = 600.0  # seconds after which a server that stood still says nothing of the time between


class Publish(Protocol):
    def __call__(self, topic: str, cluster: str, newest: datetime | None) -> None: ...


def _nobody(topic: str, cluster: str, newest: datetime | None) -> None:
    """Nobody watches."""


@dataclass
class _State:
    """One aggregate: starts of intervals that are to be counted, by cluster, and how it goes."""

    what: Counted
    pending: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    ran: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Of those, the ones through which the server ran: that nothing came in is known of no others."""
    new: bool = False
    """Its past is being counted since it was declared."""
    counted: int = 0
    """The end of the newest interval that was counted."""
    trouble: str = ""
    again: float = 0.0


class Aggregates:
    """`look` may be called by hand; `start` has it called by a thread of its own. Raises WrongUse for a query that is
    none, when it is made."""

    def __init__(self, sources: Sources, publish: Publish = _nobody) -> None:
        self._sources, self._publish = sources, publish
        self._all = {
            name: _State(Counted(sources, name, told)) for name, told in sources.settings.aggregates.items()
        }
        self._seen: set[tuple[str, int, int]] = set()
        self._until: int | None = None
        self._forgot = 0.0
        self._lock = threading.Lock()  # of `pending`: requests add to it
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aggregates")
        self.trouble = ""

    def start(self) -> None:
        """Without aggregates nothing is counted, and what was noted for earlier ones goes: declared again, they begin
        anew."""
        if self._all:
            self._thread.start()
            return
        for table in ("came", "aggregates"):
            self._sources.engine.run(f"TRUNCATE TABLE qnib.{table}")

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def own(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note QNIB's own events, which no file brought."""
        if self._all and rows:
            number = secrets.randbits(62)
            slots = {(str(row["cluster"]), int(row["time"].timestamp()) // SLOT) for row in rows}
            notes = [{"cluster": cluster, "slot": slot, "noted": number} for cluster, slot in sorted(slots)]
            self._sources.engine.insert("qnib.came", notes)

    def state(self, cluster: str) -> list[dict[str, Any]]:
        """Each aggregate that concerns the cluster: what it counts, how many series it has, how far it is."""
        return [
            {
                "name": one.what.name, "series": one.what.metric.name, "query": told.query, "interval": told.interval,
                "by": told.by, "most_series": told.most_series, "known": len(one.what.paths(cluster)),
                "counted": iso(datetime.fromtimestamp(one.counted, UTC)) if one.counted else None,
                "waiting": len(one.pending.get(cluster, ())), "trouble": one.trouble or self.trouble,
            }
            for one in self._all.values() if one.what.concerns(cluster) for told in [one.what.told]
        ]  # fmt: skip

    def health(self) -> dict[str, Any]:
        """How many are declared, how many intervals wait or are under way, and what is wrong."""
        trouble = {one.what.name: one.trouble for one in self._all.values() if one.trouble}
        with self._lock:
            waiting = sum(len(slots) for one in self._all.values() for slots in one.pending.values())
        told = "; ".join(f"{name}: {why}" for name, why in trouble.items())
        return {"count": len(self._all), "waiting": waiting, "trouble": told or self.trouble}

    def backfill(self, name: str, cluster: str, start: datetime, end: datetime) -> int:
        """Have a time of the past counted, again or for the first time. Returns how many intervals it has.

        Raises NotFound for an aggregate nobody declared, WrongUse for too long a time.
        """
        one = self._all.get(name)
        if one is None or not one.what.concerns(cluster):
            raise NotFound(
                f"No aggregate {name!r} is declared for this cluster.", where="aggregates",
                try_next="`qnib events aggregates` lists them; they are settings.",
            )
        step = one.what.told.interval
        first, last = one.what.start_of(start.timestamp()), min(end, self._sources.clock.now()).timestamp()
        slots = range(max(0, first), int(last), step)
        if len(slots) > MOST_SLOTS:
            raise WrongUse(
                f"That are {len(slots)} intervals; at most {MOST_SLOTS} are counted at once.", where=name,
                try_next=f"name a time of at most {MOST_SLOTS * step // 86_400} days.",
            )
        with self._lock:
            one.pending[cluster].update(slots)
            one.again = 0.0
        return len(slots)

    def look(self) -> None:
        """Count what is to be counted now. Notes are dropped afterwards."""
        now = self._sources.clock.now()
        self._begin(now)
        self._ran(now)
        notes = self._notes()
        for one in self._all.values():
            if one.again <= time.monotonic():
                self._count_all(one, now)
        self._forget(notes)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
                self.trouble = ""
            except Exception as error:  # noqa: BLE001  whatever it is, it is told and tried again
                self.trouble = str(error)[:500]
                log.warning("aggregates: %s", self.trouble)
            self._stopping.wait(EVERY)

    # ── what is to be counted ─────────────────────────────────────────────────────────────────

    def _begin(self, now: datetime) -> None:
        """At the first look: of what is declared anew, the past."""
        if self._until is not None:
            return
        engine = self._sources.engine
        counting.prepare(engine)
        engine.run("DELETE FROM qnib.aggregates WHERE name NOT IN {names:Array(String)}", {"names": list(self._all)})
        told = {row["name"]: row["declared"] for row in engine.rows("SELECT name, declared FROM qnib.aggregates FINAL")}
        for one in self._all.values():
            if told.get(one.what.name) == one.what.declared:
                continue
            one.new = True
            length = min(one.what.told.backfill, MOST_SLOTS * one.what.told.interval)
            with self._lock:
                for cluster in self._clusters(one):
                    first = one.what.start_of(now.timestamp() - length)
                    one.pending[cluster].update(range(max(0, first), int(now.timestamp()), one.what.told.interval))

    def _ran(self, now: datetime) -> None:
        """Intervals through which the server ran are counted, too, when nothing came in. Only where there is one
        series: of several, each may be silent because its host is."""
        last = int(now.timestamp())
        if self._until is None or not 0 <= last - self._until <= _LONGEST_GAP:
            self._until = last
        with self._lock:
            for one in self._all.values():
                first = -(-self._until // one.what.told.interval) * one.what.told.interval
                slots = range(first, one.what.start_of(last) + 1, one.what.told.interval)
                for cluster in self._clusters(one) if not one.what.told.by else ():
                    one.pending[cluster].update(slots)
                    one.ran[cluster].update(slots)
                    if len(one.ran[cluster]) > MOST_SLOTS:
                        one.ran[cluster] = set(sorted(one.ran[cluster])[-MOST_SLOTS // 2 :])
        # An interval is taken whole or not at all: the next look goes on where this one's last interval may begin
        self._until = last + 1

    def _notes(self) -> list[dict[str, Any]]:
        notes = self._sources.engine.rows(
            f"SELECT cluster, slot, noted FROM qnib.came ORDER BY slot LIMIT {_NOTES} WITH TIES"
        )
        with self._lock:
            for row in notes:
                if (key := (row["cluster"], row["slot"], row["noted"])) in self._seen:
                    continue
                self._seen.add(key)
                for one in self._all.values():
                    if one.what.concerns(row["cluster"]):
                        one.pending[row["cluster"]].add(one.what.start_of(row["slot"] * SLOT))
        return notes

    def _forget(self, notes: Sequence[Mapping[str, Any]]) -> None:
        """Drop notes whose intervals were counted. One in trouble does not keep them: it remembers them itself."""
        full = len(notes) >= _NOTES
        if not notes or (not full and time.monotonic() - self._forgot < FORGET):
            return
        self._forgot = time.monotonic()
        waiting = [one for one in self._all.values() if not one.trouble]
        done = [
            row for row in notes
            if not any(one.what.start_of(row["slot"] * SLOT) in one.pending.get(row["cluster"], ()) for one in waiting)
        ]  # fmt: skip
        for cluster in sorted({row["cluster"] for row in done}):
            mine = [row for row in done if row["cluster"] == cluster]
            self._sources.engine.run(
                "DELETE FROM qnib.came WHERE cluster = {cluster:String} AND slot IN {slots:Array(UInt32)}"
                " AND noted IN {noted:Array(UInt64)}",
                {
                    "cluster": cluster, "slots": sorted({row["slot"] for row in mine}),
                    "noted": sorted({row["noted"] for row in mine}),
                },
            )  # fmt: skip
        self._seen -= {(row["cluster"], row["slot"], row["noted"]) for row in done}

    def _clusters(self, one: _State) -> list[str]:
        settings = self._sources.settings
        known = {settings.cluster, *(cluster.name for cluster in clusters.load_all(settings.clusters))}
        return sorted(cluster for cluster in known if one.what.concerns(cluster))

    # ── counting ──────────────────────────────────────────────────────────────────────────────

    def _count_all(self, one: _State, now: datetime) -> None:
        """Count the intervals that are over, some at a time; those under way wait."""
        told = one.what.told
        over, most = now.timestamp() - GRACE - told.interval, _ROWS // (told.most_series if told.by else 25)
        with self._lock:
            due = {cluster: sorted(slot for slot in slots if slot <= over) for cluster, slots in one.pending.items()}
        try:
            for cluster, slots in due.items():
                for some in _together(slots, told.interval, most):
                    if self._stopping.is_set():
                        return
                    self._count_some(one, cluster, some)
        except QnibError as error:
            one.trouble, one.again = str(error)[:500], time.monotonic() + AGAIN
            log.warning("aggregate %s: %s", one.what.name, one.trouble)
            return
        one.trouble = ""
        if one.new:
            one.new = False
            self._sources.engine.insert(
                "qnib.aggregates", [{"name": one.what.name, "declared": one.what.declared, "at": now}]
            )  # fmt: skip

    def _count_some(self, one: _State, cluster: str, slots: Sequence[int]) -> None:
        """What asks for too much at once is asked in halves."""
        try:
            self._count(one, cluster, slots)
        except TooMuch:
            if len(slots) == 1:
                raise
            middle = len(slots) // 2
            self._count_some(one, cluster, slots[:middle])
            self._count_some(one, cluster, slots[middle:])
            return
        with self._lock:
            one.pending[cluster].difference_update(slots)
            one.ran[cluster].difference_update(slots)
        one.counted = max(one.counted, slots[-1] + one.what.told.interval)

    def _count(self, one: _State, cluster: str, slots: Sequence[int]) -> None:
        with self._lock:
            ran = one.ran[cluster] & set(slots)
        if newest := one.what.count(cluster, slots, ran):
            self._publish("points", cluster, newest)


def _together(slots: Sequence[int], step: int, most: int) -> Iterator[list[int]]:
    """Slots in order, those together that lie within `most` steps."""
    some: list[int] = []
    for slot in slots:
        if some and slot - some[0] >= max(1, most) * step:
            yield some
            some = []
        some.append(slot)
    if some:
        yield some
