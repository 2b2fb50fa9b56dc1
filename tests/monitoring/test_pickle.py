"""Carbon's pickles: what relays send is taken, what a pickle could do beside is refused and counted."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qnib.monitoring.pickled import decode, points

from .conftest import LOOPBACK, NOW, Plant
from .live import Live, served
from .metric_senders import sender_python
from .test_carbon import values

engine = pytest.mark.engine
T = int(NOW.timestamp())
POINTS = [("a.b", (T - 10, 1.5)), ("a.b", (T, 2)), ("disk.free;unit=B;host=c1", (T, 3.25)), ("a.c", [str(T), "-2e3"])]


def framed(*pickles: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in pickles)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/qnib-pickled",)


HOSTILE = {
    "a call of os.system": pickle.dumps(Evil()),
    "the same among good points": pickle.dumps([("a.b", (T, 1.0)), Evil()]),
    "a name": b"cos\nsystem\n.",
    "a persistent name": b"Psomething\n.",
    "an extension": b"\x82\x01.",
    "a dictionary": pickle.dumps({"a": 1}),
    "an object": b"(i__main__\nEvil\n.",
    "a set": pickle.dumps([{1, 2}], 4),
    "cut off": pickle.dumps(POINTS)[:-9],
    "no stop": b"]",
    "empty": b"",
    "a text that is longer than all": b"X\xff\xff\xff\x7fabc.",
    "a number of a gigabyte": b"\x8b\x00\x00\x00\x40abc.",
    "a negative length": b"T\xff\xff\xff\xffabc.",
    "an empty stack": b"\x87.",
    "a mark that is missing": b"e.",
    "a memo that is missing": b"h\x07.",
    "appended to a number": b"K\x01K\x01a.",
    "no list": pickle.dumps("a.b 1 2"),
}


@pytest.mark.parametrize("protocol", range(6))
def test_all_protocols_are_read(protocol: int) -> None:
    lines, refused = points(pickle.dumps(POINTS, protocol), 10_000)
    assert [line.decode() for line in lines] == [
        f"a.b 1.5 {T - 10}.0", f"a.b 2.0 {T}.0", f"disk.free;unit=B;host=c1 3.25 {T}.0", f"a.c -2000.0 {T}.0",
    ]  # fmt: skip
    assert refused == []


@pytest.mark.parametrize("protocol", range(6))
def test_values_are_those_of_the_standard_library(protocol: int) -> None:
    numbers = [1, -1, 255, 256, 70_000, -(2**40), 2**63, 0.1, -0.0, 1e300]
    told = [b"caf\xc3\xa9 \xe6\xbc\xa2 '\\\n", numbers, (), (1,), [[]], None, True, False]
    sent = [told[0].decode(), *told[1:]]  # type: ignore[attr-defined]
    assert decode(pickle.dumps(sent, protocol)) == told


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_nothing_else_is_read(what: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        points(HOSTILE[what], 10_000)
    assert not Path("/tmp/qnib-pickled").exists()  # noqa: S108  what the hostile ones would have made


def test_deep_nesting_is_no_depth_of_calls() -> None:
    deep = b"]" * 200_000 + b"a" * 199_999 + b"."
    assert points(deep, 10_000) == ([], [0])
    tuples = b"(" * 100_000 + b"t" * 100_000 + b"."
    with pytest.raises(ValueError, match="not a list"):
        points(tuples, 10_000)


def test_a_list_that_holds_itself() -> None:
    assert points(b"]q\x00h\x00a.", 10_000) == ([], [0])
    assert points(b"]q\x00(h\x00h\x00e.", 10_000) == ([], [0, 1])


def test_a_path_told_once_and_meant_a_million_times() -> None:
    item = pickle.dumps(("x" * 1000, (T, 1)), 2)[:-1] + b"q\x63"
    bomb = b"\x80\x02](" + item + b"h\x63" * 100_000 + b"e."
    with pytest.raises(ValueError, match="longer than 5000000 octets"):
        points(bomb, 5_000_000)


def test_a_number_of_many_digits_meant_often_is_no_work() -> None:
    digits = b"9" * 400_000
    item = b"X\x01\x00\x00\x00ah\x01h\x01\x86\x86"
    frame = b"X" + len(digits).to_bytes(4, "little") + digits + b"q\x01](" + item * 50_000 + b"e."
    assert points(frame, 10_000) == ([], list(range(50_000)))


def test_a_memo_of_four_billion_places_costs_one() -> None:
    assert points(b"]r\xff\xff\xff\xff.", 10_000) == ([], [])


def test_items_that_are_no_points_leave_the_others() -> None:
    values_ = [1, (1,), (1, 2, 3), ("x", 1), (T, None), (T, 10**600)]
    bad: list[Any] = ["a", ("a",), (1, (1, 2)), None, 7, [], *(("a", value) for value in values_)]
    lines, refused = points(pickle.dumps([POINTS[0], *bad, POINTS[1]], 2), 10_000)
    assert (len(lines), refused) == (2, list(range(1, len(bad) + 1)))


# ── over TCP ──────────────────────────────────────────────────────────────────────────────────


@engine
def test_pickles_become_points(plant: Plant) -> None:
    octets = framed(pickle.dumps(POINTS, 2), pickle.dumps([("slurm.job.42.0.1.c1.cpu", (T, 7))], 2))
    plant.send("pickle/tcp", *(octets[n : n + 3] for n in range(0, len(octets), 3)))
    assert values(plant, "a.b") == [(T - 10, 1.5), (T, 2.0)]
    assert values(plant, "a.c") == [(T, -2000.0)]
    assert values(plant, "disk.free;host=c1;unit=B") == [(T, 3.25)]
    assert plant.rows("SELECT job, host, metric, value FROM qnib.job_samples") == [
        {"job": 42, "host": "c1", "metric": "cpu", "value": 7.0}
    ]
    assert plant.rejects() == []


@engine
def test_tagged_series_over_udp(plant: Plant) -> None:
    plant.send("carbon/udp", f"disk.free;unit=B;host=c1 3.25 {T}\ndisk.free;host=c1;unit=B 4 {T + 1}\n".encode())
    assert values(plant, "disk.free;host=c1;unit=B") == [(T, 3.25), (T + 1, 4.0)]
    (series,) = plant.rows("SELECT name, tags, host FROM qnib.series FINAL")
    assert series == {"name": "disk.free", "tags": {"host": "c1", "unit": "B"}, "host": "c1"}


@engine
def test_hostile_pickles_are_counted_with_their_sender_and_harm_nobody(plant: Plant) -> None:
    good = pickle.dumps([("good.one", (T, 1))], 2)
    plant.send("pickle/tcp", framed(*(octets for octets in HOSTILE.values()), good))
    rejects = plant.rows("SELECT sender, listener, reason, raw FROM qnib.rejects")
    assert len(rejects) == len(HOSTILE)
    assert {(one["sender"], one["listener"]) for one in rejects} == {(LOOPBACK, "pickle/tcp")}
    assert all(one["reason"].startswith("no pickle of points: ") for one in rejects)
    assert values(plant, "good.one") == [(T, 1.0)]


@engine
def test_bad_points_of_a_good_pickle(plant: Plant) -> None:
    told = [("a b", (T, 1)), ("n", (T, float("nan"))), ("ahead", (T + 10**6, 1)), ("no", 1), ("good.two", (-1, 2))]
    plant.send("pickle/tcp", framed(pickle.dumps(told, 2)))
    assert values(plant, "good.two") == [(T, 2.0)]
    assert sorted(why for why, _ in plant.rejects()) == [
        "not path, value and time", "points that are not (path, (time, value))",
        "the time is before 1970 or a day ahead", "the value is not finite",
    ]  # fmt: skip


@engine
@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\xff\xff\xff\xff" + b"x" * 100, "longer than 50000 octets"),
        (b"servers.c1.cpu.used 1 -1\n", "longer than 50000 octets"),  # lines that went to the wrong port
        (framed(pickle.dumps(POINTS))[:-3], "connection ended inside the record"),
        (b"\x00\x00", "connection ended inside the record"),
    ],
)
def test_lengths_that_are_none(plant: Plant, octets: bytes, reason: str) -> None:
    plant.send("pickle/tcp", framed(pickle.dumps([("good.three", (T, 3))])) + octets)
    assert [why for why, _ in plant.rejects()] == [reason]
    assert values(plant, "good.three") == [(T, 3.0)]


# ── a real carbon-relay ───────────────────────────────────────────────────────────────────────

RELAY = """
[relay]
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_PORT = 0
LOG_DIR = {home}
MAX_QUEUE_SIZE = 10000
RELAY_METHOD = rules
DESTINATIONS = 127.0.0.1:{pickle}:a
"""
RULES = "[default]\ndefault = true\ndestinations = 127.0.0.1:{pickle}:a\n"


@engine
def test_carbon_relay(plant: Plant, tmp_path: Path) -> None:
    python = sender_python()
    with served(plant) as live:
        with socket.create_server((LOOPBACK, 0)) as free:
            line = free.getsockname()[1]
        places = {"line": line, "home": tmp_path, "pickle": live.ports["pickle/tcp"]}
        (tmp_path / "carbon.conf").write_text(RELAY.format(**places))
        (tmp_path / "relay-rules.conf").write_text(RULES.format(**places))
        (tmp_path / "storage-schemas.conf").write_text("")
        with (tmp_path / "out").open("w") as out:
            relay = subprocess.Popen(
                [python, str(Path(python).with_name("carbon-relay.py")), f"--config={tmp_path}/carbon.conf",
                 f"--rules={tmp_path}/relay-rules.conf", f"--pidfile={tmp_path}/pid", f"--logdir={tmp_path}",
                 "--debug", "start"],
                stdout=out, stderr=out, env={"GRAPHITE_ROOT": str(tmp_path), "PATH": os.environ["PATH"]},
            )  # fmt: skip
        try:
            _relayed(live, line, relay, tmp_path / "out")
        finally:
            relay.terminate()
            relay.wait(30)
    assert plant.rejects() == []


def _relayed(live: Live, port: int, relay: subprocess.Popen[bytes], out: Path) -> None:
    now = int(live.plant.clock.now().timestamp())
    lines = "".join(f"relayed.n{n};host=c1 {n} {now}\n" for n in range(2000))

    def sent() -> bool:
        assert relay.poll() is None, out.read_text()
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1) as wire:
                wire.sendall(lines.encode())
        except OSError:
            return False
        return True

    live.until(sent)
    count = "SELECT count() AS n, sum(value) AS all FROM qnib.points FINAL"
    live.until(lambda: live.plant.rows(count)[0]["n"] >= 2000)
    live.until(lambda: live.plant.rows("SELECT uniqExact(series) AS n FROM qnib.series")[0]["n"] >= 2000)
    assert live.plant.rows(count) == [{"n": 2000, "all": sum(range(2000))}]
    (series,) = live.plant.rows("SELECT name, host FROM qnib.series FINAL WHERE name = 'relayed.n7'")
    assert series == {"name": "relayed.n7", "host": "c1"}
