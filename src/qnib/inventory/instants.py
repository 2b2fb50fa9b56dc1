"""Graphs of what held at one instant: each made when it is asked for, in memory, and a few of them kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

from qnib.domains import all_domains
from qnib.inventory.facts import Facts
from qnib.inventory.projection import KuzuProjection
from qnib.inventory.schema import instant
from qnib.inventory.store import Projection

MOST = 4
"""Graphs of other times kept at once."""


class Instants:
    """Always in the embedded database, wherever the live graph is: docs/decisions/0006. Thread-safe."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._lock = threading.Lock()
        self._made: OrderedDict[datetime, KuzuProjection] = OrderedDict()
        self._begun: set[tuple[datetime, object]] = set()
        """Those that are being made and not out of date already."""

    @contextmanager
    def borrowed(self, at: datetime) -> Iterator[Projection]:
        with ExitStack() as held:
            projection = None
            while projection is None:
                self._make(at)
                with self._lock:  # taken while nobody can retire it in between
                    if (found := self._made.get(at)) is not None:
                        projection = held.enter_context(found.borrowed())
            yield projection

    def forget(self, since: datetime | None) -> None:
        """The past was told anew from `since` on (None: all of it): graphs of later instants are not right any more."""
        with self._lock:
            for at in [at for at in self._made if since is None or at >= since]:
                self._made.pop(at).retire()
            self._begun = {(at, one) for at, one in self._begun if since is not None and at < since}

    def _make(self, at: datetime) -> None:
        """See that the graph of an instant is there, unless the past is told anew meanwhile."""
        begun = at, object()
        with self._lock:
            if at in self._made:
                self._made.move_to_end(at)
                return
            self._begun.add(begun)
        # Without an end, for none was known then: a query that asks for `until IS NULL` means the same at any time.
        facts = self._facts.picture_at(at)
        made = KuzuProjection.build(None, all_domains(), facts, self._facts.confirmed, instant(at) or "")
        with self._lock:
            if begun not in self._begun or at in self._made:
                self._begun.discard(begun)
                made.retire()
                return
            self._begun.discard(begun)
            self._made[at] = made
            while len(self._made) > MOST:
                self._made.popitem(last=False)[1].retire()
