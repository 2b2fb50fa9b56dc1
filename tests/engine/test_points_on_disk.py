"""How numbers are kept: as decimals, told back bit by bit, also those an older version stored."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.engine.migrate import shipped
from qnib.settings import Settings

pytestmark = pytest.mark.engine
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ODD = (0.1, 1e300, 5e-324, 95.3, 2.0**60, 2.0**53, 2.0**53 - 1, -(2.0**53), 0.1 + 0.2, 1 / 3, -1.5, 999.9, 1000.0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(Settings(home=tmp_path), FrozenClock(NOW))
    yield opened
    opened.close()


def points(values: list[float], name: str = "told", first: int = 0) -> list[dict[str, object]]:
    return [
        {"cluster": "demo", "series": 7, "time": NOW + timedelta(seconds=first + number), name: value}
        for number, value in enumerate(values)
    ]


def told(engine: Engine) -> list[float]:
    return [row["value"] for row in engine.rows("SELECT value FROM qnib.points FINAL ORDER BY time")]


def test_points_of_before_and_after_are_told_alike_also_when_merged(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), FrozenClock(NOW)
    engine = open_engine(settings, clock, migrations=shipped()[:9])
    engine.insert("qnib.points", points(list(ODD), "value"))
    engine.close()
    engine = open_engine(settings, clock)
    try:
        engine.insert("qnib.points", points(list(ODD), first=len(ODD)))
        for _ in range(2):
            assert told(engine) == [*ODD, *ODD]
            engine.run("OPTIMIZE TABLE qnib.points FINAL")
    finally:
        engine.close()


def test_the_change_can_break_off_anywhere(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), FrozenClock(NOW)
    *before, decimals = shipped()[:10]
    statements = decimals.statements()
    for done in range(len(statements) + 1):
        home = settings.model_copy(update={"home": tmp_path / str(done)})
        engine = open_engine(home, clock, migrations=before)
        engine.insert("qnib.points", points(list(ODD), "value"))
        for statement in statements[:done]:
            engine.run(statement)
        engine.close()
        engine = open_engine(home, clock)
        assert told(engine) == list(ODD), done
        left = engine.rows("SELECT name FROM system.tables WHERE database = 'qnib' AND startsWith(name, 'points')")
        assert [row["name"] for row in left] == ["points"]
        engine.close()


def test_every_number_is_told_back_bit_by_bit(engine: Engine) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    bits = [struct.unpack("d", dice.randbytes(8))[0] for _ in range(20_000)]
    values = [
        *ODD,
        *(value for value in bits if abs(value) < float("inf")),
        *(round(dice.uniform(-1, 1) * 10 ** dice.randrange(17), dice.randrange(12)) for _ in range(20_000)),
        *(dice.randrange(1 << 64) / 10 ** dice.randrange(20) for _ in range(20_000)),
        *(float(dice.randrange(-(1 << dice.randrange(1, 64)), 1 << 53)) for _ in range(20_000)),
    ]
    values = [value or 0.0 for value in values]  # a zero has no sign
    engine.insert("qnib.points", points(values))
    stored = engine.table("SELECT value FROM qnib.points ORDER BY time").column("value").to_pylist()
    wrong = [(sent, kept) for sent, kept in zip(values, stored, strict=True) if sent.hex() != kept.hex()]
    assert not wrong, wrong[:5]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([95.0, 95.1, 7.0], 1), ([4096.0, 1e15], 0), ([0.25, 1000.25], 2), ([1e-6, 12.345678], 6), ([1 / 3, 1e300], 255)],
)
def test_neighbours_are_of_one_scale(engine: Engine, values: list[float], scale: int) -> None:
    engine.insert("qnib.points", points(values))
    assert engine.rows("SELECT DISTINCT scale FROM qnib.points") == [{"scale": scale}]
