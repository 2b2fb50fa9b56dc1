"""Series of several archives, written late and over again: kept and read as a real graphite-web does."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from qnib.clock import FrozenClock
from qnib.monitoring.graphite.render import as_json, evaluate
from qnib.monitoring.storage.rules import rules_of
from qnib.monitoring.storage.upkeep import Upkeep
from qnib.settings import Storage

from .conftest import NOW, Plant, edges_of_their_own
from .test_graphite_beside import DAY, PYTHON, Beside, T, differences, json, theirs

pytestmark = pytest.mark.engine
ARCHIVES = [(60, 6 * 60), (300, 2 * 288), (3600, 9 * 24)]
HOW = [("average", 0.5), ("sum", 0.0), ("min", 0.9), ("max", 0.2), ("last", 0.5), ("average", 1.0), ("avg_zero", 0.3),
       ("absmax", 0.5), ("absmin", 0.5)]  # fmt: skip
WRITES = {f"site.n{n}": [] for n in range(len(HOW))}  # type: dict[str, list[tuple[int, list[tuple[int, float]]]]]


def write() -> dict[str, list[tuple[int, list[tuple[int, float]]]]]:
    """Five days, twice an hour what is new, and each time some that is late or written over, up to five hours old."""
    for seed, path in enumerate(WRITES):
        dice = random.Random(seed)
        share = dice.uniform(0.4, 0.95)
        missing: list[int] = []
        written: list[int] = []
        for now in range(T - 5 * DAY, T + 1, 1800):
            points = {}
            for at in range(now - 1740, now + 1, 60):
                (points.__setitem__(at, dice.uniform(-50, 50)) if dice.random() < share else missing.append(at))
            recent = [at for at in missing if at > now - 5 * 3600]
            late = dice.sample(recent, min(4, len(recent))) if dice.random() < 0.5 else []
            over = [at for at in written if at > now - 5 * 3600]
            late += dice.sample(over, min(3, len(over)))
            points |= {at: dice.uniform(-50, 50) for at in late}
            missing = [at for at in recent if at not in points]
            written = [*over, *points]
            WRITES[path].append((now, sorted(points.items())))
    return WRITES


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    if not PYTHON.exists():
        assert not os.environ.get("CI"), "graphite-web belongs to what CI installs"
        pytest.skip("graphite-web is not installed: run tools/setup test")
    told = {
        path: {"archives": ARCHIVES, "method": method, "xff": xff, "writes": writes}
        for (path, writes), (method, xff) in zip(write().items(), HOW, strict=True)
    }
    graphite = Beside(tmp_path_factory.mktemp("graphite"), told)
    yield graphite
    graphite.close()


@pytest.fixture(scope="module")
def same(beside: Beside, shared_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same writes in the same order, rolled up now and then."""
    folder = tmp_path_factory.mktemp("same")
    (folder / "schemas").write_text("[all]\npattern = .*\nretentions = 60s:6h,5m:2d,1h:9d\n")
    (folder / "aggregation").write_text(
        "".join(f"[{path}]\npattern = ^{path}$\nxFilesFactor = {xff}\naggregationMethod = {method}\n"
                for path, (method, xff) in zip(WRITES, HOW, strict=True))
    )  # fmt: skip
    storage = Storage(schemas=folder / "schemas", aggregation=folder / "aggregation")
    settings = edges_of_their_own(folder, storage=storage)
    for table in ("points", "series", "rollups", "changed", "rollup_marks"):
        shared_engine.run(f"TRUNCATE TABLE qnib.{table}")
    rules = rules_of(settings)
    times = [now for now, _ in WRITES["site.n0"]]
    for some in range(0, len(times), 40):
        lines = [
            f"{path} {value!r} {at}\n"
            for number in range(some, min(some + 40, len(times)))
            for path, writes in WRITES.items()
            for at, value in writes[number][1]
        ]
        clock = FrozenClock(datetime.fromtimestamp(times[min(some + 39, len(times) - 1)], UTC))
        Plant(settings, clock, shared_engine).carbon("".join(lines))
        if some + 40 < len(times):  # the last of it is read before it is rolled up
            Upkeep(clock, shared_engine, rules).settle()
    return shared_engine, rules


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(
    "window",
    [(T - 4 * 3600, T), (T - 6 * 3600, T - 3600), (T - 20 * 3600, T), (T - 40 * 3600, T - 10 * 3600), (T - 2 * DAY, T),
     (T - 4 * DAY, T), (T - 4 * DAY, T - 3 * DAY), (T - 20 * DAY, T)],
    ids=lambda w: f"{(T - w[0]) // 3600}h-{(T - w[1]) // 3600}h",
)  # fmt: skip
@pytest.mark.parametrize("target", ["site.*", "summarize(site.n0,'2h','max')", "sumSeries(site.n{0,1,2})"])
def test_the_same_archive_and_values(
    beside: Beside, same: Any, target: str, window: tuple[int, int], settled: bool
) -> None:
    engine, rules = same
    if settled:
        Upkeep(FrozenClock(NOW), engine, rules).settle()
    wanted = theirs(beside, target, window)
    assert wanted is not None
    start, end = (datetime.fromtimestamp(at, UTC) for at in window)
    mine = json.loads(as_json(evaluate(engine, "demo", target, start, end, now=NOW, rules=rules)))
    assert not differences(mine, wanted)
    if target == "site.*":
        assert sum(value is not None for value, _ in mine[0]["datapoints"]) > 10
