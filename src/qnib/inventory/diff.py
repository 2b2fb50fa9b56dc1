"""One snapshot against the record: which rows are to be written, and what then is to be remembered.

Nothing is changed until `commit`: the rows go into the engine first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from qnib.inventory.fact import Changes, Fact, Form, Identity, relation_key
from qnib.inventory.lasting import lasting
from qnib.inventory.memory import Memory
from qnib.model import Ref, Scalar, Snapshot

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a source says of one thing."""

    form: Form
    kind: str
    key: str
    properties: Mapping[str, Scalar]
    since: datetime | None
    until: datetime | None
    source: Ref | None = None
    target: Ref | None = None


def statements(snapshot: Snapshot) -> Iterator[Statement]:
    """Each thing once; of two statements about the same thing the later one counts."""
    found: dict[Identity, Statement] = {}
    for entity in snapshot.entities:
        told = Statement("entity", entity.kind, entity.key, entity.properties, entity.since, entity.until)
        found["entity", entity.kind, entity.key] = told
    for relation in snapshot.relations:
        key = relation_key(relation.source, relation.target)
        found["relation", relation.kind, key] = Statement(
            "relation", relation.kind, key, relation.properties, relation.since, relation.until, relation.source,
            relation.target,
        )
    yield from found.values()


class Diff:
    def __init__(self, memory: Memory, cluster: str, told_by: str, at: datetime, recorded: datetime) -> None:
        self._memory = memory
        self._cluster = cluster
        self._told_by = told_by
        self._at = at
        self._recorded = recorded
        self._seen: set[Identity] = set()
        self._unheard: set[Identity] = set()
        """Told before, not now, and not ended by that: the next complete snapshot may end it."""
        self._puts: list[Fact] = []
        self._drops: list[Fact] = []
        self.rows: list[Fact] = []
        self.changes = Changes()

    def tell(self, told: Statement) -> None:
        identity = told.form, told.kind, told.key
        self._seen.add(identity)
        held = self._memory.holding(identity)
        if held is not None:
            self._known(held, told)
            return
        last = self._memory.last(identity)
        if last is not None and told.until is not None and last.stated:
            self._told_again(last, told)
            return
        since = told.since or told.until or self._at
        if last is not None and last.until is not None:
            since = max(since, last.until)
        if told.until is not None:  # it had begun and ended before anybody looked
            since = min(since, told.until)
        fact = Fact(
            self._cluster, told.form, told.kind, told.key, dict(told.properties), since, since, self._told_by,
            self._recorded, told.until, told.until is not None, None, told.source, told.target,
        )
        self._write(fact)
        self.changes.opened.append(fact)
        if fact.until is not None:
            self.changes.ended.append(fact)

    def miss(self, complete: frozenset[str], partial: bool = False) -> None:
        """What this source told before and does not tell now: ended where it lists all, not heard of elsewhere;
        where it tells of parts only, nothing follows."""
        if partial:
            before = self._memory.told.get(self._told_by, set()) - self._seen
            self._unheard |= {identity for identity in before if self._memory.holding(identity) is not None}
            return
        for identity in self._memory.told.get(self._told_by, set()) - self._seen:
            held = self._memory.holding(identity)
            if held is None or held.kind in lasting() or not self._memory.only(self._told_by, identity):
                continue
            if held.kind in complete:
                ended = replace(held, until=max(self._at, held.since), recorded=self._recorded, silent=None)
                self._write(ended)
                self.changes.ended.append(ended)
                continue
            self._unheard.add(identity)
            if held.silent is None:
                heard = self._memory.heard.get(self._told_by, held.recorded)
                self._write(replace(held, silent=heard, recorded=self._recorded))

    def commit(self) -> None:
        for fact in self._drops:
            self._memory.drop(fact)
        for fact in self._puts:
            self._memory.put(fact)
        self._memory.tell(self._told_by, self._seen | self._unheard)
        self._memory.heard[self._told_by] = self._at

    def _known(self, held: Fact, told: Statement) -> None:
        """A statement about something that holds."""
        properties = {**held.properties, **told.properties}
        same = properties == held.properties
        if told.until is not None:
            self._end(held, told, properties, same)
        elif same:
            if told.since is not None and told.since < held.began and held.since == held.began:
                self._earlier(held, told.since)
            elif held.silent is not None:
                self._write(replace(held, silent=None, recorded=self._recorded))
        else:
            self._change(held, told, properties)

    def _end(self, held: Fact, told: Statement, properties: dict[str, Scalar], same: bool) -> None:
        until = max(told.until or self._at, held.since)
        final = replace(
            held, properties=properties, until=until, stated=True, silent=None, recorded=self._recorded,
            told_by=self._told_by,
        )
        if not same and until > held.since:
            # What it was until then, and how it ended: the last version has no length.
            self.rows.append(replace(held, until=until, silent=None, recorded=self._recorded))
            final = replace(final, since=until)
        self._write(final)
        if not same:
            self.changes.changed.append((held, final))
        self.changes.ended.append(final)

    def _change(self, held: Fact, told: Statement, properties: dict[str, Scalar]) -> None:
        since = told.since if told.since is not None and held.since < told.since <= self._at else self._at
        since = max(since, held.since)
        new = replace(
            held, properties=properties, since=since, told_by=self._told_by, silent=None, recorded=self._recorded
        )
        if since > held.since:
            self.rows.append(replace(held, until=since, silent=None, recorded=self._recorded))
        self._write(new)
        self.changes.changed.append((held, new))

    def _earlier(self, held: Fact, since: datetime) -> None:
        """The source now knows that it began earlier than was believed."""
        last = self._memory.last(held.identity)
        if last is not None and last.until is not None:
            since = max(since, last.until)
        if since >= held.since:
            return
        self._take_back(held)
        new = replace(held, since=since, began=since, silent=None, recorded=self._recorded, told_by=self._told_by)
        self._write(new)
        self.changes.corrected.append((held, new))

    def _told_again(self, last: Fact, told: Statement) -> None:
        """A statement about something that has ended by its own account: mostly the same as before."""
        properties = {**last.properties, **told.properties}
        until = max(told.until or self._at, last.began)
        if properties == last.properties and until == last.until:
            return
        since = until if last.since == last.until else last.since
        new = replace(
            last, properties=properties, since=since, until=until, recorded=self._recorded, told_by=self._told_by
        )
        if since != last.since:
            self._take_back(last)
        self._write(new)
        self.changes.corrected.append((last, new))

    def _take_back(self, fact: Fact) -> None:
        self.rows.append(replace(fact, until=fact.since - _TICK, recorded=self._recorded))
        if fact.until is not None:
            self._drops.append(fact)

    def _write(self, fact: Fact) -> None:
        self.rows.append(fact)
        self._puts.append(fact)
