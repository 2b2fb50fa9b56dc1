"""The spool and the edges in front of it: what acknowledged means, what a full spool does, what captures become."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qnib.clock import FrozenClock, micros
from qnib.errors import Conflict, Unavailable, WrongUse
from qnib.monitoring.frames import Origin, Record, block, read_records, row
from qnib.monitoring.receive import Receiver
from qnib.monitoring.spool import Spool
from qnib.settings import Edge, Settings

from .conftest import LOOPBACK, NOW, Plant, until

ORIGIN = Origin("demo", "10.0.0.7", "carbon/tcp")


def test_frames_bring_back_what_they_were_given(tmp_path: Path) -> None:
    at, big = micros(NOW), b"x" * 70_000
    file = tmp_path / "a.capture"
    file.write_bytes(row(at, ORIGIN.prefix(), [b"one\ntwo", b"", big]) + block(at + 1, ORIGIN.prefix(), b"l1\nl2"))
    told = list(read_records(file))
    assert [record.body for record in told] == [b"one\ntwo", b"", big, b"l1", b"l2"]
    assert told[0] == Record(NOW, "demo", "10.0.0.7", "carbon/tcp", b"one\ntwo")
    assert told[3].received == NOW + timedelta(microseconds=1)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="ends inside a record"):
        list(read_records(file))


def test_put_returns_when_the_file_bears_its_name(settings: Settings) -> None:
    async def main() -> None:
        spool = Spool(settings, FrozenClock(NOW))
        await spool.start()
        waiting = asyncio.create_task(spool.put("capture", "demo", "ctl", "http", b"text"))
        await asyncio.sleep(0)
        assert spool.ready() == []
        await waiting
        assert [r.body for r in read_records(spool.ready()[0])] == [b"text"]
        assert spool.state() == {"files": 1, "bytes": spool.ready()[0].stat().st_size, "oldest_age": 0.0, "dropped": 0}
        await spool.stop()

    asyncio.run(main())


def test_lines_of_carbon_are_light_but_many_short_lines_are_not(plant: Plant) -> None:
    """Three times `rotate_bytes` make a file of numbers, unless its lines are so many that they count."""
    plant.settings.spool.rotate_bytes = 1 << 20
    long = "servers.compute0001.cpu.core01.used 12.25 1795700000\n" * (2 << 20 >> 6)
    short = "a 1 1\n" * ((1 << 20) // 6)
    for text, least, most in ((long, 1, 1), (short, 2, 9)):
        before = len(plant.spool().done())
        plant.send("carbon/tcp", text.encode())
        assert least <= len(plant.spool().done()) - before <= most


def test_names_never_repeat_though_the_clock_stands_still(settings: Settings) -> None:
    async def main() -> None:
        for _ in range(2):
            spool = Spool(settings, FrozenClock(NOW))
            await spool.start()
            for n in range(3):
                await spool.put("capture", "demo", "ctl", "http", b"%d" % n)
            await spool.stop()

    asyncio.run(main())
    spool = Spool(settings, FrozenClock(NOW))
    assert [r.body for file in spool.ready() for r in read_records(file)] == [b"0", b"1", b"2"] * 2


def test_what_was_never_acknowledged_is_removed(settings: Settings) -> None:
    folder = Spool(settings, FrozenClock(NOW)).ready_folder
    (folder / "00000000000000000001-aaaaaaaa.carbon.part").write_bytes(b"half")
    assert list(Spool(settings, FrozenClock(NOW)).ready_folder.iterdir()) == []


def test_inserted_files_are_forgotten_after_a_while_or_when_they_are_many(settings: Settings) -> None:
    clock = FrozenClock(NOW)
    settings.spool.keep_seconds, settings.spool.max_bytes = 100, 3000
    spool = Spool(settings, clock)
    for age in (150, 50, 40, 30):
        name = f"{micros(NOW - timedelta(seconds=age)):020d}-aaaaaaaa.carbon"
        (spool.done_folder / name).write_bytes(b"x" * 1000)
    spool.forget_old()
    assert len(spool.done()) == 3
    settings.spool.max_bytes = 2500
    spool.forget_old()
    assert len(spool.done()) == 2
    clock.advance(61)
    spool.forget_old()
    assert len(spool.done()) == 1


def test_a_full_spool_makes_senders_wait_and_drops_datagrams(settings: Settings) -> None:
    settings.spool.max_bytes, settings.spool.rotate_seconds = 50_000, 0.01
    settings.carbon.max_line = 100_000

    async def main() -> None:
        spool = Spool(settings, FrozenClock(NOW))
        await spool.start()
        receiver = Receiver(settings, FrozenClock(NOW), spool)
        await receiver.open(LOOPBACK, "demo")
        ports = receiver.ports(LOOPBACK)
        _, out = await asyncio.open_connection(LOOPBACK, ports["carbon/tcp"])
        line = b"a.b 1 1\n" * 1000
        out.write(line * 10)
        await until(lambda: spool.full)
        with pytest.raises(Unavailable, match="full"):
            await spool.put("capture", "demo", "ctl", "http", b"text")
        stored = spool.state()["bytes"]
        out.write(line)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"u.a 1 1", (LOOPBACK, ports["carbon/udp"]))
        await until(lambda: spool.dropped == 1)
        assert spool.state()["bytes"] == stored, "nothing was read from the connection"
        for file in spool.ready():
            spool.finished(file)
        await until(lambda: not spool.full and spool.state()["files"] > 0)
        out.close()
        await receiver.stop()
        await spool.stop()
        lines = sum(len([r for r in read_records(f) if r.body]) for f in (*spool.ready(), *spool.done()))
        assert lines == 11_000

    asyncio.run(main())


def test_a_disk_that_cannot_be_written(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        spool = Spool(settings, FrozenClock(NOW))
        await spool.start()
        original = spool._write
        monkeypatch.setattr(spool, "_write", _no_space)
        with pytest.raises(Unavailable, match="No space left"):
            await spool.put("capture", "demo", "ctl", "http", b"kept in memory")
        monkeypatch.setattr(spool, "_write", original)
        await until(spool.ready)
        assert [r.body for r in read_records(spool.ready()[0])] == [b"kept in memory"]
        await spool.stop()

    asyncio.run(main())


def _no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_port_taken_is_told(settings: Settings) -> None:
    async def main() -> None:
        with socket.socket() as holder:
            holder.bind((LOOPBACK, 0))
            holder.listen()
            port = holder.getsockname()[1]
            taken = settings.model_copy(update={"syslog": Edge(port=port)})
            spool = Spool(taken, FrozenClock(NOW))
            await spool.start()
            receiver = Receiver(taken, FrozenClock(NOW), spool)
            with pytest.raises(Unavailable, match=f"{port}") as told:
                await receiver.open(LOOPBACK, "demo")
            assert "QNIB_SYSLOG__PORT" in told.value.try_next
        await receiver.open(LOOPBACK, "demo")  # nothing was left open
        with pytest.raises(Conflict):
            await receiver.open(LOOPBACK, "demo")
        await receiver.stop()
        await spool.stop()

    asyncio.run(main())


@pytest.mark.engine
def test_captures_come_in_order_and_a_bad_one_stops_nobody(plant: Plant) -> None:
    def take(record: Record) -> None:
        if record.body == b"bad":
            raise ValueError("line 1 is no topology")
        if record.body == b"worse":
            raise WrongUse("no such capture")
        plant.captured.append((record.cluster, record.sender, record.body))

    plant.capture = take

    async def put(spool: Spool) -> None:
        await spool.start()
        for cluster, body in (("one", b"a"), ("one", b"bad"), ("two", b"b"), ("one", b"worse"), ("one", b"c")):
            await spool.put("capture", cluster, "ctl", "http", body)
        await spool.stop()

    asyncio.run(put(plant.spool()))
    writer: Any = plant.writer(plant.spool())
    writer.drain()
    assert plant.captured == [("one", "ctl", b"a"), ("two", "ctl", b"b"), ("one", "ctl", b"c")]
    assert plant.rejects() == [("ValueError: line 1 is no topology", "bad"), ("no such capture", "worse")]
    assert (writer.counts["captures"], writer.counts["rejects"], writer.trouble) == (5, 2, "")


@pytest.mark.engine
def test_a_running_writer_takes_files_as_they_come_and_finishes_before_it_ends(plant: Plant) -> None:
    async def main() -> None:
        spool = plant.spool()
        writer = plant.writer(spool)
        await spool.start()
        writer.start()
        receiver = Receiver(plant.settings, plant.clock, spool)
        await receiver.open(LOOPBACK, "demo")
        _, out = await asyncio.open_connection(LOOPBACK, receiver.ports(LOOPBACK)["carbon/tcp"])
        out.write(f"a.b 1 {int(NOW.timestamp())}\n".encode())
        await until(lambda: writer.counts["points"] == 1)
        assert writer.healthy
        out.write(f"a.b 2 {int(NOW.timestamp())}\n".encode())
        out.close()
        await until(lambda: receiver.connections == 0)
        await receiver.stop()
        await spool.stop()
        await asyncio.to_thread(writer.stop)
        assert writer.counts["points"] == 2
        assert spool.ready() == []

    asyncio.run(main())
