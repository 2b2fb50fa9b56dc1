"""Progress of jobs whose ids repeat: each is read within its own interval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qnib.clock import FrozenClock
from qnib.context.progress import progress_of
from qnib.engine.chdb import open_engine
from qnib.monitoring import events
from qnib.settings import Settings

pytestmark = pytest.mark.engine

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def line(at: datetime, done: int) -> dict[str, Any]:
    fields = {"job": "7", "done": str(done), "total": "100", "rate": "2.0"}
    return {"time": at, "kind": "job.progress", "message": f"progress {done}/100", "fields": fields}


def test_an_earlier_job_of_the_same_id_is_another_job(tmp_path: Path) -> None:
    clock = FrozenClock(NOON)
    engine = open_engine(Settings(home=tmp_path), clock)
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    events.record(engine, "lab", [line(NOON - hour, 100), line(NOON - minute, 20), line(NOON, 40)])
    sources: Any = SimpleNamespace(engine=engine, clock=clock)
    jobs = [("7@1", 7, NOON - hour - minute, NOON - hour), ("7@2", 7, NOON - 2 * minute, NOON)]
    found = progress_of(sources, "lab", jobs)
    engine.close()
    assert {key: row["fraction"] for key, row in found.items()} == {"7@1": 1.0, "7@2": 0.4}
    assert found["7@2"]["ends"] == (NOON + timedelta(seconds=30)).isoformat()
