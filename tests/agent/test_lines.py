"""Log lines on their way: local syslog and log files to RFC 5424."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.agent.server import frames

from qnib.agent.lines import Tail, frame, from_file, from_socket, program

NOW = 1795219200.25  # 2026-11-21T00:00:00.25Z


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_frame_counts_octets_not_characters() -> None:
    record = frame(3, 6, NOW, "compute0", "slurmd", "", "grüße\nzweite Zeile".encode())
    assert frames(record) == ["<30>1 2026-11-21T00:00:00.250000Z compute0 slurmd - - - grüße\nzweite Zeile"]


@pytest.mark.parametrize(
    ("datagram", "expected", "message"),
    [
        (b"<13>Nov 21 00:00:00 slurm_42: progress 1/9", "<13>1 {t} n1 slurm_42 - - - progress 1/9", b"progress 1/9"),
        (b"<30>Nov  1 00:00:00 slurmd[77]: hello\n", "<30>1 {t} n1 slurmd 77 - - hello", b"hello"),
        (b"<11>sshd[1]: no time", "<11>1 {t} n1 sshd 1 - - no time", b"no time"),
        (b"no priority at all", "<13>1 {t} n1 - - - - no priority at all", b"no priority at all"),
        (b"<999>x: y", "<13>1 {t} n1 x - - - y", b"y"),
        (b"<30>Nov 21 00:17:32 : [5.0][278]: [5.0] done", "<30>1 {t} n1 - 278 - - [5.0] done", b"[5.0] done"),
        (b"<30>Nov 21 00:17:32  \xf05?\xe9U[251]: [5.batch] x", "<30>1 {t} n1 - 251 - - [5.batch] x", b"[5.batch] x"),
        (b"<5>", "<5>1 {t} n1 - - - - ", b""),
        (b"\xff\xfe", "<13>1 {t} n1 - - - - \ufffd\ufffd", b"\xff\xfe"),
        (b"", "<13>1 {t} n1 - - - - ", b""),
    ],
)  # fmt: skip
def test_local_syslog(datagram: bytes, expected: str, message: bytes) -> None:
    record, found = from_socket(datagram, "n1", NOW)
    text = record.partition(b" ")[2].decode(errors="replace")
    assert text == expected.format(t="2026-11-21T00:00:00.250000Z")
    assert found == message


def test_the_kernel_knows_who_speaks_where_the_name_is_spoilt() -> None:
    own = program(os.getpid())
    assert own
    record, _ = from_socket(b"<30>Nov 21 00:17:32 \x01\x02[251]: text", "n1", NOW, os.getpid())
    assert f" n1 {own} 251 - - text" in record.decode()
    named, _ = from_socket(b"<13>slurm_42: text", "n1", NOW, os.getpid())
    assert " n1 slurm_42 - - - text" in named.decode(), "a good name stays"


def test_slurm_line_gives_its_time_and_level() -> None:
    record, message = from_file(b"[2026-11-20T23:17:50.594] error: Nodes n2 not responding", "ctl", "slurmctld", NOW)
    assert frames(record) == ["<27>1 2026-11-20T23:17:50.594000Z ctl slurmctld - - - error: Nodes n2 not responding"]
    assert message == b"error: Nodes n2 not responding"


def test_opensm_line_gets_the_year_it_does_not_write() -> None:
    line = b"Nov 20 21:35:58 774384 [90A866C0] 0x01 -> log_trap_info: Received"
    assert frames(from_file(line, "f", "opensm", NOW)[0]) == [
        "<28>1 2026-11-20T21:35:58.774384Z f opensm - - - log_trap_info: Received"
    ]
    december = b"Dec 31 23:59:59 000000 [90A866C0] 0x02 -> SUBNET UP"
    january = 1798761600.0  # 2027-01-01
    assert "2026-12-31T23:59:59" in frames(from_file(december, "f", "opensm", january)[0])[0]


def test_unknown_lines_pass_as_they_are() -> None:
    for line in (b"plain", b"[not a time] x", b"[2026-99-99T99:99:99] x", b"Foo 99 99:99:99 000000 [A] 0x01 -> x"):
        record, _ = from_file(line, "h", "a", NOW)
        assert frames(record)


def test_tail_follows_rotation_truncation_and_half_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    tail = Tail(str(log), "x", False)
    assert tail.read() == []
    with log.open("a") as out:
        out.write("one\ntw")
        out.flush()
        assert tail.read() == [b"one"]
        out.write("o\n\n")
        out.flush()
        assert tail.read() == [b"two"]
        out.write("last words\n")
    log.rename(tmp_path / "x.log.1")
    log.write_text("new file\n")
    assert tail.read() == [b"last words", b"new file"]
    log.write_text("short\n")
    assert tail.read() == [b"short"]
    log.unlink()
    assert tail.read() == []
    log.write_text("back\n")
    assert tail.read() == [b"back"]
    tail.close()


def test_tail_from_start_and_of_a_file_to_come(tmp_path: Path) -> None:
    log = tmp_path / "y.log"
    late = Tail(str(log), "y", False)
    assert late.read() == []
    log.write_text("first\n")
    assert late.read() == [b"first"]
    assert Tail(str(log), "y", True).read() == [b"first"]
