"""How long a deduplication token is remembered, against how long the spool may replay its file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.settings import Settings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.engine
def test_the_window_of_tokens_outlasts_the_spool(tmp_path: Path) -> None:
    """Hundreds of inserts lie between a batch and its replay, and the engine was opened anew in between."""
    settings, clock = Settings(home=tmp_path), FrozenClock(NOW)
    engine = open_engine(settings, clock)
    tables = engine.rows("SELECT name, create_table_query AS sql FROM system.tables WHERE database = 'qnib'")
    windows = {row["name"]: re.search(r"deduplication_window = (\d+)", row["sql"]) for row in tables}
    kept = round(settings.spool.keep_seconds / settings.spool.rotate_seconds)
    for name in ("points", "series", "job_samples", "events", "rejects"):
        window = windows[name]
        assert window and int(window[1]) > 2 * kept, f"{name}: a replay after a power loss finds its token forgotten"

    def insert(n: int) -> None:
        engine.insert("qnib.rejects", [{"cluster": "demo", "received": NOW, "raw": str(n)}], token=f"file{n}")

    for n in range(300):
        insert(n)
    engine.close()
    engine = open_engine(settings, clock)
    for n in (0, 150, 299):
        insert(n)
    assert engine.rows("SELECT count() n FROM qnib.rejects") == [{"n": 300}]
    engine.close()
