"""A record of facts in a real engine, with a clock the test moves; its graph in either database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.inventory.neo4j_server import Server, started

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.inventory.facts import Facts
from qnib.settings import Settings, load

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def engine(opened: tuple[Engine, Settings]) -> Engine:
    for table in ("facts", "confirmations", "events"):
        opened[0].run(f"TRUNCATE TABLE qnib.{table}")
    return opened[0]


@pytest.fixture
def facts(engine: Engine, clock: FrozenClock) -> Facts:
    return Facts(engine, clock)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a test waits for what is queued, however long; people get an answer that is a second old."""
    monkeypatch.setattr("qnib.inventory.graph.PATIENCE", 60)
    monkeypatch.setattr("qnib.inventory.graph.AT_FIRST", 60)


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("neo4j")) as server:
        yield server


@pytest.fixture
def neo4j(neo4j_server: Server) -> Server:
    """The session's Neo4j with nothing in it."""
    neo4j_server.empty()
    return neo4j_server


@pytest.fixture(params=["kuzu", "neo4j"])
def database(request: pytest.FixtureRequest) -> str:
    """Every test that opens a graph by `settings` runs over each."""
    return str(request.param)


@pytest.fixture
def settings(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Settings:
    if database == "kuzu":
        return load(home=tmp_path)
    return load(home=tmp_path, graph=request.getfixturevalue("neo4j").settings)
