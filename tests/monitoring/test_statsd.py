"""statsd: the numbers that Etsy's server makes of the same lines, what clients write, and who goes too far."""

from __future__ import annotations

import math
import subprocess
from typing import Any

import pytest

from qnib.monitoring.statsd import Full, Tally, samples
from qnib.settings import FloodLimit, Statsd

from .conftest import NOW, Plant
from .live import served
from .metric_senders import sender_python
from .test_influx import told

engine = pytest.mark.engine
T = int(NOW.timestamp())


def flushed(*lines: str, percentiles: list[float] | None = None, seconds: float = 10, **own: Any) -> dict[str, float]:
    tally = own.get("tally") or Tally(percentiles or [90], 1000)
    for line in lines:
        for sample in samples(line.encode()):
            tally.take(sample)
    return {path.decode(): value for path, value in tally.flush(seconds)}


def test_counters() -> None:
    assert flushed("a:1|c", "a:2|c|@0.5", "a:-3.5|c", "b:1e2|c") == {
        "stats.counters.a.count": 1.5, "stats.counters.a.rate": 0.15,
        "stats.counters.b.count": 100.0, "stats.counters.b.rate": 10.0,
    }  # fmt: skip


def test_gauges_keep_their_value_for_increments_and_are_told_when_set() -> None:
    tally = Tally([90], 1000)
    first = flushed("g:5|g", "g:+3|g", "g:-1|g", "new:-4|g", tally=tally)
    assert first == {"stats.gauges.g": 7.0, "stats.gauges.new": -4}
    assert flushed(tally=tally) == {}
    assert flushed("g:+1|g", "new:0|g", "new:-2|g", tally=tally) == {"stats.gauges.g": 8.0, "stats.gauges.new": -2}


def test_sets() -> None:
    assert flushed("s:1|s", "s:1|s", "s:two|s", "s:2|s") == {"stats.sets.s.count": 3.0}


def test_timers() -> None:
    found = flushed("t:300|ms", "t:100|ms|@0.1", "t:200|ms", percentiles=[90, 50, -50, 99.9, 1])
    std = found.pop("stats.timers.t.std")
    assert math.isclose(std, 81.64965809277261)
    assert {path.removeprefix("stats.timers.t."): value for path, value in found.items()} == {
        "count": 12.0, "count_ps": 1.2, "lower": 100.0, "upper": 300.0, "sum": 600.0, "sum_squares": 140000.0,
        "mean": 200.0, "median": 200.0,
        "count_90": 3.0, "mean_90": 200.0, "upper_90": 300.0, "sum_90": 600.0, "sum_squares_90": 140000.0,
        "count_50": 2.0, "mean_50": 150.0, "upper_50": 200.0, "sum_50": 300.0, "sum_squares_50": 50000.0,
        "count_top50": 2.0, "mean_top50": 250.0, "lower_top50": 200.0, "sum_top50": 500.0,
        "sum_squares_top50": 130000.0,
        "count_99_9": 3.0, "mean_99_9": 200.0, "upper_99_9": 300.0, "sum_99_9": 600.0, "sum_squares_99_9": 140000.0,
    }  # fmt: skip


def test_a_timer_of_one_value_and_an_even_number_of_them() -> None:
    found = flushed("t:100|ms", "u:1:2:3:4|ms")
    assert [found[f"stats.timers.t.{what}"] for what in ("mean", "upper_90", "std", "median")] == [100, 100, 0, 100]
    assert found["stats.timers.u.median"] == 2.5


def test_dialects() -> None:
    assert flushed(
        "a/b c!:1|c", "page.views:1|c|#env:prod,rack:r 1;x,urgent", "tagged;host=c1:2|c", "packed:1:2:3|h|@0.5|#a:b",
        "etsy:1|c:2|c|@0.5:5|g", "dog:4|d|c:container-id", "dog:1|c|@1|T1656581400",
    ).keys() >= {
        "stats.counters.a-b_c.count", "stats.counters.page.views.count;env=prod;rack=r_1_x;urgent=true",
        "stats.counters.tagged.count;host=c1", "stats.timers.packed.count;a=b", "stats.counters.etsy.count",
        "stats.gauges.etsy", "stats.timers.dog.count", "stats.counters.dog.count",
    }  # fmt: skip
    assert flushed("etsy:1|c:2|c|@0.5:5|g")["stats.counters.etsy.count"] == 5


BAD = {
    "no colon": "not name:value|type", "a:1": "not name:value|type", ":1|c": "not name:value|type",
    "!!:1|c": "not name:value|type", "a:1|": "a type that is none of c, g, ms, h, d and s",
    "a:1|x": "a type that is none of c, g, ms, h, d and s", "a:|c": "the value is no number",
    "a:x|c": "the value is no number", "a:nan|g": "the value is no number", "a:inf|ms": "the value is no number",
    "a:1_0|c": "the value is no number", "a:1e999|c": "the value is no number",
    "a:1|c|@0": "the rate is not above 0 and at most 1", "a:1|c|@2": "the rate is not above 0 and at most 1",
    "a:1|c|@": "the value is no number", "_e{5,4}:title|text": "an event or a check of DogStatsD",
    "n" * 501 + ":1|c": "name and tags are longer than 500 octets", "_sc|name|0": "an event or a check of DogStatsD",
}  # fmt: skip


