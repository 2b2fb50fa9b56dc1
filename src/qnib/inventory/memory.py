"""What is kept in memory of one cluster's facts: those that hold, and those that ended lately.

A thing is known by where it belongs (form and kind) and its key; all is kept by the first and then by the second, so
that one snapshot's many statements of one kind are compared with one dictionary.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from datetime import datetime

from qnib.inventory.fact import Fact, Form

MOST = 20_000
"""Ended facts kept per kind; beyond that the oldest are asked of the engine."""

Where = tuple[Form, str]
Keys = Mapping[Where, Set[str]]


class Memory:
    """Not thread-safe by itself; its owner holds a lock."""

    def __init__(self) -> None:
        self.held: defaultdict[Where, dict[str, Fact]] = defaultdict(dict)
        """Open facts by key."""
        self.over: defaultdict[Where, dict[tuple[str, datetime], Fact]] = defaultdict(dict)
        """Facts that ended lately by (key, when the thing began), in the order they ended."""
        self.last: defaultdict[Where, dict[str, Fact]] = defaultdict(dict)
        """The fact that ended last of each key, as far as that is remembered."""
        self.heard: dict[str, datetime] = {}
        """When each source's last snapshot was taken."""
        self.told: dict[str, dict[Where, set[str]]] = {}
        """What each source told in its last snapshot."""
        self.versions: Counter[str] = Counter()
        """Changes of each kind's facts, counted."""
        self.names: dict[str, str] | None = None
        """Host by alias, made when first asked for."""
        self._tellers: defaultdict[Where, dict[str, str | frozenset[str]]] = defaultdict(dict)
        """Who tells of a thing: mostly one, so that a set for each would be most of the memory."""

    def tellers(self, fact: Fact) -> frozenset[str]:
        return _names(self._tellers[fact.form, fact.kind].get(fact.key) or fact.told_by)

    def only(self, name: str, where: Where, key: str) -> bool:
        """Whether nobody but source `name` tells of this."""
        return self._tellers[where].get(key, name) == name

    def told_by_others(self, where: Where, told_by: Set[str]) -> dict[str, frozenset[str]]:
        """By key who tells of an open fact, where that is not just who told its last version: one of `told_by`."""
        tellers = self._tellers[where]
        if len(told_by) == 1 and told_by >= set(tellers.values()):
            return {}
        return {
            key: _names(names) for key, fact in self.held[where].items()
            if (names := tellers.get(key)) is not None and names != fact.told_by
        }  # fmt: skip

    def put(self, fact: Fact) -> None:
        """Take in the newest version of a fact, in the place of the one before."""
        where = fact.form, fact.kind
        self.versions[fact.kind] += 1
        held = self.held[where]
        if fact.until is None:
            held[fact.key] = fact
        else:
            if (open_one := held.get(fact.key)) is not None and open_one.began <= fact.began:
                del held[fact.key]
            over = self.over[where]
            over.pop((fact.key, fact.began), None)
            over[fact.key, fact.began] = fact
            last = self.last[where].get(fact.key)
            if last is None or last.began <= fact.began:
                self.last[where][fact.key] = fact
        if fact.kind in ("ALIAS_OF", "Host"):
            self.names = None

    def drop(self, fact: Fact) -> None:
        """Take back a version that never held after all."""
        where = fact.form, fact.kind
        self.versions[fact.kind] += 1
        if self.over[where].pop((fact.key, fact.began), None) is not None and self.last[where].get(fact.key) == fact:
            del self.last[where][fact.key]

    def tell(self, name: str, told: Keys) -> None:
        """Source `name` told exactly of `told`."""
        before = self.told.setdefault(name, {})
        for where in {**before, **told}:
            known, now = before.setdefault(where, set()), told.get(where, frozenset())
            gone, new = known - now, now - known
            tellers = self._tellers[where]
            for key in gone:
                left = _names(tellers.pop(key, name)) - {name}
                if left:
                    tellers[key] = _one(left)
            if not tellers:
                tellers.update(dict.fromkeys(new, name))
            else:
                for key in new:
                    other = tellers.get(key)
                    tellers[key] = name if other is None else _one(_names(other) | {name})
            known -= gone  # in place: the keys that stay are the very ones of the facts
            known |= new
            if not known:
                del before[where]

    def forget(self, before: datetime) -> None:
        """Let go of what ended before; the engine still has it."""
        for where, over in self.over.items():
            for one, fact in list(over.items()):
                if len(over) <= MOST and fact.until is not None and fact.until >= before:
                    break
                del over[one]
                self.versions[fact.kind] += 1
                if self.last[where].get(fact.key) is fact:
                    del self.last[where][fact.key]


def _names(told: str | frozenset[str]) -> frozenset[str]:
    return frozenset((told,)) if isinstance(told, str) else told


def _one(names: frozenset[str]) -> str | frozenset[str]:
    return next(iter(names)) if len(names) == 1 else names
