"""The same series, however they are read: at once with their points, or their interval first and then slots in SQL."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from qnib.monitoring.graphite import fetch
from qnib.monitoring.graphite.render import evaluate
from qnib.monitoring.storage.rules import Rules

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


def told(plant: Plant, target: str, hours: float, behind: float = 0) -> dict[str, tuple[float, float, str]]:
    end = NOW - timedelta(seconds=behind)
    lines = evaluate(plant.engine, "demo", target, end - timedelta(hours=hours), end, now=NOW)
    return {line.name: (line.start, line.step, repr(line.values.tolist())) for line in lines}


def scattered(dice: random.Random) -> list[str]:
    """Series of several intervals with gaps, jitter, points more often than the interval, and one of a single point."""
    lines = [f"s.single 1 {T - 3000}\n"]
    for number, step in enumerate([1, 10, 10, 10, 60, 300, 900]):
        for at in range(T - 7200, T, step):
            if dice.random() < 0.9:
                lines.append(f"s.n{number} {dice.randrange(1000) / 10} {at + dice.choice([0, 0, 0, step * 0.3]):.3f}\n")
    return lines


@pytest.mark.parametrize("hours", [0.05, 1, 3])
@pytest.mark.parametrize("behind", [0, 47])
def test_both_ways_tell_the_same(plant: Plant, monkeypatch: pytest.MonkeyPatch, hours: float, behind: float) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    lines = scattered(dice)
    dice.shuffle(lines)
    for part in range(3):
        plant.carbon("".join(lines[part::3]))
    early = told(plant, "s.*", hours, behind)
    assert len(early) == 8
    plant.carbon("".join(dice.sample(lines, 100)))  # once more, as after a sender's retry
    assert told(plant, "s.*", hours, behind) == early
    monkeypatch.setattr(fetch, "_EARLY", 1)
    assert told(plant, "s.*", hours, behind) == early


def test_of_points_written_twice_the_last_counts(plant: Plant) -> None:
    for value in (1, 2, 3):
        plant.carbon("".join(f"a.b {value} {T - 60 * n}\n" for n in range(1, 5)))
    assert told(plant, "a.b", 0.06) == {"a.b": (T - 180.0, 60.0, "[3.0, 3.0, 3.0, nan]")}


def test_no_more_points_than_fit_are_read_at_once(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.carbon("".join(f"a.b {n} {T - 10 * n}\n" for n in range(1, 300)))
    asked: list[str] = []
    table = plant.engine.table

    def watched(sql: str, *args: Any, **more: Any) -> Any:
        asked.append(sql)
        return table(sql, *args, **more)

    monkeypatch.setattr(plant.engine, "table", watched)
    early = told(plant, "a.b", 0.5)
    assert sum("qnib.points" in sql for sql in asked) == 1
    monkeypatch.setattr(fetch, "_EARLY", 100)
    asked.clear()
    assert told(plant, "a.b", 0.5) == early
    assert any("LIMIT 100" in sql for sql in asked) and sum("qnib.points" in sql for sql in asked) > 1


def test_series_whose_interval_is_told_stand_beside_others(plant: Plant) -> None:
    plant.carbon("".join(f"e.told 1 {T - 60 * n}\ne.other 2 {T - 60 * n}\n" for n in range(1, 9)))
    lines = evaluate(plant.engine, "demo", "e.*", NOW - timedelta(minutes=4), NOW, now=NOW,
                     rules=Rules(intervals=(("e.told", 60),)))  # fmt: skip
    assert {line.name: line.values.tolist()[:3] for line in lines} == {"e.told": [1.0] * 3, "e.other": [2.0] * 3}
