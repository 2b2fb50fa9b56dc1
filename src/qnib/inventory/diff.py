"""One snapshot against the record: which rows are to be written, and what then is to be remembered.

Nothing is changed until `commit`: the rows go into the engine first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from qnib.clock import TICK
from qnib.inventory.fact import Changes, Fact
from qnib.inventory.lasting import lasting
from qnib.inventory.memory import Memory, Where
from qnib.model import Entity, Relation, Scalar, Snapshot

_NOTHING: frozenset[str] = frozenset()

Statement = Entity | Relation
"""What a source says of one thing."""


def statements(snapshot: Snapshot) -> dict[Where, dict[str, Statement]]:
    """Each thing once, by where it belongs and its key; of two statements about the same thing the later one counts."""
    found: dict[Where, dict[str, Statement]] = {}
    entities: dict[str, dict[str, Statement]] = {}
    for entity in snapshot.entities:
        own = entities.get(entity.kind)
        if own is None:
            own = entities[entity.kind] = found["entity", entity.kind] = {}
        own[entity.key] = entity
    relations: dict[str, dict[str, Statement]] = {}
    for relation in snapshot.relations:
        own = relations.get(relation.kind)
        if own is None:
            own = relations[relation.kind] = found["relation", relation.kind] = {}
        a, b = relation.source, relation.target
        own[f"{a.kind}:{a.key}→{b.kind}:{b.key}"] = relation  # `relation_key`, without four calls for each
    return found


class Diff:
    def __init__(self, memory: Memory, cluster: str, told_by: str, at: datetime, recorded: datetime) -> None:
        self._memory = memory
        self._cluster = cluster
        self._told_by = told_by
        self._at = at
        self._recorded = recorded
        self._seen: dict[Where, set[str]] = {}
        self._unheard: dict[Where, set[str]] = {}
        """Told before, not now, and not ended by that: the next complete snapshot may end it."""
        self._puts: list[Fact] = []
        self._drops: list[Fact] = []
        self.rows: list[Fact] = []
        self.changes = Changes()

    def tell(self, snapshot: Snapshot) -> None:
        """What the source says. Nearly all of it is as it was: that is found out here, without a call for each."""
        for where, told in statements(snapshot).items():
            self._seen[where] = set(told)
            holding = self._memory.held[where]
            for key, one in told.items():
                held = holding.get(key)
                if held is None:
                    self._new(where, key, one)
                    continue
                known, said = held.properties, one.properties
                same = said is known or not said or said == known or {**known, **said} == known  # noqa: PLR1714 in order of cost
                if not same or one.until or held.silent or (one.since is not None and one.since < held.began):
                    self._known(where, held, one)

    def _new(self, where: Where, key: str, told: Statement) -> None:
        last = self._memory.last[where].get(key)
        if last is not None and told.until is not None and last.stated:
            self._told_again(last, told)
            return
        since = told.since or told.until or self._at
        if last is not None and last.until is not None:
            since = max(since, last.until)
        if told.until is not None:  # it had begun and ended before anybody looked
            since = min(since, told.until)
        form, kind = where
        source, target = (told.source, told.target) if isinstance(told, Relation) else (None, None)
        fact = Fact(
            self._cluster, form, kind, key, told.properties, since, since, self._told_by,
            self._recorded, told.until, told.until is not None, None, source, target,
        )
        self._write(fact)
        self.changes.opened.append(fact)
        if fact.until is not None:
            self.changes.ended.append(fact)

    def miss(self, complete: frozenset[str], partial: bool = False) -> None:
        """What this source told before and does not tell now: ended where it lists all, not heard of elsewhere;
        where it tells of parts only, nothing follows."""
        memory = self._memory
        for where, before in memory.told.get(self._told_by, {}).items():
            for key in before - self._seen.get(where, _NOTHING):
                held = memory.held[where].get(key)
                if held is None:
                    continue
                if partial:
                    self._unheard.setdefault(where, set()).add(key)
                    continue
                if held.kind in lasting() or not memory.only(self._told_by, where, key):
                    continue
                if held.kind in complete:
                    ended = replace(held, until=max(self._at, held.since), recorded=self._recorded, silent=None)
                    self._write(ended)
                    self.changes.ended.append(ended)
                    continue
                self._unheard.setdefault(where, set()).add(key)
                if held.silent is None:
                    heard = memory.heard.get(self._told_by, held.recorded)
                    self._write(replace(held, silent=heard, recorded=self._recorded))

    def commit(self) -> None:
        for fact in self._drops:
            self._memory.drop(fact)
        for fact in self._puts:
            self._memory.put(fact)
        for where, keys in self._unheard.items():
            self._seen[where] = self._seen.get(where, set()) | keys
        self._memory.tell(self._told_by, self._seen)
        self._memory.heard[self._told_by] = self._at

    def _known(self, where: Where, held: Fact, told: Statement) -> None:
        """A statement about something that holds."""
        properties = {**held.properties, **told.properties}
        same = properties == held.properties
        if told.until is not None:
            self._end(held, told, properties, same)
        elif same:
            if told.since is not None and told.since < held.began and held.since == held.began:
                self._earlier(where, held, told.since)
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

    def _earlier(self, where: Where, held: Fact, since: datetime) -> None:
        """The source now knows that it began earlier than was believed."""
        last = self._memory.last[where].get(held.key)
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
        self.rows.append(replace(fact, until=fact.since - TICK, recorded=self._recorded))
        if fact.until is not None:
            self._drops.append(fact)

    def _write(self, fact: Fact) -> None:
        self.rows.append(fact)
        self._puts.append(fact)
