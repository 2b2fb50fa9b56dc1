"""Roll-ups: what they cost when points come in and afterwards, and what a long window costs with and without them.

``bench/rollups.py [--series N] [--days D]`` in an engine of its own; prints a line per figure.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.monitoring import carbon, series
from qnib.monitoring.storage.notes import noted
from qnib.monitoring.storage.rules import Rules
from qnib.monitoring.storage.upkeep import Upkeep
from qnib.settings import Settings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEP = 10  # seconds between points


def timed(work: Callable[[], Any], times: int = 1) -> float:
    """The fastest, in seconds."""
    best = float("inf")
    for _ in range(times):
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--series", type=int, default=100)
    options.add_argument("--days", type=int, default=7)
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(Settings(home=Path(folder)), FrozenClock(NOW))
        slots = told.days * 86_400 // STEP
        since = int(NOW.timestamp()) - told.days * 86_400
        for some in range(0, told.series, 25):
            engine.run(
                "INSERT INTO qnib.points (cluster, series, time, told)"
                f" SELECT 'b', {some} + 1 + intDiv(number, {slots}),"
                f" toDateTime64({since} + {STEP} * (number % {slots}), 3, 'UTC'), rand() % 1000 / 10"
                f" FROM numbers({slots * min(25, told.series - some)})"
            )
        ids, start = list(range(1, told.series + 1)), NOW - timedelta(days=told.days)

        def read() -> None:
            series.read(engine, "b", ids, start, NOW, 600)

        print(f"{told.series} series of {told.days} days, a point in {STEP} s: {slots * told.series} points")
        print(f"a window of all, from points:    {timed(read) * 1000:8.0f} ms")
        upkeep = Upkeep(FrozenClock(NOW), engine, Rules())
        took = timed(upkeep.settle)
        print(f"rolled up, both steps:           {slots * told.series / took / 1e6:8.2f} M points/s")
        print(f"a window of all, from roll-ups:  {timed(read, 3) * 1000:8.0f} ms")
        engine.run(carbon.STAGE)
        engine.run(
            "INSERT INTO qnib_staging.carbon (cluster, series, path, value, time) SELECT 'b', number % 10000, '', 1,"
            f" toDateTime64({int(NOW.timestamp())}, 3, 'UTC') FROM numbers(100000)"
        )
        note = timed(lambda: engine.run(noted(carbon.STAGED, 1)), 5)
        print(f"noting of a file of 100k points: {note * 1000:8.1f} ms, none of them late")
        size = {
            row["table"]: row["size"] / row["n"]
            for row in engine.rows(
                "SELECT table, sum(bytes_on_disk) AS size, sum(rows) AS n FROM system.parts WHERE active"
                " AND database = 'qnib' AND table IN ('points', 'rollups') GROUP BY table"
            )
        }
        print(f"octets a point {size['points']:.1f}, a row of roll-ups {size['rollups']:.1f}")
        engine.close()


if __name__ == "__main__":
    main()
