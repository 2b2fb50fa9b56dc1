"""Points an older version stored, in a directory whose columns are coded anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.engine.migrate import shipped
from qnib.settings import Settings

pytestmark = pytest.mark.engine
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ODD = (0.1, -0.0, 1e300, 5e-324, 95.3, 2.0**60)


def points(older: bool) -> list[dict[str, object]]:
    return [
        {"cluster": "demo", "series": 7, "time": NOW + timedelta(seconds=2 * number + older), "value": value}
        for number, value in enumerate(ODD)
    ]


def test_points_of_before_and_after_are_told_alike_also_when_merged(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), FrozenClock(NOW)
    engine = open_engine(settings, clock, migrations=shipped()[:7])
    engine.insert("qnib.points", points(True))
    engine.close()
    engine = open_engine(settings, clock)
    try:
        engine.insert("qnib.points", points(False))
        codecs = engine.rows("SELECT name, compression_codec FROM system.columns WHERE database = 'qnib'"
                             " AND table = 'points' AND name IN ('series', 'value') ORDER BY name")  # fmt: skip
        assert [row["compression_codec"] for row in codecs] == ["CODEC(ZSTD(1))", "CODEC(Delta(8), ZSTD(3))"]
        for _ in range(2):
            told = engine.rows("SELECT value FROM qnib.points ORDER BY time")
            assert [row["value"] for row in told] == [value for value in ODD for _ in range(2)]
            engine.run("OPTIMIZE TABLE qnib.points FINAL")
    finally:
        engine.close()
