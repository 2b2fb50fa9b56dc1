"""JSON from the socket to events: lines and GELF, the names shippers use, times in any unit, what is no JSON."""

from __future__ import annotations

import gzip
import json
import secrets
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
COLUMNS = "time, host, app, pid, facility, severity, message, fields"


def events(plant: Plant) -> list[dict[str, Any]]:
    return plant.rows(f"SELECT {COLUMNS} FROM qnib.events ORDER BY time, message")


def one(plant: Plant, document: dict[str, Any], listener: str = "json/udp") -> dict[str, Any]:
    plant.send(listener, json.dumps(document).encode())
    found = events(plant)
    assert len(found) == 1, plant.rejects()
    return found[0]


@pytest.mark.parametrize(
    "document",
    [
        {"@timestamp": "2026-11-20T11:00:00.250Z", "host": "c0", "program": "sshd", "pid": 7, "severity": "warning",
         "message": "hello"},
        {"@timestamp": "2026-11-20T11:00:00.250Z", "host": {"name": "c0"}, "process": {"name": "sshd", "pid": 7},
         "log": {"level": "WARN"}, "message": "hello"},
        {"timestamp": "2026-11-20T12:00:00,25+01:00", "hostname": "c0", "app": "sshd", "procid": "7",
         "level": "Warning", "msg": "hello\n"},
        {"ts": 1795172400.25, "host.name": "c0", "logger": "sshd", "process.pid": 7, "level": 4, "text": "hello"},
        {"time": 1795172400250, "nodename": "c0", "service": "sshd", "pid": 7, "lvl": "wrn", "severity": "warn",
         "log": "hello"},
        {"__REALTIME_TIMESTAMP": "1795172400250000", "_HOSTNAME": "c0", "SYSLOG_IDENTIFIER": "sshd", "_PID": "7",
         "PRIORITY": "4", "MESSAGE": "hello"},
        {"time": "1795172400250000000", "host": "c0", "ident": "sshd", "pid": "7", "level": 40, "body": "hello"},
        {"@timestamp": "2026-11-20T11:00:00.250Z", "@source_host": "c0", "@message": "hello", "app": "sshd",
         "pid": "7", "level": "warning"},
    ],
)  # fmt: skip
def test_the_names_people_use(plant: Plant, document: dict[str, Any]) -> None:
    event = one(plant, document)
    assert (event["time"], event["host"], event["app"], event["pid"], event["message"]) == (
        NOW - timedelta(minutes=59, seconds=59.75), "c0", "sshd", "7", "hello",
    )  # fmt: skip
    assert event["severity"] == "warning"


def test_the_rest_are_fields(plant: Plant) -> None:
    event = one(plant, {
        "message": "m", "a": {"b": {"c": 1}, "d.e": "x"}, "list": [1, "y"], "none": None, "empty": "", "yes": True,
    })  # fmt: skip
    assert event["fields"] == {"a.b.c": "1", "a.d.e": "x", "list": '[1,"y"]', "yes": "true"}
    assert (event["host"], event["time"], event["severity"], event["facility"]) == ("127.0.0.1", NOW, "info", "user")


def test_a_document_without_text_is_its_own_text(plant: Plant) -> None:
    event = one(plant, {"event": "login", "user": "alice"})
    assert event["message"] == '{"event": "login", "user": "alice"}'
    assert event["fields"] == {"event": "login", "user": "alice"}


def test_a_clock_far_off_is_told(plant: Plant) -> None:
    event = one(plant, {"message": "m", "time": "2031-01-01T00:00:00Z"})
    assert (event["time"], event["fields"]) == (NOW, {"sent": "2031-01-01T00:00:00Z"})


def test_lines_over_tcp_in_pieces_and_many_in_a_datagram(plant: Plant) -> None:
    lines = b"".join(json.dumps({"message": f"m{n}"}).encode() + b"\n" for n in range(5))
    plant.send("json/tcp", *(lines[n : n + 7] for n in range(0, len(lines), 7)))
    plant.send("json/tcp", lines.rstrip())
    plant.send("json/udp", lines, b'{\n "message":\n "pretty"}\n')
    assert sorted(e["message"] for e in events(plant)) == sorted([f"m{n}" for n in range(5)] * 3 + ["pretty"])


