"""One fact: something that is said to hold, since when, until when, and who said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from qnib.model import Change, Entity, Ref, Relation, Scalar

Form = Literal["entity", "relation"]
Identity = tuple[str, str, str]
"""Form, kind and key: what makes two statements speak of the same thing."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One version of an entity or a relation. Times are in UTC, `until` None means: still true."""

    cluster: str
    form: Form
    kind: str
    key: str
    properties: Mapping[str, Scalar]
    since: datetime
    """When this version began to hold."""
    began: datetime
    """When the thing itself began: its first version's `since`, without a gap between."""
    told_by: str
    recorded: datetime
    until: datetime | None = None
    stated: bool = False
    """The source itself named the end (a job that ended), as opposed to no longer telling of it."""
    silent: datetime | None = None
    """Nobody has told of it since then, though nobody said that it ended."""
    source: Ref | None = None
    target: Ref | None = None

    @property
    def identity(self) -> Identity:
        return self.form, self.kind, self.key

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.key)

    def as_entity(self) -> Entity:
        return Entity(self.kind, self.key, self.properties, self.began, self.until)

    def as_relation(self) -> Relation:
        if self.source is None or self.target is None:
            raise ValueError(f"{self.kind} {self.key} is no relation")
        return Relation(self.kind, self.source, self.target, self.properties, self.began, self.until)


def relation_key(source: Ref, target: Ref) -> str:
    """The key of a relation among those of its kind."""
    return f"{source}→{target}"


def _plain(fact: Fact) -> Entity | Relation:
    return fact.as_entity() if fact.form == "entity" else fact.as_relation()


@dataclass(slots=True)
class Changes:
    """What one snapshot changed in the record."""

    opened: list[Fact] = field(default_factory=list)
    changed: list[tuple[Fact, Fact]] = field(default_factory=list)
    """(before, after); a job's last version is here and in `ended`."""
    ended: list[Fact] = field(default_factory=list)
    corrected: list[tuple[Fact, Fact]] = field(default_factory=list)
    """The past told anew: an earlier start, an end or an outcome that came late. (what was believed, what is)."""
    first: bool = False
    """Nothing had been heard of this source before."""
    mark: str = ""
    """The record's mark when this was written; later changes have greater ones."""
    late: bool = False
    """The snapshot was older than the last one of its source, and was not applied."""

    def __bool__(self) -> bool:
        return bool(self.opened or self.changed or self.ended or self.corrected)

    def told(self) -> list[Change]:
        """As domains read them; what began and ended before anybody looked has only ended."""
        over = {(fact.identity, fact.began) for fact in self.ended}
        before = {(after.identity, after.began): old for old, after in self.changed}
        began = [Change("began", _plain(fact)) for fact in self.opened if (fact.identity, fact.began) not in over]
        changed = [
            Change("changed", _plain(after), _plain(old)) for old, after in self.changed
            if (after.identity, after.began) not in over
        ]
        ended = [
            Change("ended", _plain(fact), _plain(old) if (old := before.get((fact.identity, fact.began))) else None)
            for fact in self.ended
        ]
        return [*began, *changed, *ended]

    def kinds(self) -> set[str]:
        """The kinds of entity and relation that are touched."""
        facts = [*self.opened, *self.ended, *(after for _, after in [*self.changed, *self.corrected])]
        return {fact.kind for fact in facts}
