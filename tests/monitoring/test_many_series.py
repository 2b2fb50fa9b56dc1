"""More new series than there may be are refused and counted, and those that are known go on; what is noted of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qnib.engine import Engine
from qnib.model import Metric
from qnib.monitoring.known import NOTED_SECONDS, TOO_MANY, Known
from qnib.monitoring.rulebook import RuleSet
from qnib.monitoring.storage.delete import delete_series
from qnib.settings import SeriesLimits

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


def limited(plant: Plant, **limits: int) -> Plant:
    return replace(plant, settings=plant.settings.model_copy(update={"series": SeriesLimits(**limits)}))


def lines(first: int, count: int, at: int = T) -> str:
    return "".join(f"flood.m{number} 1 {at}\n" for number in range(first, first + count))


def count(plant: Plant, what: str) -> int:
    return int(plant.rows(f"SELECT {what} AS n")[0]["n"])


def paths(plant: Plant) -> list[str]:
    return [row["path"] for row in plant.rows("SELECT path FROM qnib.series FINAL ORDER BY path")]


def test_a_sender_may_bring_so_many_new_series(plant: Plant) -> None:
    plant = limited(plant, new_per_hour=100)
    plant.carbon(f"good.one 1 {T}\n")
    writer = plant.carbon(lines(0, 150) + f"good.one 2 {T + 1}\n")
    assert (writer.counts["points"], writer.counts["rejects"]) == (101, 1)
    assert count(plant, "(SELECT uniqExact(series) FROM qnib.series)") == 101
    assert count(plant, "(SELECT uniqExact(series) FROM qnib.points)") == 101
    assert writer.known.state() == [{"cluster": "demo", "count": 101, "most": 1_000_000, "refused": 50}]
    told = plant.rows("SELECT sender, listener, reason, raw FROM qnib.rejects")
    assert [(row["sender"], row["listener"], row["reason"]) for row in told] == [("127.0.0.1", "carbon/tcp", TOO_MANY)]
    assert told[0]["raw"].startswith("50 points of 50 series, as flood.m")


def test_known_series_go_on_and_an_hour_later_new_ones_too(plant: Plant) -> None:
    plant = limited(plant, new_per_hour=10)
    spool = plant.spool()
    writer = plant.writer(spool)

    def send(text: str) -> int:
        before = writer.counts["points"]
        plant.spool_only("carbon/tcp", text.encode())
        writer.drain()
        assert not writer.trouble
        return int(writer.counts["points"] - before)

    assert send(lines(0, 10)) == 10
    assert send(lines(0, 20, T + 1)) == 10
    plant.clock.advance(1800)
    assert send(lines(0, 20, T + 2)) == 15
    assert send(lines(0, 20, T + 3)) == 15
    plant.clock.advance(1800)
    assert send(lines(0, 20, T + 4)) == 20


def test_a_cluster_may_have_so_many(plant: Plant) -> None:
    plant = limited(plant, most=30)
    plant.carbon(lines(0, 20))
    plant.carbon(lines(0, 40))
    plant.carbon(lines(0, 40), cluster="other")
    assert count(plant, "(SELECT uniqExact(series) FROM qnib.series WHERE cluster = 'demo')") == 30
    assert count(plant, "(SELECT uniqExact(series) FROM qnib.series WHERE cluster = 'other')") == 30


def test_exempt_senders_are_bound_by_the_cluster_alone(plant: Plant) -> None:
    limits = plant.settings.flood.model_copy(update={"exempt": ["127.0.0.1"]})
    plant = limited(plant, most=30, new_per_hour=10)
    plant = replace(plant, settings=plant.settings.model_copy(update={"flood": limits}))
    plant.carbon(lines(0, 20))
    assert len(paths(plant)) == 20
    plant.carbon(lines(0, 50))
    assert len(paths(plant)) == 30


def test_a_file_taken_again_gives_the_same(plant: Plant) -> None:
    """Broken off after its points: the series follow when it is done again, by a server that knows of nothing."""
    plant = limited(plant, new_per_hour=100)
    plant.spool_only("carbon/tcp", lines(0, 150).encode())
    spool = plant.spool()
    writer = plant.writer(spool)
    [file] = spool.ready()
    writer.known.columns = "broken off here ("
    with pytest.raises(Exception, match="Syntax error"):
        writer._insert(file)
    assert (count(plant, "(SELECT count() FROM qnib.points)"), paths(plant)) == (100, [])
    for _ in range(2):
        plant.writer(spool)._insert(file)
        stored = plant.rows("SELECT DISTINCT series FROM qnib.points ORDER BY series")
        assert stored == plant.rows("SELECT DISTINCT series FROM qnib.series ORDER BY series")
        assert len(stored) == count(plant, "(SELECT count() FROM qnib.points)") == 100
        assert count(plant, "(SELECT count() FROM qnib.rejects)") == 1


class Broken:
    """The engine, but for statements that begin so."""

    def __init__(self, engine: Engine, begin: str) -> None:
        self._engine, self._begin = engine, begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, sql: str, *more: Any, **settings: Any) -> None:
        if sql.strip().startswith(self._begin):
            raise OSError("broken off here")
        self._engine.run(sql, *more, **settings)


def test_naming_that_broke_off_is_done_again(plant: Plant) -> None:
    plant.carbon(f"servers.c0.cpu.used 1 {T}\n")
    ours = Metric("ours", "servers.{host}.cpu.used", "s", "")
    known = Known(plant.clock, plant.engine, plant.settings.series, metrics=[ours])
    rules = RuleSet(1, NOW, ())
    known._engine = Broken(plant.engine, "INSERT INTO qnib.series")  # type: ignore[assignment]
    with pytest.raises(OSError, match="broken off here"):
        known.name(rules)
    known._engine = plant.engine
    known.name(rules)
    assert plant.rows("SELECT name, unit FROM qnib.series FINAL") == [{"name": "ours", "unit": "s"}]


def test_deleted_series_are_there_again_when_sent_again(plant: Plant) -> None:
    plant.carbon(f"a.b 1 {T}\n")
    spool = plant.spool()
    writer = plant.writer(spool)
    plant.spool_only("carbon/tcp", f"a.b 2 {T + 1}\na.c 2 {T + 1}\n".encode())
    writer.drain()
    delete_series(plant.engine, "demo", "a.b", really=True)
    writer.known.forget()
    plant.spool_only("carbon/tcp", f"a.b 3 {T + 2}\n".encode())
    writer.drain()
    assert paths(plant) == ["a.b", "a.c"]


def test_what_is_heard_all_the_time_is_noted_now_and_then(plant: Plant) -> None:
    spool = plant.spool()
    writer = plant.writer(spool)

    def seen(at: int) -> tuple[int, int, int]:
        plant.spool_only("carbon/tcp", f"servers.compute0.cpu.used 1 {at}\n".encode())
        writer.drain()
        told = plant.rows(
            "SELECT toUnixTimestamp(first_seen) AS first, toUnixTimestamp(last_seen) AS last FROM qnib.series FINAL"
        )[0]
        heard = plant.rows("SELECT toUnixTimestamp(max(last)) AS last FROM qnib.heard WHERE host = 'compute0'")[0]
        return told["first"], told["last"], heard["last"]

    assert seen(T) == (T, T, T)
    plant.clock.advance(10)
    assert seen(T + 10) == (T, T, T + 10)
    assert seen(T - 500) == (T - 500, T, T + 10)
    plant.clock.advance(NOTED_SECONDS)
    at = T + 10 + NOTED_SECONDS
    assert seen(at) == (T - 500, at, at)


def test_hosts_are_heard_to_the_second(plant: Plant) -> None:
    plant.carbon(f"servers.compute0.cpu.used 1 {T}\nload;host=compute1 1 {T - 5}\nother 1 {T + 1}\n")
    told = plant.rows("SELECT host, last FROM qnib.heard FINAL ORDER BY host")
    assert {row["host"]: (row["last"] - NOW) / timedelta(seconds=1) for row in told} == {
        "": 1, "compute0": 0, "compute1": -5,
    }  # fmt: skip
