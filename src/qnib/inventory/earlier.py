"""The record as a domain's `settle` sees it when a capture is older than what is kept in memory.

Captures of last year are loaded one after the other: what ended between two of them is a year old, too, and only the
engine remembers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from qnib.engine import DATABASE, Engine
from qnib.inventory.columns import facts_of
from qnib.inventory.fact import Fact, Form
from qnib.inventory.facts import LATELY, Facts
from qnib.model import Entity, Known, Relation

_MARGIN = timedelta(hours=1)


def known_at(facts: Facts, engine: Engine, cluster: str, at: datetime) -> Known:
    """What the record knows, for a capture of `at`: from memory where that reaches back far enough."""
    if at > facts.now() - LATELY + _MARGIN:
        return facts.known(cluster)
    return Earlier(facts, engine, cluster, at)


class Earlier:
    """`qnib.model.Known`: what holds, and what ended within a week before `at`."""

    def __init__(self, facts: Facts, engine: Engine, cluster: str, at: datetime) -> None:
        self._facts = facts
        self._engine = engine
        self._cluster = cluster
        self._at = at

    def open(self, kind: str) -> Sequence[Entity]:
        return [fact.as_entity() for fact in self._facts.current(self._cluster, kind) if fact.form == "entity"]

    def ended(self, kind: str, since: datetime) -> Sequence[Entity]:
        return [fact.as_entity() for fact in self._ended("entity", kind, since)]

    def entities(self, kind: str) -> Sequence[Entity]:
        return [*self.ended(kind, self._at - LATELY), *self.open(kind)]

    def ties(self, kind: str) -> Sequence[Relation]:
        held = [fact.as_relation() for fact in self._facts.current(self._cluster, kind) if fact.form == "relation"]
        return [*(fact.as_relation() for fact in self._ended("relation", kind, self._at - LATELY)), *held]

    def find(self, kind: str, start: str) -> Sequence[Entity]:
        return [fact.as_entity() for fact in self._facts.find(self._cluster, kind, start)]

    def _ended(self, form: Form, kind: str, since: datetime) -> list[Fact]:
        rows = self._engine.table(
            f"SELECT * FROM (SELECT * FROM {DATABASE}.facts WHERE cluster = {{cluster:String}}"
            " AND form = {form:String} AND kind = {kind:String}"
            " ORDER BY recorded DESC LIMIT 1 BY key, valid_from)"
            " WHERE valid_until IS NOT NULL AND valid_until >= valid_from"
            " AND valid_until > {since:DateTime64(6, 'UTC')} AND valid_until <= {at:DateTime64(6, 'UTC')}"
            " ORDER BY valid_until DESC, valid_from DESC LIMIT 1 BY key, began",
            {"cluster": self._cluster, "form": form, "kind": kind, "since": since, "at": self._at},
        )
        held = {(fact.key, fact.began) for fact in self._facts.current(self._cluster, kind)}
        return [fact for fact in facts_of(rows) if (fact.key, fact.began) not in held]