@pytest.mark.parametrize("line", BAD)
def test_bad_lines(line: str) -> None:
    with pytest.raises(ValueError, match=BAD[line]):
        flushed(line)


def test_forged_names_do_not_fill_memory() -> None:
    tally = Tally([90], 3)
    for kind in ("c", "g", "ms", "s"):
        for n in range(3):
            flushed_none(tally, f"n{n}:1|{kind}")
        with pytest.raises(Full):
            flushed_none(tally, f"n3:1|{kind}")
        flushed_none(tally, f"n0:1|{kind}")
    assert len(list(tally.flush(1))) > 6
    for n in range(10, 13):
        flushed_none(tally, f"n{n}:5|g")
    assert len(list(tally.flush(1))) == 3
    found = flushed("n12:+1|g", "n0:+1|g", tally=tally)
    assert (found["stats.gauges.n12"], found["stats.gauges.n0"]) == (6, 1), "the gauges longest unset are forgotten"


def flushed_none(tally: Tally, line: str) -> None:
    for sample in samples(line.encode()):
        tally.take(sample)


# ── over UDP ──────────────────────────────────────────────────────────────────────────────────


@engine
def test_datagrams_become_points(plant: Plant) -> None:
    plant.send("statsd/udp", b"jobs:1|c\njobs:2|c\n\nload;host=c1:0.5|g", b"jobs:4|c|#queue:gpu", b"wait:320|ms")
    found = told(plant)
    assert found["stats.counters.jobs.count"] == 3.0
    assert found["stats.counters.jobs.count;queue=gpu"] == 4.0
    assert found["stats.gauges.load;host=c1"] == 0.5
    assert found["stats.timers.wait.upper_90"] == 320.0
    assert plant.rows("SELECT DISTINCT time FROM qnib.points") == [{"time": NOW}]
    (series,) = plant.rows("SELECT name, host FROM qnib.series FINAL WHERE name = 'stats.gauges.load'")
    assert series == {"name": "stats.gauges.load", "host": "c1"}


@engine
def test_bad_lines_are_counted_with_their_sender_and_harm_nobody(plant: Plant) -> None:
    plant.send("statsd/udp", "\n".join(["good:1|c", *BAD]).encode(), b"\xff\xfe|", b"x" * 60_000)
    rejects = plant.rows("SELECT sender, listener, reason, raw FROM qnib.rejects")
    assert {(one["sender"], one["listener"]) for one in rejects} == {("127.0.0.1", "statsd/udp")}
    assert {one["reason"] for one in rejects} >= set(BAD.values())
    assert "7 lines, the first: a:|c" in {one["raw"] for one in rejects}
    assert told(plant) == {"stats.counters.good.count": 1.0, "stats.counters.good.rate": 0.1}


@engine
def test_names_beyond_the_limit_are_told_once(plant: Plant) -> None:
    plant.settings.statsd = Statsd(port=0, most_names=10)
    plant.send("statsd/udp", b"\n".join(b"n%d:1|c" % n for n in range(50)))
    assert plant.rejects() == [("more names or values in an interval than are kept", "40")]
    assert len(told(plant)) == 20


@engine
def test_a_host_that_floods_is_held_back(plant: Plant) -> None:
    plant.settings.flood = FloodLimit(octets_per_second=100, burst=1000)
    plant.send("statsd/udp", *[b"flood:1|c"] * 100)
    assert told(plant)["stats.counters.flood.count"] < 20
    assert any(why.startswith("flood: ") for why, _ in plant.rejects())


@engine
def test_it_can_be_off(plant: Plant) -> None:
    plant.settings.statsd = Statsd(port=0, flush_seconds=0)
    with pytest.raises(KeyError):
        plant.send("statsd/udp", b"a:1|c")


# ── a real client ─────────────────────────────────────────────────────────────────────────────

CLIENT = """
import sys, statsd
client = statsd.StatsClient("127.0.0.1", int(sys.argv[1]), prefix="lab")
with client.pipeline() as pipe:
    for n in range(10):
        pipe.incr("jobs.started")
        pipe.timing("jobs.wait", 100 * n)
client.incr("jobs.failed", 3)
client.gauge("queue", 70)
client.gauge("queue", 5, delta=True)
client.gauge("queue", -1, delta=True)
for user in ("alice", "bob", "alice"):
    client.set("users", user)
"""


@engine
def test_the_client_of_python(plant: Plant) -> None:
    python = sender_python()
    plant.settings.statsd = Statsd(port=0, flush_seconds=1)
    with served(plant) as live:
        subprocess.run([python, "-c", CLIENT, str(live.ports["statsd/udp"])], check=True, timeout=60)
        live.until(lambda: "stats.sets.lab.users.count" in told(plant))
    found = told(plant)
    assert {path.removeprefix("stats."): value for path, value in found.items() if "lab.jobs.wait" not in path} == {
        "counters.lab.jobs.started.count": 10.0, "counters.lab.jobs.started.rate": pytest.approx(10, rel=0.3),
        "counters.lab.jobs.failed.count": 3.0, "counters.lab.jobs.failed.rate": pytest.approx(3, rel=0.3),
        "gauges.lab.queue": 74.0, "sets.lab.users.count": 2.0,
    }  # fmt: skip
    assert found["stats.timers.lab.jobs.wait.upper_90"] == 800.0
    assert found["stats.timers.lab.jobs.wait.median"] == 450.0
    assert plant.rejects() == []
