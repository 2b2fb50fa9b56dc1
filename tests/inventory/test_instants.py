"""Graphs of other times: never one that was out of date before it was there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.inventory.conftest import NOON

from qnib.engine import Limits
from qnib.inventory.facts import Facts
from qnib.inventory.instants import Instants
from qnib.inventory.projection import KuzuProjection
from qnib.model import Entity, Snapshot

pytestmark = pytest.mark.engine


def test_the_past_is_told_anew_while_its_graph_is_made(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    def host(name: str) -> Snapshot:
        return Snapshot([Entity("Host", name, {"name": name}, since=NOON)])

    facts.apply("demo", "one", NOON, host("h0"))
    instants = Instants(facts)
    build = KuzuProjection.build
    made: list[int] = []

    def slow(*given: Any) -> KuzuProjection:
        made.append(1)
        if len(made) == 1:  # the facts have been read, the graph is not there yet
            facts.apply("demo", "two", NOON + timedelta(minutes=1), host("h1"))
            instants.forget(NOON)
        return build(*given)

    monkeypatch.setattr(KuzuProjection, "build", slow)
    with instants.borrowed(NOON + timedelta(seconds=5)) as graph:
        assert graph.ask("MATCH (h:Host) RETURN count(h.key)", {}, Limits()).rows == [[2]]
    assert len(made) == 2
    instants.forget(None)
