"""What a graph database has to do for the live graph: all that `qnib.inventory.graph` knows of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

from qnib.engine import Limits
from qnib.inventory.fact import Changes, Fact
from qnib.model import Ref, Scalar

Newest = tuple[str, Ref, Mapping[str, Scalar]]
"""Cluster, entity, and its newest values by column."""
Confirmed = Callable[[Fact], datetime]
Period = tuple[str, str, str, str, datetime]


@dataclass(frozen=True, slots=True)
class Answer:
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


class Projection(Protocol):
    """One graph made from facts. One thread writes at a time, any number read."""

    size: int
    """Facts it was built from."""
    valued: datetime | None
    """The time whose values of metrics its entities have."""

    def write(self, batch: Sequence[Changes], confirmed: Confirmed) -> None:
        """Bring what changed, in this order, to what it is now: all of it or nothing, and the mark with it."""

    def confirm(self, heard: Mapping[tuple[str, str], datetime]) -> None:
        """Set `confirmed` of what holds to when its (cluster, source) last told of it."""

    def newest(self, values: Iterable[Newest]) -> None:
        """Put the newest values of metrics on their entities; what is not told of has none."""

    def ask(self, query: str, params: Mapping[str, Any], limits: Limits) -> Answer:
        """One reading query of a person's. Raises Forbidden for what is no reading, WrongUse, TooMuch."""

    def has(self, cluster: str, ref: Ref) -> bool: ...

    def neighbours(self, cluster: str, ref: Ref) -> list[dict[str, Any]]: ...

    def path(self, cluster: str, source: Ref, target: Ref) -> list[Ref]: ...

    def borrowed(self) -> AbstractContextManager[Self]:
        """Hold it while it is read, even when another takes its place meanwhile."""

    def retire(self) -> None:
        """Let go of it as soon as nobody reads it any more: it is not in force, or the server ends."""


class Store(Protocol):
    """The place where the live graph is kept."""

    name: str
    """The database and its version, for people."""
    bulk: int
    """More changed facts than this in one snapshot, and the graph is made anew: one by one would take longer."""

    def reopen(self, mark: str) -> Projection | None:
        """The graph that is kept; None when there is none, it cannot be read, or is not up to `mark` of the facts."""

    def begin(self, clusters: Iterable[str]) -> Projection | None:
        """A graph that is still to be built, so that nobody waits for that; None where it has to be there first.

        Raises Conflict where it could not be built.
        """

    def build(self, facts: Iterable[Fact], confirmed: Confirmed, mark: str) -> Projection:
        """See that exactly these facts are kept from now on."""

    def check(self) -> None:
        """Raises Unavailable when it cannot be written to now: what goes to the trouble of a rebuild asks first."""

    def stop(self) -> None:
        """The server ends: a build that goes on need not be finished."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Merged:
    """Several changes as one: each period of each thing once, in its last version."""

    facts: dict[Period, Fact]
    new: set[Period]
    """Those that no graph has had yet."""
    moved: list[Fact]
    """What a graph has had with another beginning."""


def period(fact: Fact) -> Period:
    """One thing of one cluster from when it began: what the graph holds once."""
    return fact.cluster, *fact.identity, fact.began


def merged(batch: Sequence[Changes]) -> Merged:
    """What `batch` amounts to, applied in this order."""
    facts: dict[Period, Fact] = {}
    new: set[Period] = set()
    moved: list[Fact] = []
    for changes in batch:
        for before, now in changes.corrected:
            if before.began == now.began:
                continue
            if facts.pop(period(before), None) is None or period(before) not in new:
                moved.append(before)
            new.discard(period(before))
            new.add(period(now))
        new |= {period(fact) for fact in changes.opened}
        after = [now for _, now in [*changes.changed, *changes.corrected]]
        facts |= {period(fact): fact for fact in [*changes.opened, *after, *changes.ended]}
    return Merged(facts, new, moved)
