"""What is kept in memory of one cluster's facts: those that hold, and those that ended lately."""

from __future__ import annotations

from datetime import datetime

from qnib.inventory.fact import Fact, Identity

MOST = 20_000
"""Ended facts kept per kind; beyond that the oldest are asked of the engine."""


class Memory:
    """Not thread-safe by itself; its owner holds a lock."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Fact]] = {}
        """Open facts by (form, kind) and key."""
        self.over: dict[tuple[str, str], dict[tuple[str, datetime], Fact]] = {}
        """Facts that ended lately by (form, kind) and (key, when the thing began), in the order they ended."""
        self.heard: dict[str, datetime] = {}
        """When each source's last snapshot was taken."""
        self.told: dict[str, set[Identity]] = {}
        """What each source told in its last snapshot."""
        self.names: dict[str, str] | None = None
        """Host by alias, made when first asked for."""
        self._tellers: dict[Identity, set[str]] = {}
        self._last: dict[Identity, Fact] = {}

    def holding(self, identity: Identity) -> Fact | None:
        return self.held.get(identity[:2], {}).get(identity[2])

    def last(self, identity: Identity) -> Fact | None:
        """The fact that ended last of this identity, if that is remembered."""
        return self._last.get(identity)

    def tellers(self, fact: Fact) -> set[str]:
        return self._tellers.get(fact.identity) or {fact.told_by}

    def put(self, fact: Fact, tellers: set[str] | None = None) -> None:
        """Take in the newest version of a fact, in the place of the one before."""
        where, identity = fact.identity[:2], fact.identity
        if fact.until is None:
            self.held.setdefault(where, {})[fact.key] = fact
        else:
            held = self.held.get(where, {})
            if (open_one := held.get(fact.key)) is not None and open_one.began <= fact.began:
                del held[fact.key]
            over = self.over.setdefault(where, {})
            over.pop((fact.key, fact.began), None)
            over[fact.key, fact.began] = fact
            last = self._last.get(identity)
            if last is None or last.began <= fact.began:
                self._last[identity] = fact
        for name in tellers or ():
            self.told.setdefault(name, set()).add(identity)
            self._tellers.setdefault(identity, set()).add(name)
        if fact.kind in ("ALIAS_OF", "Host"):
            self.names = None

    def drop(self, fact: Fact) -> None:
        """Take back a version that never held after all."""
        over = self.over.get(fact.identity[:2], {})
        if over.pop((fact.key, fact.began), None) is not None and self._last.get(fact.identity) == fact:
            del self._last[fact.identity]

    def tell(self, name: str, seen: set[Identity]) -> None:
        """Source `name` told exactly of `seen`."""
        for identity in self.told.get(name, set()) - seen:
            tellers = self._tellers.get(identity)
            if tellers is not None:
                tellers.discard(name)
                if not tellers:
                    del self._tellers[identity]
        for identity in seen - self.told.get(name, set()):
            self._tellers.setdefault(identity, set()).add(name)
        self.told[name] = seen

    def only(self, name: str, identity: Identity) -> bool:
        """Whether nobody but source `name` tells of this."""
        return self._tellers.get(identity, {name}) <= {name}

    def forget(self, before: datetime) -> None:
        """Let go of what ended before; the engine still has it."""
        for over in self.over.values():
            for key, fact in list(over.items()):
                if len(over) <= MOST and fact.until is not None and fact.until >= before:
                    break
                del over[key]
                if self._last.get(fact.identity) is fact:
                    del self._last[fact.identity]
