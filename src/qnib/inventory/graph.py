"""The graph people ask in Cypher: a projection of the facts, thrown away and made again whenever in doubt.

The live graph holds every fact of the last month, each with `since` and `until` (null: it still holds). What held
at one instant is a graph of its own, made when it is asked for.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

from qnib.clock import Clock, SystemClock
from qnib.domains import all_domains
from qnib.engine import Limits
from qnib.errors import NotFound, QnibError, Unavailable, WrongUse
from qnib.inventory.fact import Changes
from qnib.inventory.facts import Facts
from qnib.inventory.instants import Instants
from qnib.inventory.projection import KuzuStore
from qnib.inventory.schema import newest_columns
from qnib.inventory.store import Answer, Newest, Projection, Store
from qnib.model import Ref
from qnib.settings import Settings

log = logging.getLogger("qnib")

KEEP = timedelta(days=30)
"""Ended facts older than this are asked for with a time (`--at`), not found in the live graph."""
MOST = 500
"""More snapshots queued than this, and the graph is made anew in bulk."""
PATIENCE = 3.0
"""Seconds a reader waits for what is queued."""
AT_FIRST = 30.0
"""Seconds a reader waits for a graph that was empty when it was opened."""
_CONFIRM_EVERY = timedelta(seconds=5)
_NEWEST_EVERY = timedelta(seconds=10)

Values = Callable[[datetime], Iterable[Newest]]
"""The newest values of metrics at a time, by entity: where they come from is not the graph's business."""


