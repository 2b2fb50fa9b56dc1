"""Roll-ups against a naive model, under points that are overwritten and come late; retention and deleting."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnib.clock import FrozenClock
from qnib.errors import TooMuch
from qnib.monitoring import series
from qnib.monitoring.graphite import render
from qnib.monitoring.graphite.render import evaluate
from qnib.monitoring.storage.rules import Rule, Rules, rules_of
from qnib.monitoring.storage.upkeep import Upkeep
from qnib.settings import Storage

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())
SCHEMAS = """
[fast]
pattern = \\.fast\\.
retentions = 10s:2h,1min:1d,15min:4d
[rest]
pattern = .*
retentions = 1m:6h,5m:2d,2h:8d
"""
AGGREGATION = """
[sums]
pattern = \\.sum$
xFilesFactor = 0
aggregationMethod = sum
[most]
pattern = \\.max$
xFilesFactor = 0.2
aggregationMethod = max
[least]
pattern = \\.min$
xFilesFactor = 0.9
aggregationMethod = min
[newest]
pattern = \\.last$
aggregationMethod = last
[near]
pattern = \\.absmin$
aggregationMethod = absmin
[far]
pattern = \\.absmax$
aggregationMethod = absmax
[zero]
pattern = \\.zero$
xFilesFactor = 0.3
aggregationMethod = avg_zero
"""
METHODS = {
    "average": lambda v, room: sum(v) / len(v), "sum": lambda v, room: sum(v), "min": lambda v, room: min(v),
    "max": lambda v, room: max(v), "last": lambda v, room: v[-1], "absmin": lambda v, room: min(v, key=abs),
    "absmax": lambda v, room: max(v, key=abs), "avg_zero": lambda v, room: sum(v) / room,
}  # fmt: skip
PATHS = [f"site.{speed}.{how}" for speed in ("fast", "slow") for how in
         ("mean", "sum", "max", "min", "last", "absmin", "absmax", "zero")]  # fmt: skip


@pytest.fixture
def rules(tmp_path: Path, plant: Plant) -> Rules:
    (tmp_path / "schemas").write_text(SCHEMAS)
    (tmp_path / "aggregation").write_text(AGGREGATION)
    plant.settings.storage = Storage(schemas=tmp_path / "schemas", aggregation=tmp_path / "aggregation")
    return rules_of(plant.settings)


def model(rule: Rule, points: dict[int, float]) -> list[dict[int, float]]:
    """The values of each archive, made of all points at once, step by step."""
    first: dict[int, float] = {}
    for at in sorted(points):
        first[at - at % rule.archives[0].step] = points[at]
    made = [first]
    for finer, coarser in pairwise(rule.archives):
        slots: dict[int, list[float]] = {}
        for at in sorted(made[-1]):
            slots.setdefault(at - at % coarser.step, []).append(made[-1][at])
        room = coarser.step // finer.step
        enough = {at: v for at, v in slots.items() if len(v) / room >= float(np.float32(rule.xff))}
        made.append({at: METHODS[rule.method](v, room) for at, v in enough.items()})
    return made


def compare(plant: Plant, rules: Rules, told: dict[str, dict[int, float]], now: int, back: int, width: int) -> None:
    """What is read of a window is what the model has in the archive whisper would choose."""
    start, end = now - back, now - back + width
    for path, points in told.items():
        rule = rules.of(path)
        number = next(n for n, a in enumerate(rule.archives) if a.retention >= back)
        step, wanted = rule.archives[number].step, model(rule, points)[number]
        lines = evaluate(
            plant.engine, "demo", path, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC),
            now=datetime.fromtimestamp(now, UTC), rules=rules,
        )  # fmt: skip
        if not points:
            continue
        (line,) = lines
        assert line.step == step, path
        assert line.start == start - start % step + step
        for place, value in enumerate(line.values):
            at = int(line.start + place * step)
            if math.isnan(value):
                assert at not in wanted, (path, at, wanted.get(at))
            else:
                assert at in wanted, (path, at, value)
                assert math.isclose(value, wanted[at], rel_tol=1e-9, abs_tol=1e-9), (path, at, value, wanted[at])


@pytest.mark.parametrize("seed", range(4))
def test_roll_ups_are_those_of_a_naive_model(plant: Plant, rules: Rules, seed: int) -> None:
    dice = random.Random(seed)
    told: dict[str, dict[int, float]] = {path: {} for path in PATHS}
    now = T - dice.randrange(3 * 86_400)
    for turn in range(6):
        lines = []
        for path in PATHS:
            own = 10 if ".fast." in path else 60
            late = dice.choice([0, 0, 3600, 20_000, 100_000]) if turn else 0
            for at in range(now - late - 9000, now - late, own):
                if dice.random() < 0.6:
                    moment = at - at % own + (dice.randrange(own) if dice.random() < 0.2 else 0)
                    value = dice.uniform(-50, 50)
                    lines.append((path, value, moment))
            for moment in dice.sample(sorted(told[path]), min(40, len(told[path]))):
                lines.append((path, round(dice.uniform(-50, 50), 2), moment))  # overwritten
            if told[path] and dice.random() < 0.3:
                lines.append((path, 1.5, dice.choice(sorted(told[path]))))  # twice within a file
                lines.append((path, -2.5, lines[-1][2]))
        plant.clock = FrozenClock(datetime.fromtimestamp(now, UTC))
        plant.carbon("".join(f"{path} {value} {at}\n" for path, value, at in lines))
        for path, value, at in lines:
            told[path][at] = value
        upkeep = Upkeep(plant.clock, plant.engine, rules)
        if dice.random() < 0.7:  # else it is read before any of it was rolled up again
            upkeep.settle()
        for back, width in ((5000, 4000), (80_000, 80_000), (150_000, 60_000), (300_000, 300_000)):
            compare(plant, rules, told, now, back, width)
        now += dice.choice([600, 5000, 9000])


def test_only_what_changed_is_computed_again(plant: Plant, rules: Rules) -> None:
    def line(at: int, value: float = 1.0) -> str:
        return f"site.slow.mean {value} {at}\nsite.slow.sum {value} {at}\n"

    plant.carbon("".join(line(T - n * 60) for n in range(600)))
    upkeep = Upkeep(plant.clock, plant.engine, rules)
    upkeep.settle()
    assert plant.rows("SELECT count() AS n FROM qnib.changed")[0]["n"] == 0
    plant.clock = FrozenClock(NOW + timedelta(seconds=1))
    plant.carbon(f"site.slow.sum 61 {T - 7200 - 600}\n")
    assert plant.rows("SELECT count() AS n FROM qnib.changed")[0]["n"] == 1
    rows = "SELECT count() AS n FROM qnib.rollups"
    before = plant.rows(rows)[0]["n"]
    again = Upkeep(plant.clock, plant.engine, rules)
    again.settle()
    assert again.state()["recomputed"] == 1
    assert plant.rows("SELECT count() AS n FROM qnib.changed")[0]["n"] == 0
    # Of one series: 13 slots of five minutes at most, two of two hours, those of the ladder
    assert plant.rows(rows)[0]["n"] - before <= 13 + 2 + 7 + 1


def test_a_crash_between_any_two_steps_changes_nothing(plant: Plant, rules: Rules, monkeypatch: Any) -> None:
    """The note outlives the crash; done again, the figures are the same."""
    points = {T - n * 60: float(n % 7) for n in range(900)}
    plant.carbon("".join(f"site.slow.mean {value} {at}\n" for at, value in points.items()))
    Upkeep(plant.clock, plant.engine, rules).settle()
    points[T - 30_000] = 1000.0
    plant.carbon(f"site.slow.mean 1000 {T - 30_000}\n")
    run = plant.engine.run
    for last in range(1, 6):  # four steps are rolled up, then the note is dropped
        steps = iter(range(1, 10))

        def fails(sql: str, *rest: Any, steps: Any = steps, last: int = last, **more: Any) -> None:
            if next(steps) == last:
                raise OSError("the power is gone")
            run(sql, *rest, **more)

        monkeypatch.setattr(plant.engine, "run", fails)
        with pytest.raises(OSError, match="power"):
            Upkeep(plant.clock, plant.engine, rules).settle()
        monkeypatch.setattr(plant.engine, "run", run)
        compare(plant, rules, {"site.slow.mean": points}, T, 150_000, 150_000)
    Upkeep(plant.clock, plant.engine, rules).settle()
    compare(plant, rules, {"site.slow.mean": points}, T, 150_000, 150_000)


def test_other_rules_are_applied_to_what_is_there(plant: Plant, rules: Rules, tmp_path: Path) -> None:
    points = {T - n * 60: float(n % 7) for n in range(0, 3000, 2)}
    plant.carbon("".join(f"site.slow.mean {value} {at}\n" for at, value in points.items()))
    Upkeep(plant.clock, plant.engine, rules).settle()
    (tmp_path / "others").write_text("[all]\npattern = .\nretentions = 60s:1h,30m:3d,3h:9d\n")
    (tmp_path / "sums").write_text("[all]\npattern = .\naggregationMethod = sum\n")
    plant.settings.storage = Storage(schemas=tmp_path / "others", aggregation=tmp_path / "sums")
    others = rules_of(plant.settings)
    for _ in range(2):
        compare(plant, others, {"site.slow.mean": points}, T, 150_000, 150_000)
        compare(plant, others, {"site.slow.mean": points}, T, 300_000, 300_000)
        Upkeep(plant.clock, plant.engine, others).settle()


@pytest.mark.parametrize("drop_raw", [False, True])
def test_what_is_past_its_retention_goes(plant: Plant, rules: Rules, drop_raw: bool) -> None:
    plant.settings.storage.drop_raw = drop_raw
    rules = rules_of(plant.settings)
    plant.carbon("".join(f"site.slow.sum 1 {T - n * 600}\n" for n in range(1500)))  # ten days of them
    upkeep = Upkeep(plant.clock, plant.engine, rules)
    upkeep.settle()
    oldest = plant.rows("SELECT min(time) AS t, count() AS n FROM qnib.points")[0]
    kept = timedelta(hours=6) if drop_raw else timedelta(days=8)
    assert timedelta() <= NOW - oldest["t"] - kept + timedelta(seconds=600) <= timedelta(hours=1)
    assert upkeep.state()["dropped"] == 1500 - oldest["n"]
    (line,) = evaluate(plant.engine, "demo", "site.slow.sum", NOW - timedelta(days=20), NOW, now=NOW, rules=rules)
    assert (line.step, line.start) == (7200, T - 8 * 86_400 + 7200)
    assert np.all(line.values[:-1] == 12)
    if not drop_raw:
        return
    plant.carbon(f"site.slow.sum 5 {T - 86_400}\n")  # stands alone in its slot of five minutes, as in whisper
    Upkeep(plant.clock, plant.engine, rules).settle()
    (line,) = evaluate(plant.engine, "demo", "site.slow.sum", NOW - timedelta(hours=25), NOW - timedelta(hours=23),
                       now=NOW, rules=rules)  # fmt: skip
    assert dict(zip(range(int(line.start), T, 300), line.values, strict=False))[T - 86_400] == 5


def test_charts_of_long_windows_are_made_of_roll_ups(plant: Plant, rules: Rules) -> None:
    dice = random.Random(3)
    values = [dice.uniform(0, 100) for _ in range(12_000)]
    plant.carbon("".join(f"servers.c1.cpu.used {v} {T - n * 60}\n" for n, v in enumerate(values)))
    ids = [plant.rows("SELECT any(series) AS s FROM qnib.series")[0]["s"]]
    start = NOW - timedelta(days=7)
    before = series.read(plant.engine, "demo", ids, start, NOW, 168)
    Upkeep(plant.clock, plant.engine, rules).settle()
    after = series.read(plant.engine, "demo", ids, start, NOW, 168)
    assert before.step == after.step == 3600
    for name in ("mean", "low", "high"):
        np.testing.assert_allclose(getattr(before, name), getattr(after, name))
    slot = [v for n, v in enumerate(values) if T - 7200 <= T - n * 60 < T - 3600]
    at = int(np.flatnonzero(after.t == T - 7200)[0])
    np.testing.assert_allclose(
        [after.mean[0, at], after.low[0, at], after.high[0, at]], [np.mean(slot), min(slot), max(slot)]
    )


def test_a_crash_between_points_and_their_note_is_mended(plant: Plant, rules: Rules, monkeypatch: Any) -> None:
    points = {T - n * 60: float(n % 7) for n in range(900)}
    plant.carbon("".join(f"site.slow.sum {value} {at}\n" for at, value in points.items()))
    Upkeep(plant.clock, plant.engine, rules).settle()
    points[T - 30_000] = 1000.0
    plant.spool_only("carbon/tcp", f"site.slow.sum 1000 {T - 30_000}\n".encode())
    run = plant.engine.run

    def fails(sql: str, *rest: Any, **more: Any) -> None:
        if "qnib.changed" in sql:
            raise OSError("the power is gone")
        run(sql, *rest, **more)

    spool = plant.spool()
    (file,) = spool.ready()
    monkeypatch.setattr(plant.engine, "run", fails)
    with pytest.raises(OSError, match="power"):
        plant.writer(spool)._insert(file)
    monkeypatch.setattr(plant.engine, "run", run)
    assert plant.rows("SELECT count() AS n FROM qnib.changed")[0]["n"] == 0
    plant.writer(plant.spool()).drain()  # the next start finds the file where it was
    assert plant.rows("SELECT count() AS n FROM qnib.changed")[0]["n"] == 1
    for _ in range(2):
        compare(plant, rules, {"site.slow.sum": points}, T, 150_000, 150_000)
        Upkeep(plant.clock, plant.engine, rules).settle()


def test_what_would_be_too_much_says_what_to_narrow(plant: Plant, rules: Rules, monkeypatch: Any) -> None:
    plant.carbon("".join(f"servers.c{h}.cpu.used 1 {T - n * 60}\n" for h in range(10) for n in range(60)))
    monkeypatch.setattr(render, "_MOST_VALUES", 1000)
    window = (NOW - timedelta(hours=1), NOW)
    ask = ["servers.c[0-7].cpu.used", "servers.c[89].cpu.used"]
    assert len(evaluate(plant.engine, "demo", ask[0], *window, now=NOW, rules=rules)) == 8
    several = f"group({ask[0]},scale({ask[0]},2),{ask[1]},servers.*.*.used)"
    for target in ("servers.*.cpu.used", several):
        monkeypatch.setattr(render, "_MOST_VALUES", 500)
        with pytest.raises(TooMuch, match="fewer series or a shorter time"):
            evaluate(plant.engine, "demo", target, *window, now=NOW, rules=rules)
    with pytest.raises(TooMuch, match="fewer targets"):
        render.render(plant.engine, "demo", ask, *window, None, "json", now=NOW, rules=rules)
    with pytest.raises(TooMuch, match="fewer points"):
        series.read(plant.engine, "demo", list(range(2000)), *window, 4000)
