"""What fuzzing found, each fault with the least that showed it."""

from __future__ import annotations

import gzip
import json
import threading
import time
from pathlib import Path

import pytest

from qnib.domains.slurm.values import expand
from qnib.engine import Limits
from qnib.errors import WrongUse
from qnib.monitoring.frames import Origin, row
from qnib.monitoring.graphite import find
from qnib.monitoring.graphite.targets import parse
from qnib.monitoring.graphite.times import moment
from qnib.monitoring.statsd import Tally, samples
from qnib.nodes import MOST_NODES, count_names, unfold

from .conftest import NOW, Plant

engine = pytest.mark.engine


def test_a_timer_too_large_to_square_ends_no_interval() -> None:
    tally = Tally([90], 100)
    for line in (b"x:1e200|ms", b"x:-1e200|ms", b"good:1|c"):
        for sample in samples(line):
            tally.take(sample)
    told = dict(tally.flush(10))
    assert told[b"stats.counters.good.count"] == 1
    assert told[b"stats.timers.x.std"] == float("inf"), "which the writer refuses and counts"
    assert not list(tally.flush(10)), "it had stopped statsd of the cluster for good"


def test_numbers_and_pipes_of_a_target_are_bounded() -> None:
    assert parse(f"f({'9' * 5000})").args == [float("inf")]  # type: ignore[union-attr]
    assert parse("a" + "|f()" * 60)
    with pytest.raises(WrongUse, match="too many pipes"):
        parse("a" + "|f()" * 12_000)


@pytest.mark.parametrize("text", ["a\nb", "-1h\n-1h x", "-" + "1a" * 10_000 + "!", "9" * 5000])
def test_times_that_are_none_are_told_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(WrongUse, match="is no time"):
        moment(text, NOW)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("value", ["b{99999999999}", "b{" + "9" * 5000 + "}", "(" * 2000 + ")" * 2000, "["])
def test_patterns_that_python_refuses_in_other_ways(value: str) -> None:
    with pytest.raises(WrongUse, match="expression is wrong"):
        find.tag_conditions([f"a=~{value}"])


@engine
@pytest.mark.parametrize("glob", ["a.[!]", "[z-a].b"])
def test_globs_and_expressions_that_cannot_be_read(plant: Plant, glob: str) -> None:
    plant.carbon("a.b 1 -1\n")
    with pytest.raises(WrongUse, match="expression is wrong"):
        find.by_glob(plant.engine, "demo", glob)
    with pytest.raises(WrongUse, match="RE2"):
        find.by_tags(plant.engine, "demo", ["name=~(?=a)b"])


@engine
@pytest.mark.parametrize("limits", [None, Limits(seconds=5, rows=10)])
def test_a_query_that_fails_leaves_nothing_in_the_next_answer(plant: Plant, limits: Limits | None) -> None:
    for _ in range(20):
        with pytest.raises(WrongUse):
            plant.engine.rows("SELECT match(toString(number), {p:String}) FROM numbers(9)", {"p": "["}, limits=limits)
        assert plant.engine.rows("SELECT 1 AS one", limits=limits) == [{"one": 1}]


@engine
def test_half_a_character_in_a_question_is_none(plant: Plant) -> None:
    assert plant.rows("SELECT {text:String} AS told", text="a\ud800b") == [{"told": "a?b"}]


@engine
@pytest.mark.parametrize("stamp", ["1e400", "9" * 400 + "e9", '"1e400"', "1e19", "9e12", "99999999999e0"])
def test_a_time_without_end_does_not_refuse_its_neighbours(plant: Plant, stamp: str) -> None:
    plant.send("json/tcp", b'{"message": "odd", "ts": ' + stamp.encode() + b'}\n{"message": "good"}\n')
    told = {found["message"] for found in plant.rows("SELECT message FROM qnib.events")}
    told |= {why for why, _ in plant.rejects()}
    assert told in ({"odd", "good"}, {"not a JSON object", "good"})


@engine
def test_a_file_that_is_set_aside_is_told_among_the_rejects_of_its_senders(plant: Plant) -> None:
    spool = plant.spool()
    octets = b"".join(row(1, Origin("demo", f"s{n}", "x/tcp").prefix(), [b"a", b"b"]) for n in (1, 1, 2))
    (spool.ready_folder / f"{1:020d}-00000000.unknown").write_bytes(octets)
    writer = plant.writer(spool)
    writer._stopping.wait = lambda _seconds: False  # type: ignore[method-assign]
    writer.drain()
    told = plant.rows("SELECT sender, listener, reason FROM qnib.rejects ORDER BY sender")
    assert [(one["sender"], one["listener"]) for one in told] == [("s1", "x/tcp"), ("s2", "x/tcp")]
    assert "lies in spool/failed: a spool file of the unknown format '.unknown'" in told[0]["reason"]
    assert writer.counts["rejects"] == 2


@engine
def test_every_member_of_a_gzip_is_read(plant: Plant) -> None:
    documents = [gzip.compress(json.dumps({"message": f"m{n}"}).encode() + b"\n") for n in range(3)]
    packed = {"Content-Encoding": "gzip"}
    assert plant.post("/ingest/json", b"".join(documents), headers=packed).json() == {"acknowledged": 3}
    assert len(plant.rows("SELECT id FROM qnib.events")) == 3
    many = plant.post("/ingest/json", gzip.compress(b"") * 200_000, headers=packed)
    assert (many.status_code, "members" in many.json()["what"]) == (400, True)
    plant.settings.http.max_body = 10_000
    assert plant.post("/ingest/json", gzip.compress(b"\n" * 6000) * 2, headers=packed).status_code == 413


MANY = ["c[0-99999999]", "c[0-999]x[0-999]", "c[1-9" + "9" * 30 + "]", "a,b[0-9],c[0-300000]"]


@pytest.mark.parametrize("folded", MANY)
def test_a_set_of_too_many_nodes_is_told_before_it_fills_memory(folded: str) -> None:
    assert count_names(folded) > MOST_NODES
    with pytest.raises(WrongUse, match="too many nodes"):
        unfold(folded)
    with pytest.raises(ValueError, match="stands for more"):
        expand(folded)


def test_sets_are_counted_and_unfolded() -> None:
    assert [count_names(one) for one in ("c1", "c[0-7,9]", "a[1-2]b[1-3],d", "c[0-10/2]", "c[1")] == [1, 9, 7, 11, 1]
    assert unfold("c[2-3],a") == ["a", "c2", "c3"]
    assert unfold("") == []
    assert unfold("@all") == ["@all"], "no file of groups is asked"
    with pytest.raises(WrongUse, match="no set of nodes"):
        unfold("c[")


@engine
def test_the_writer_outlives_a_folder_it_cannot_list(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.spool_only("carbon/tcp", b"after 1 -1\n")
    spool, failed = plant.spool(), threading.Event()
    ready = spool.ready

    def none_left() -> list[Path]:
        if not failed.is_set():
            failed.set()
            raise OSError(24, "Too many open files")
        return ready()

    monkeypatch.setattr(spool, "ready", none_left)
    writer = plant.writer(spool)
    writer.start()
    assert failed.wait(10)
    end = time.monotonic() + 20
    while not plant.rows("SELECT path FROM qnib.series WHERE path = 'after'"):
        assert time.monotonic() < end
        time.sleep(0.05)
    while not writer.healthy:
        assert time.monotonic() < end
        time.sleep(0.05)
    writer.stop()