class Graph(Protocol):
    """What the rest of QNIB may know of a graph database."""

    def rebuild(self) -> int:
        """Make the live graph again from the facts; gives the number of facts in it."""

    def update(self, changes: Changes) -> None:
        """Take in what one snapshot changed."""

    def cypher(
        self, query: str, params: Mapping[str, Any] | None = None, *, at: datetime | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        """One reading query. Raises WrongUse for what does not parse or would write, TooMuch past the limits."""

    def neighbours(self, cluster: str, ref: Ref, *, at: datetime | None = None) -> list[dict[str, Any]]:
        """What is tied to an entity: {relation, direction, ref, since, until}. Raises NotFound."""

    def shortest_path(self, cluster: str, source: Ref, target: Ref, *, at: datetime | None = None) -> list[Ref]:
        """The entities on a shortest way between two, both included; empty when there is none."""

    def close(self) -> None: ...


class LiveGraph:
    """`Graph` over a database. Thread-safe.

    Changes are written by a thread of its own, many at once when they come quickly: planning a query costs the
    database more than running it, and who records facts must not wait for that. Readers do wait for what is queued.
    """

    def __init__(self, store: Store, facts: Facts, clock: Clock, values: Values | None = None) -> None:
        self._store = store
        self.name = store.name
        """The database, for people."""
        self._values = values
        columns = {name for kind in newest_columns(all_domains()).values() for name in kind}
        self._mentions = re.compile(rf"\b({'|'.join(sorted(columns)) or '(?!)'})\b")
        self._facts = facts
        self._clock = clock
        self._lock = threading.RLock()
        self._making = threading.Lock()
        self._instants = Instants(facts)
        self._confirmed_at = clock.now()
        self._heard: dict[tuple[str, str], datetime] = {}
        self._queued = threading.Condition()
        self._queue: list[Changes] = []
        self._busy = self._anew = self._closing = False
        self._trouble: QnibError | None = None
        """Why the live graph is behind the facts and cannot be brought up to them."""
        kept = store.reopen(facts.mark())
        self.rebuilt = kept is None
        """Whether the graph had to be made again when it was opened."""
        self._mark = facts.mark()
        """The record's mark up to which the live graph is."""
        begun = None if kept else store.begin(facts.clusters())
        self._anew = self._empty = begun is not None
        self._live = kept or begun or self._build()
        self._thread = threading.Thread(target=self._work, name="graph", daemon=True)
        self._thread.start()

    # ── writing ───────────────────────────────────────────────────────────────────────────────

    def rebuild(self) -> int:
        with self._making:
            facts = self._replace()
            self._trouble = None
            return facts

    def update(self, changes: Changes) -> None:
        if not changes:
            return
        facts = [*changes.opened, *changes.ended, *(after for _, after in [*changes.changed, *changes.corrected])]
        touched = [fact.since for fact in facts] + [fact.until for fact in facts if fact.until]
        self._instants.forget(min(touched, default=None))
        with self._queued:
            self._queue.append(changes)
            if len(facts) > self._store.bulk or len(self._queue) > MOST:
                self._queue.clear()
                self._anew = True
            self._queued.notify_all()

    def _work(self) -> None:
        while True:
            with self._queued:
                self._busy = False
                self._queued.notify_all()
                self._queued.wait_for(lambda: self._queue or self._anew or self._closing)
                if self._closing and not self._queue and not self._anew:
                    return
                batch, self._queue = self._queue, []
                anew, self._anew, self._busy = self._anew, False, True
            try:
                with self._making:
                    self._take(batch, anew)
                self._trouble = None
            except Exception as error:  # noqa: BLE001 - told to whoever asks the graph, and logged
                self._tell(error)
                with self._queued:  # not at once again: whatever is wrong needs a moment
                    self._queued.wait_for(lambda: self._closing, 1)
                    self._anew = not self._closing

    def _tell(self, error: Exception) -> None:
        """Keep what is wrong for those who ask, and log it once."""
        if not isinstance(error, QnibError):
            log.error("the graph could not be brought up to date", exc_info=error)
            error = Unavailable(
                f"The graph could not be brought up to date: {error}", where=self._store.name,
                try_next="it is tried again every second; the server's log says more.",
            )
        elif str(error) != str(self._trouble) and not self._closing:
            log.warning("the graph could not be brought up to date: %s", error)
        self._trouble = error

    def _take(self, batch: list[Changes], anew: bool) -> None:
        if not anew:
            # What a rebuild has seen already is not to be written twice.
            batch = [changes for changes in batch if changes.mark > self._mark]
            if not batch:
                return
            try:
                self._live.write(batch, self._facts.confirmed)
                self._mark = batch[-1].mark
                return
            except Exception:
                log.warning("the graph did not take a change; it is made again", exc_info=True)
        self._replace()

    def _replace(self) -> int:
        made = self._build()
        with self._lock:
            before, self._live, self._empty = self._live, made, False
        self._instants.forget(None)
        before.retire()
        return made.size

    def _build(self) -> Projection:
        self._store.check()
        mark, facts = self._facts.picture(self._clock.now() - KEEP)
        made = self._store.build(facts, self._facts.confirmed, mark)
        self._mark = mark
        return made

    def _settled(self) -> None:
        """Wait for what is queued; a moment only: an answer that is a second old is better than none.

        Raises what keeps the graph from being brought up to date.
        """
        with self._queued:
            self._queued.wait_for(
                lambda: self._trouble or not (self._queue or self._anew or self._busy),
                AT_FIRST if self._empty else PATIENCE,
            )
        if (trouble := self._trouble) is not None:
            raise trouble.with_traceback(None)

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def cypher(
        self, query: str, params: Mapping[str, Any] | None = None, *, at: datetime | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        with self._borrow(at) as projection:
            if at is None and "confirmed" in query:
                self._confirm(projection)
            if self._values is not None and self._mentions.search(query):
                self._revalue(projection, at)
            try:
                return projection.ask(query, params or {}, limits or Limits())
            except WrongUse as error:
                if at is None or isinstance(self._store, KuzuStore):
                    raise
                raise WrongUse(
                    error.what, where=error.where,
                    try_next=f"graphs of other times are in Kuzu, the live one in {self.name}: keep to what both read.",
                ) from error

    def neighbours(self, cluster: str, ref: Ref, *, at: datetime | None = None) -> list[dict[str, Any]]:
        with self._borrow(at) as projection:
            if not projection.has(cluster, ref):
                raise NotFound(
                    f"The graph knows no {ref.kind} {ref.key!r}.", where=f"cluster {cluster}",
                    try_next=f"`qnib graph cypher 'MATCH (n:{ref.kind}) RETURN n.key'` lists them.",
                )
            return projection.neighbours(cluster, ref)

    def shortest_path(self, cluster: str, source: Ref, target: Ref, *, at: datetime | None = None) -> list[Ref]:
        with self._borrow(at) as projection:
            if source == target:
                return [source] if projection.has(cluster, source) else []
            return projection.path(cluster, source, target)

    def close(self) -> None:
        """Write what is queued and let go of the database. Closing twice is harmless."""
        with self._queued:
            if self._closing:
                return
            self._closing = True
            self._queued.notify_all()
        self._store.stop()
        self._thread.join()
        self._instants.forget(None)
        self._live.retire()
        self._store.close()

    @contextmanager
    def _borrow(self, at: datetime | None) -> Iterator[Projection]:
        if at is not None:
            with self._instants.borrowed(at) as projection:
                yield projection
            return
        self._settled()
        with ExitStack() as held:
            with self._lock:  # taken while nobody can retire it in between
                projection = held.enter_context(self._live.borrowed())
            yield projection

    def _revalue(self, projection: Projection, at: datetime | None) -> None:
        """Values of metrics move all the time, so they are put on the entities when somebody asks for them."""
        now = at or self._clock.now()
        with self._making:
            known = projection.valued
            if self._values is not None and (known is None or abs(now - known) >= _NEWEST_EVERY):
                projection.newest(self._values(now))
                projection.valued = now

    def _confirm(self, projection: Projection) -> None:
        """`confirmed` moves with every snapshot, so it is brought up to date when somebody asks for it."""
        with self._lock:
            now = self._clock.now()
            if now - self._confirmed_at >= _CONFIRM_EVERY or now < self._confirmed_at:
                self._confirmed_at = now
                heard = self._facts.heard()
                projection.confirm({told: at for told, at in heard.items() if self._heard.get(told) != at})
                self._heard = heard


def open_graph(
    settings: Settings, facts: Facts, clock: Clock | None = None, values: Values | None = None
) -> LiveGraph:
    """The live graph: as it was left if it fits the facts, else made again.

    In ``settings.home/graph`` or, if ``settings.graph.url`` names one, in a Neo4j. Raises Unavailable or Conflict
    when that cannot hold it.
    """
    store: Store = _neo4j(settings) if settings.graph.url else KuzuStore(settings.home / "graph")
    try:
        return LiveGraph(store, facts, clock or SystemClock(), values)
    except BaseException:
        store.close()
        raise


def _neo4j(settings: Settings) -> Store:
    from qnib.inventory.bolt import Bolt  # the driver takes a while to load, and few need it
    from qnib.inventory.neo4j import Neo4jStore

    told = settings.graph
    bolt = Bolt(told.url, told.user, told.password.get_secret_value(), told.database)
    return Neo4jStore(bolt, settings.home / "graph")