def test_what_is_no_object_is_kept(plant: Plant) -> None:
    bad = ['{"message": "cut', "[1, 2]", "text", '{"a": 1} and more', "7"]
    plant.send("json/udp", *(line.encode() for line in bad), b'{"message": "good"}')
    plant.send("json/tcp", b'{"message": "' + b"x" * 30_000 + b'"}\n{"message": "good"}\n{"message": "never ends')
    assert [e["message"] for e in events(plant)] == ["good", "good"]
    assert sorted(why for why, _ in plant.rejects()) == [
        "connection ended inside the record", "longer than 20000 octets", *["not a JSON object"] * 5,
    ]  # fmt: skip


GELF = {
    "version": "1.1", "host": "c0", "short_message": "A short one", "full_message": "A short one\n\nat line 7",
    "timestamp": 1795172400.25, "level": 3, "_user_id": 42, "_app": "solver", "facility": "local0",
}  # fmt: skip


def gelf(plant: Plant, listener: str, *chunks: bytes) -> None:
    plant.send(listener, *chunks)
    (event,) = events(plant)
    assert event == {
        "time": NOW - timedelta(minutes=59, seconds=59.75), "host": "c0", "app": "solver", "pid": "",
        "facility": "local0", "severity": "err", "message": "A short one",
        "fields": {"full_message": "A short one\n\nat line 7", "user_id": "42"},
    }  # fmt: skip


def chunked(data: bytes, size: int) -> list[bytes]:
    parts = [data[n : n + size] for n in range(0, len(data), size)]
    name = secrets.token_bytes(8)
    return [b"\x1e\x0f" + name + bytes([n, len(parts)]) + part for n, part in enumerate(parts)]


@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress])
def test_gelf_plain_and_packed(plant: Plant, pack: Any) -> None:
    gelf(plant, "gelf/udp", pack(json.dumps(GELF).encode()))


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_gelf_in_chunks_in_any_order_and_some_twice(plant: Plant, pack: Any) -> None:
    chunks = chunked(pack(json.dumps(GELF).encode()), 60)
    gelf(plant, "gelf/udp", *reversed(chunks[1:]), chunks[1], chunks[0])


def test_gelf_over_tcp(plant: Plant) -> None:
    text = json.dumps(GELF).encode()
    gelf(plant, "gelf/tcp", text[:50], text[50:] + b"\0")


def test_gelf_that_is_broken(plant: Plant) -> None:
    bomb = zlib.compress(b'{"short_message":"' + b"x" * 1_000_000)
    lost = chunked(b"x" * 100, 30)[:2]
    packed = gzip.compress(json.dumps(GELF).encode())
    plant.send(
        "gelf/udp", bomb, *lost, packed[: len(packed) // 2], b"\x1e\x0f" + b"12345678" + bytes([5, 2]) + b"x",
        b"\x1e\x0f123", b"\x78\x9cgarbage", json.dumps({"short_message": "good"}).encode(),
    )  # fmt: skip
    assert [e["message"] for e in events(plant)] == ["good"]
    assert {why.partition(":")[0] for why, _ in plant.rejects()} == {
        "longer than 20000 octets unpacked", "chunks of a GELF message are missing", "it cannot be unpacked",
        "a GELF chunk whose head is wrong",
    }  # fmt: skip


def test_a_source_has_a_zone(plant: Plant) -> None:
    plant.send("json/udp", *(
        json.dumps({"host": host, "time": "2026-11-20 12:30:00", "message": "m"}).encode() for host in ("berlin1", "c0")
    ))  # fmt: skip
    assert {e["host"]: e["time"] for e in events(plant)} == {
        "berlin1": datetime(2026, 11, 20, 11, 30, tzinfo=UTC), "c0": datetime(2026, 11, 20, 12, 30, tzinfo=UTC),
    }  # fmt: skip
