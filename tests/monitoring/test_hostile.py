"""Senders that err or lie: octets that are no text, forged heads, false names, wrong clocks, floods."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import Any

import pytest

from qnib.cli.output import plain, show_rows, text
from qnib.monitoring.claims import Claims
from qnib.monitoring.receive import Receiver
from qnib.monitoring.senders import rejected, senders
from qnib.settings import FloodLimit, Settings

from .conftest import LOOPBACK, NOW, Plant, until

engine = pytest.mark.engine
DAY = (NOW - timedelta(days=1), NOW + timedelta(seconds=1))
HOSTILE = '\x1b[2J\x1b]0;title\x07<script>alert(1)</script>\x00 \u202egnp.exe'


def events(plant: Plant) -> list[dict[str, Any]]:
    return plant.rows("SELECT time, received, host, message, severity, fields FROM qnib.events ORDER BY message")


# ── octets ────────────────────────────────────────────────────────────────────────────────────


@engine
def test_nul_octets_and_octets_that_are_no_text(plant: Plant) -> None:
    plant.send("syslog/udp", b"<13>Nov 20 11:00:00 h a: one\x00two \xc3\x28 \xff end\x00\x00")
    plant.send("syslog/tcp", b"<13>Nov 20 11:00:00 h a: one\x00two \xc3\x28 \xff end\x00\n")
    plant.send("json/udp", b'{"message": "one\\u0000two \xc3\x28 \xff end", "host": "\xff"}')
    bad = "\N{REPLACEMENT CHARACTER}"
    assert [event["message"] for event in events(plant)] == [f"one\0two {bad}( {bad} end"] * 3


@engine
def test_lines_of_a_megabyte_are_refused_and_nothing_else(plant: Plant) -> None:
    long, good = b"x" * (1 << 20), b"<13>Nov 20 11:00:00 h a: good"
    plant.send("syslog/tcp", b"<13>" + long + b"\n" + good + b"\n")
    plant.send("syslog/tcp", b"%d <13>%b" % (len(long) + 4, long) + b"%d %b" % (len(good), good))
    plant.send("json/tcp", b'{"message": "' + long + b'"}\n{"message": "good"}\n')
    plant.send("gelf/tcp", b'{"short_message": "' + long + b'"}\0{"short_message": "good"}\0')
    plant.send("syslog/udp", b"<13>Nov 20 11:00:00 h a: " + b"x" * 60_000)
    assert [event["message"] for event in events(plant)] == ["good"] * 4
    assert {why for why, _ in plant.rejects()} == {"longer than 2000 octets", "longer than 20000 octets"}
    assert len(plant.rejects()) == 5
    assert max(len(raw) for _, raw in plant.rejects()) <= 2048


@engine
def test_forged_priorities(plant: Plant) -> None:
    forged = [
        "<999>", "<-1>", "<192>", "<>", "<1e2>", "<0x1>", "<13", "<13><13>", "<\N{ARABIC-INDIC DIGIT ONE}3>", "<1 3>",
    ]  # fmt: skip
    plant.send("syslog/udp", *(f"{head}Nov 20 11:00:00 h a: m".encode() for head in forged))
    assert {event["severity"] for event in events(plant)} <= {"notice"}, "nobody becomes an emergency by such a head"
    assert len(events(plant)) + len(plant.rejects()) == len(forged)
    assert len(plant.rejects()) >= 8


# ── as text ───────────────────────────────────────────────────────────────────────────────────


@engine
def test_what_is_hostile_is_stored_as_it_came(plant: Plant) -> None:
    plant.send("syslog/udp", f"<13>Nov 20 11:00:00 h a: {HOSTILE}".encode())
    assert [event["message"] for event in events(plant)] == [HOSTILE]


def test_a_terminal_is_shown_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(
        [{"host": "c0\x1b[31m", "message": HOSTILE + "\nsecond\nthird"}], ["host", "message"], as_json=False,
        as_csv=False, empty="",
    )
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "\u202e" not in said
    assert r"\x1b[2J\x1b]0;title\x07<script>alert(1)</script>\x00 \u202egnp.exe (+2 lines)" in said
    assert text("a\tb é 漢") == "a\tb é 漢"
    assert plain("\x9b31m\r\n") == "\\x9b31m\\r\n"


# ── clocks ────────────────────────────────────────────────────────────────────────────────────


@engine
def test_arrival_is_kept_and_the_skew_is_shown(plant: Plant) -> None:
    for host, seconds in (("ahead", 47), ("behind", -600), ("right", 0)):
        for n in range(3):
            at = NOW + timedelta(seconds=seconds + n / 10)
            plant.syslog(f"<13>1 {at.isoformat()} {host} a - - - {host} {n}")
    plant.syslog("<13>1 2031-01-01T00:00:00Z reset a - - - m")
    assert {event["received"] for event in events(plant)} == {NOW}
    found = {row["host"]: row for row in senders(plant.engine, "demo", *DAY, {})}
    assert [found[host]["skew"] for host in ("ahead", "behind", "right")] == [47.1, -599.9, 0.1]
    assert (found["reset"]["wrong_clock"], found["ahead"]["wrong_clock"]) == (1, 0)
    assert found["reset"]["skew"] > 4 * 365 * 86_400
    assert found["ahead"]["events"] == 3


# ── names ─────────────────────────────────────────────────────────────────────────────────────

KNOWN = {"127.0.0.1": "c1", "c1": "c1", "c1.site.org": "c1", "c2": "c2"}


@engine
def test_who_names_another_host_is_marked(plant: Plant) -> None:
    plant.names = KNOWN
    hosts = ("c1", "c1.site.org", "c2", "c9")
    plant.syslog(*(f"<13>Nov 20 11:00:00 {host} a: {n}" for n, host in enumerate(hosts)))
    plant.syslog("<13>no host told")
    plant.send("json/udp", b'{"host": "c2", "message": "4"}', b'{"message": "5"}')
    told = {event["message"]: event["fields"].get("sent_by") for event in events(plant)}
    assert {n: told[n] for n in "012345"} == {"0": None, "1": None, "2": "c1", "3": "c1", "4": "c1", "5": None}
    (row,) = [r for r in senders(plant.engine, "demo", *DAY, {}) if r["host"] == "c9"]
    assert row["sent_by"] == 1


@engine
def test_once_senders_are_set_others_are_refused(plant: Plant) -> None:
    plant.names = KNOWN
    plant.settings.senders = {"127.0.0.0/8": ["c[1-2]"], "10.0.0.0/8": ["*"]}
    plant.syslog("<13>Nov 20 11:00:00 c1 a: mine", "<13>Nov 20 11:00:00 c2 a: set", "<13>Nov 20 11:00:00 c3 a: forged")
    plant.settings.senders = {"10.0.0.0/8": ["*"]}
    plant.send("json/udp", b'{"host": "c1", "message": "nobody set me"}')
    told = [(event["message"], event["fields"].get("sent_by")) for event in events(plant)]
    assert told == [("mine", None), ("set", "c1")]
    assert plant.rejects() == [
        ("the sender is none of those that are set", "nobody set me"), ("the sender may not speak for c3", "forged"),
    ]  # fmt: skip


def test_the_most_exact_entry_counts() -> None:
    names = {"10.0.0.5": "c5", "c5": "c5", "10.0.0.6": "c6"}
    claims = Claims(
        {"10.0.0.0/8": ["known"], "10.0.0.6": ["*"], "10.9.0.0/16": ["n[0-3]", "login1"], "fd00::/8": ["*"]},
        lambda cluster, name: names.get(name),
    )

    def refused(sender: str, host: str) -> bool:
        return bool(claims.judge("demo", sender, host).refused)

    assert [refused("10.0.0.5", host) for host in ("c5", "c6", "10.0.0.5")] == [False, True, False]
    assert [refused("10.0.0.6", host) for host in ("c6", "c5", "x")] == [False] * 3
    assert [refused("10.9.1.1", host) for host in ("n0", "n4", "login1")] == [False, True, False]
    assert [refused(sender, "c5") for sender in ("fd00::1", "192.168.0.1", "qnib")] == [False, True, True]
    assert claims.judge("demo", "10.0.0.6", "x").sent_by == "c6"


@engine
def test_what_was_refused_is_told_by_reason_and_no_file_is_a_sender(plant: Plant) -> None:
    plant.settings.senders = {"127.0.0.0/8": ["c[1-2]"]}
    plant.syslog("<13>Nov 20 11:00:00 c3 a: first", f"<13>Nov 20 11:00:00 c3 a: {'x' * 900}")
    plant.syslog("<999>Nov 20 11:00:00 c1 a: m", "<13>Nov 20 11:00:00 c1 a: mine")
    (loaded,) = [dict(row) for row in plant.rows("SELECT * FROM qnib.rejects WHERE reason LIKE '%priority%'")]
    plant.engine.insert("qnib.rejects", [loaded | {"sender": "Europe/Berlin", "listener": "load/syslog"}])
    told = rejected(plant.engine, "demo", *DAY)
    assert {(row["sender"], row["listener"], row["reason"], row["count"]) for row in told} == {
        ("127.0.0.1", "syslog/tcp", "the sender may not speak for c3", 2),
        ("127.0.0.1", "syslog/tcp", "the priority is not 0 to 191", 1),
    }
    assert max(len(row["example"]) for row in told) <= 300
    assert {row["sender"] for row in senders(plant.engine, "demo", *DAY, {})} == {"127.0.0.1"}
    assert rejected(plant.engine, "demo", *DAY, limit=1) == told[:1]


@pytest.mark.parametrize("senders_", [{"no address": ["*"]}, {"10.0.0.0/40": ["*"]}, {"10.0.0.1": ["c[0-"]}])
def test_senders_that_are_none_are_told(senders_: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="senders"):
        Settings(senders=senders_)


# ── floods ────────────────────────────────────────────────────────────────────────────────────


@engine
def test_a_host_that_floods_is_held_back_and_others_are_not(plant: Plant) -> None:
    plant.settings.flood = FloodLimit(octets_per_second=1000, burst=20_000)
    count, line = 2000, b"<13>Nov 20 11:00:00 %b a: %b %d"
    got: dict[str, int] = {}

    async def main() -> None:
        spool = plant.spool()
        await spool.start()
        receiver = Receiver(plant.settings, plant.clock, spool)
        await receiver.open(LOOPBACK, "demo")
        port = receiver.ports(LOOPBACK)["syslog/udp"]
        kind = (socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(*kind) as bad, socket.socket(*kind) as good:
            bad.bind(("127.0.0.66", 0))
            good.bind(("127.0.0.7", 0))
            for n in range(count):
                bad.sendto(line % (b"bad", b"flood", n), (LOOPBACK, port))
                if n % 20 == 0:
                    good.sendto(line % (b"good", b"calm", n), (LOOPBACK, port))
                if n % 100 == 0:
                    await until(lambda n=n: receiver.datagrams >= n + n // 20)
            await until(lambda: receiver.datagrams == count + count // 20)
        got.update(receiver.flood.limited)
        await receiver.stop()
        await spool.stop()

    asyncio.run(main())
    plant.writer(plant.spool()).drain()
    stored = {row["host"]: row["n"] for row in plant.rows("SELECT host, count() AS n FROM qnib.events GROUP BY host")}
    assert stored["good"] == count // 20, "nothing of the other host is lost"
    assert got == {"127.0.0.66": count - stored["bad"]}
    assert 100 < stored["bad"] < 400, "its burst came in"
    (said,) = plant.rows("SELECT host, message, severity FROM qnib.events WHERE app = 'qnib'")
    assert (said["host"], said["severity"]) == ("127.0.0.66", "warning")
    dropped = [int(why.split()[1]) for why, _ in plant.rejects() if why.startswith("flood:")]
    assert sum(dropped) == got["127.0.0.66"]
    (row,) = [r for r in senders(plant.engine, "demo", *DAY, got) if r["host"] == "bad"]
    assert row["dropped"] == got["127.0.0.66"]


@engine
def test_over_tcp_a_host_that_floods_waits_and_loses_nothing(plant: Plant) -> None:
    plant.settings.flood = FloodLimit(octets_per_second=200_000, burst=10_000)
    line = b'{"host": "%b", "message": "%d"}\n'

    async def main() -> None:
        spool = plant.spool()
        await spool.start()
        receiver = Receiver(plant.settings, plant.clock, spool)
        await receiver.open(LOOPBACK, "demo")
        port = receiver.ports(LOOPBACK)["json/tcp"]
        loop = asyncio.get_running_loop()
        _, bad = await asyncio.open_connection(LOOPBACK, port, local_addr=("127.0.0.66", 0))
        _, good = await asyncio.open_connection(LOOPBACK, port, local_addr=("127.0.0.7", 0))
        began = loop.time()
        bad.write(b"".join(line % (b"bad", n) for n in range(6000)))
        await asyncio.sleep(0)
        good.write(line % (b"good", 1))
        good.close()
        await until(lambda: receiver.connections == 1)
        calm = loop.time() - began
        bad.close()
        await until(lambda: receiver.connections == 0)
        flood = loop.time() - began
        await receiver.stop()
        await spool.stop()
        assert calm < flood / 2, "the other host did not wait for it"

    asyncio.run(main())
    plant.writer(plant.spool()).drain()
    stored = {row["host"]: row["n"] for row in plant.rows("SELECT host, count() AS n FROM qnib.events GROUP BY host")}
    assert (stored["bad"], stored["good"]) == (6000, 1)
