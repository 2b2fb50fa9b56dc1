"""Whatever is inserted again counts once: whole files, half-done files, files of many blocks, much later."""

from __future__ import annotations

import shutil

import pytest

from qnib.clock import micros
from qnib.errors import TooMuch
from qnib.monitoring.frames import Origin, block
from qnib.monitoring.writer import Writer

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())
COUNT = (
    "SELECT (SELECT count() FROM qnib.points) AS points, (SELECT count() FROM qnib.events) AS events,"
    " (SELECT count() FROM qnib.job_samples) AS samples, (SELECT count() FROM qnib.rejects) AS rejects"
)


def mixed(n: int) -> bytes:
    return (f"a.b{n} 1 {T + n}\nslurm.job.{n}.0.0.compute0.cpu 1 {T}\nbad line here now {n}\n").encode()


def file_again(plant: Plant, writer: Writer, times: int = 3) -> None:
    spool = plant.spool()
    for _ in range(times):
        for file in spool.done():
            spool.again(file)
        writer.drain()


def test_a_file_inserted_again(plant: Plant) -> None:
    plant.send("carbon/tcp", b"".join(map(mixed, range(50))))
    writer = plant.syslog(*(f"<13>Nov 20 11:00:00 h a: {n}" for n in range(50)), "no priority")
    before = plant.rows(COUNT)
    assert before == [{"points": 50, "events": 50, "samples": 50, "rejects": 51}]
    file_again(plant, writer)
    assert plant.rows(COUNT) == before


def test_a_file_of_influxs_lines_inserted_again(plant: Plant) -> None:
    lines = [f'a,n={n} v={n},s="text" {T}\nRSS,job={n},step=0,task=0,host=c0 value=1 {T}\nbad {n}' for n in range(50)]
    assert plant.post("/write?precision=s", "\n".join(lines).encode()).status_code == 204
    before = plant.rows(COUNT)
    assert before == [{"points": 50, "events": 0, "samples": 50, "rejects": 51}], "texts are one for all"
    file_again(plant, plant.writer(plant.spool()))
    assert plant.rows(COUNT) == before


def test_a_crash_between_two_tables(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is done again as a whole; tables that had it already take nothing twice."""
    plant.spool_only("carbon/tcp", b"".join(map(mixed, range(10))))
    spool = plant.spool()
    for allowed in range(4):  # statements with a token that succeed before the engine goes away
        writer = plant.writer(spool)
        done = 0
        original = writer._run_once

        def run_once(
            statement: str, token: str | None = None, *, allowed: int = allowed, original: object = original
        ) -> None:
            nonlocal done
            if token and done == allowed:
                raise TooMuch("the engine went away")
            done += bool(token)
            original(statement, token)  # type: ignore[operator]

        monkeypatch.setattr(writer, "_run_once", run_once)
        with pytest.raises(TooMuch):
            writer._insert(spool.ready()[0])
    writer = plant.writer(spool)
    writer.drain()
    assert plant.rows(COUNT) == [{"points": 10, "events": 0, "samples": 10, "rejects": 10}]
    assert plant.rows("SELECT count() n, sum(value) s FROM qnib.points") == [{"n": 10, "s": 10.0}]


def test_a_file_larger_than_any_block(plant: Plant) -> None:
    """More lines than the engine's own block sizes, over three partitions: one token must still mean the same rows."""
    spool = plant.spool()
    prefix = Origin("demo", "10.0.0.1", "carbon/tcp").prefix()
    month = 30 * 86_400
    count = 150_000
    lines = [f"big.s{n % 7} {n} {T - (n % 3) * month - n}" for n in range(count)]
    file = spool.ready_folder / f"{1:020d}-00000000.carbon"
    with file.open("wb") as out:
        for first in range(0, count, 1000):
            out.write(block(micros(NOW), prefix, "\n".join(lines[first : first + 1000]).encode()))
    writer = plant.writer(plant.spool())
    writer.drain()
    told = "SELECT count() n, sum(value) s, uniqExact(value) u FROM qnib.points"
    assert plant.rows(told) == [{"n": count, "s": count * (count - 1) / 2, "u": count}]
    file_again(plant, writer, 2)
    assert plant.rows(told) == [{"n": count, "s": count * (count - 1) / 2, "u": count}]


def test_after_a_boot_inserted_files_are_replayed(plant: Plant) -> None:
    """The kernel may have lost what ClickHouse wrote without fsync; the spool's files were fsynced."""
    plant.carbon(f"a.b 1 {T}\n")
    spool = plant.spool()
    assert [len(spool.ready()), len(spool.done())] == [0, 1]
    plant.engine.run("TRUNCATE TABLE qnib.points")
    (spool.done_folder.parent / "boot").write_text("another boot\n")
    writer = plant.writer(spool)
    assert [len(spool.ready()), len(spool.done())] == [1, 0]
    writer.drain()
    assert plant.rows("SELECT count() n FROM qnib.points") == [{"n": 1}]


def test_a_file_that_cannot_be_read_is_set_aside(plant: Plant) -> None:
    plant.carbon(f"a.b 1 {T}\n")
    spool = plant.spool()
    broken = spool.ready_folder / f"{2:020d}-00000000.carbon"
    shutil.copy(spool.done()[0], broken)
    broken.write_bytes(broken.read_bytes()[:-3])
    plant.spool_only("carbon/tcp", f"a.c 2 {T}\n".encode())
    writer = plant.writer(spool)
    writer.drain()
    assert [file.name for file in spool.failed_folder.iterdir()] == [broken.name]
    assert plant.rows("SELECT DISTINCT path FROM qnib.series ORDER BY path") == [{"path": "a.b"}, {"path": "a.c"}]
