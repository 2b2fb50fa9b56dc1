"""Senders of numbers that err or lie, over real sockets: a good one beside them notices nothing, and all is told."""

from __future__ import annotations

import asyncio
import gzip
import json
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest
import uvicorn

from qnib.api import patience
from tests.conftest import World, free_ports, stopped

from .conftest import LOOPBACK, TOKEN, Plant
from .live import served

pytestmark = pytest.mark.engine
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def say(port: int, *pieces: bytes, sender: str = LOOPBACK) -> None:
    """Write each piece by itself, and close."""
    with socket.socket() as wire:
        wire.settimeout(20)
        wire.bind((sender, 0))
        wire.connect((LOOPBACK, port))
        for piece in pieces:
            wire.sendall(piece)


# ── lines ─────────────────────────────────────────────────────────────────────────────────────

AHEAD = str(int(time.time()) + 10**6).encode()
REASONS = {
    "not path, value and time": [b"path", b"path 1", b"a b c 1 -1"],
    "the value is no number": [b"p one -1", b"p 0x10 -1", b"p 1,5 -1"],
    "the value is not finite": [b"p nan -1", b"p inf -1", b"p -Infinity -1", b"p 1e999 -1"],
    "the time is no number": [b"p 1 noon"],
    "the time is before 1970 or a day ahead": [
        b"p 1 nan", b"p 1 inf", b"p 1 1e300", b"p 1 -2", b"p 1 -1e300", b"p 1 " + AHEAD, b"p 1 99999999999999999999",
    ],
    "the path is not UTF-8": [b"\xff\xfe 1 -1"], "longer than 2000 octets": [b"l" * 2100 + b" 1 -1"],
    "not a sample of a job": [b"slurm.job.x.0.0.c1.cpu 1 -1", b"slurm.job. 1 -1"],
}  # fmt: skip
REFUSED = {line: reason for reason, lines in REASONS.items() for line in lines}
TAKEN = [
    b"far.past 1 0", b"large 1e300 -1", b"negative -1e-300 -1", b"tab\t1\t-1", b"carriage 1 -1\r", b"  blank   1   -1 ",
    b"a..b 1 -1", b".a 1 -1", b"a. 1 -1", b"... 1 -1", b"twice;k=a;k=b 1 -1", b"no;value 1 -1", b"no;=name 1 -1",
    b";k=v 1 -1", b"s." * 900 + b"end 1 -1", b"t" + b"".join(b";k%03d=v" % n for n in range(200)) + b" 1 -1",
    b"q\"uo'te\\back 1 -1", b"\x01\x1b[2J\x7f 1 -1", "é漢\u202e.x 1 -1".encode(), b"<script>alert(1)</script> 1 -1",
    b"%s{}[]*? 1 -1", b"same 1 1700000000", b"same 2 1700000000", b"same 3 1700000000",
]  # fmt: skip


def test_every_line_is_a_point_or_a_reject_with_its_reason(plant: Plant) -> None:
    with served(plant) as live:
        port = live.ports["carbon/tcp"]
        say(port, *(line + b"\n" for line in (*REFUSED, *TAKEN)), sender="127.0.0.66")
        say(port, b"good 1 -1\n", sender="127.0.0.7")
        live.until(lambda: plant.rows("SELECT path FROM qnib.series FINAL WHERE path = 'good'"))
        live.until(lambda: len(plant.rejects()) == len(REFUSED))  # they follow the points of their file
        told = {raw: why for why, raw in plant.rejects()}
        told[b"\xff\xfe 1 -1".decode("latin-1")] = told.pop("\N{REPLACEMENT CHARACTER} 1 -1")
        assert {line[:2048].decode("latin-1"): why for line, why in REFUSED.items()} == told
        live.until(lambda: live.writer is not None and live.writer.counts["points"] == len(TAKEN) + 1)
        origin = {(one["sender"], one["listener"]) for one in plant.rows("SELECT sender, listener FROM qnib.rejects")}
        assert origin == {("127.0.0.66", "carbon/tcp")}
    (same,) = plant.rows("SELECT value FROM qnib.points FINAL WHERE series = cityHash64('demo', 'same')")
    assert same["value"] == 3, "the last of a slot is kept"


def test_half_lines_and_endless_ones(plant: Plant) -> None:
    with served(plant) as live:
        port = live.ports["carbon/tcp"]
        say(port, b"half.a 1 ", b"-1\nhalf.b 2")
        say(port, *[b"x" * 60_000] * 50, b" 1 -1\nafter 3 -1\n")
        say(live.ports["pickle/tcp"], struct.pack(">I", 100) + b"only some")
        paths = "SELECT path FROM qnib.series FINAL ORDER BY path"
        live.until(lambda: len(plant.rows(paths)) == 2 and len(plant.rejects()) == 3)
        assert [row["path"] for row in plant.rows(paths)] == ["after", "half.a"]
        assert Counter(why for why, _ in plant.rejects()) == {
            "connection ended inside the record": 2, "longer than 2000 octets": 1
        }  # fmt: skip


GARBAGE = (b"\0" * 100, b"\xff" * 60_000, b"\n" * 1000, b"good:1|c\n:|||\n" * 50, b"\x1e\x0f" + b"x" * 9)


def test_datagrams_that_are_garbage(plant: Plant) -> None:
    with served(plant) as live:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for edge in ("carbon/udp", "statsd/udp", "json/udp", "gelf/udp", "syslog/udp"):
                for octets in GARBAGE:
                    out.sendto(octets, (LOOPBACK, live.ports[edge]))
        say(live.ports["carbon/tcp"], b"good 1 -1\n")
        live.until(lambda: plant.rows("SELECT path FROM qnib.series FINAL WHERE path = 'good'"))
        live.until(lambda: {"carbon/udp", "json/udp", "gelf/udp"} <= {
            row["listener"] for row in plant.rows("SELECT listener FROM qnib.rejects")
        })  # fmt: skip
        assert live.writer is not None and live.writer.healthy


# ── HTTP ──────────────────────────────────────────────────────────────────────────────────────

LINE = b"http,host=c1 f=1\n"
ENCODED = [
    ("gzip", gzip.compress(LINE), 204), ("deflate", zlib.compress(LINE), 204), ("gzip", gzip.compress(LINE)[:-4], 400),
    ("gzip", LINE, 400), ("deflate", b"\x78\x9c\xff\xff", 400), ("zstd", bytes(cramjam.zstd.compress(LINE)), 400),
    ("br", LINE, 400), ("gzip", gzip.compress(b"x" * (40 << 20)), 413), ("snappy", b"\xff" * 9, 400),
    ("snappy", bytes(cramjam.snappy.compress_raw(b"x" * (40 << 20))), 413), ("identity", b"\xff\x00 f=1", 204),
]  # fmt: skip


def test_bodies_in_encodings_that_are_wrong_or_bombs(plant: Plant) -> None:
    with served(plant) as live, httpx.Client(base_url=f"http://{LOOPBACK}:{live.http}", headers=BEARER) as client:
        for encoding, body, status in ENCODED:
            answer = client.post("/write", content=body, headers={"Content-Encoding": encoding})
            assert answer.status_code == status, (encoding, body[:20], answer.text)
        for path in ("/api/v1/write", "/v1/metrics", "/v1/logs", "/loki/api/v1/push", "/_bulk", "/logs/_doc", "/gelf"):
            for body in (b"", b"\xff" * 100, b"[" * 100_000, b"{}", b"null", b'{"a":' * 2000, b"0" * 10_000):
                answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code < 500, (path, body[:20], answer.text)
        live.until(lambda: plant.rows("SELECT path FROM qnib.series FINAL WHERE name = 'http.f'"))
        live.until(lambda: "the line is not UTF-8" in {why for why, _ in plant.rejects()})


@contextmanager
def patient() -> Iterator[int]:
    """The port of a server whose answers are large, over the protocol of ours."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * (64 << 20 if scope["path"] == "/large" else 2)})

    listening = socket.create_server((LOOPBACK, 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=patience.PatientProtocol)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_who_drips_a_request_or_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.4)
    head = b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    with patient() as port, ExitStack() as wires:
        asks = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
        said = {"nothing": b"", "half a head": head, "half a body": head + b"\r\nabc", "never reads": asks}
        opened = {}
        for name, octets in said.items():
            wire = opened[name] = wires.enter_context(socket.create_connection((LOOPBACK, port), 20))
            wire.sendall(octets)
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}") as good:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:  # keeps its connection, however long
                assert good.post("/", content=b"x").status_code == 200
                time.sleep(0.1)
            for name, wire in opened.items():
                with pytest.raises((ConnectionError, EOFError)):
                    while wire.recv(1 << 20):
                        pass
                    raise EOFError
                assert name
            assert good.get("/large").status_code == 200


# ── a crowd ───────────────────────────────────────────────────────────────────────────────────

FILES = 512


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A whole server that may have few files open."""
    (pickles,) = free_ports(1)
    world = stopped(tmp_path_factory.mktemp("crowded"), "lab", QNIB_PICKLE__PORT=str(pickles))
    command = ["prlimit", f"--nofile={FILES}", sys.executable, "-m", "qnib", "serve", "--background"]
    try:
        done = subprocess.run(command, env=world.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(world.qnib("status", "--json").stdout)
        yield replace(world, url=told["url"], token=told["token"])
    finally:
        world.qnib("stop")


def _idle(stack: ExitStack, port: int, count: int, sender: str) -> list[socket.socket]:
    found = []
    for _ in range(count):
        wire = stack.enter_context(socket.socket())
        wire.settimeout(20)
        wire.bind((sender, 0))
        wire.connect((LOOPBACK, port))
        found.append(wire)
    return found


def test_a_thousand_idle_connections_keep_nobody_out(crowded: World) -> None:
    carbon, pickles = (int(crowded.env[f"QNIB_{name}__PORT"]) for name in ("CARBON", "PICKLE"))
    with ExitStack() as stack:
        (good,) = _idle(stack, carbon, 1, "127.0.0.7")
        for port in (carbon, pickles):
            _idle(stack, port, 500, "127.0.0.66")
        closed = f"closed, for there were more than {FILES // 2} connections"

        def refused() -> int:
            found = crowded.get("/api/senders")["rejected"]
            return sum(one["count"] for one in found if (one["sender"], one["reason"]) == ("127.0.0.66", closed))

        crowded.until("the rejects", lambda: refused() == 1001 - FILES // 2, 30)
        good.sendall(b"good.old 1 -1\n")  # it was silent longest, but its sender has few
        say(carbon, b"good.new 2 -1\n", sender="127.0.0.8")
        body = pickle.dumps([("good.third", (-1, 3))], 2)
        say(pickles, struct.pack(">I", len(body)) + body)
        for path in ("good.old", "good.new", "good.third"):
            crowded.until(path, lambda path=path: crowded.get("/render", target=path, format="json"), 30)
        pid = json.loads((crowded.home / "run/server.json").read_text())["pid"]
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < FILES * 0.8
    assert not list((crowded.home / "spool/failed").iterdir())


def test_idle_connections_of_http_keep_nobody_out(crowded: World) -> None:
    port = int(crowded.env["QNIB_HTTP__PORT"])
    with ExitStack() as stack:
        _idle(stack, port, FILES, "127.0.0.66")
        for _ in range(5):
            assert crowded.get("/api/health")["status"] == "ok"
    assert crowded.get("/api/health")["status"] == "ok"


# ── names, as people see them ─────────────────────────────────────────────────────────────────

NAMES = ["q\"uo'te\\back", "<script>alert(1)</script>", "\x01\x1b[2J\x7f", "é漢\u202e", "a..b", "tagged;k=\"v'\\"]


def test_names_that_are_hostile_come_back_as_they_are(crowded: World) -> None:
    say(int(crowded.env["QNIB_CARBON__PORT"]), *(f"odd.{name} 1 -1\n".encode() for name in NAMES))
    wanted = {f"odd.{name}" for name in NAMES}

    def known() -> set[str]:
        return set(crowded.get("/metrics/index.json"))

    crowded.until("the series", lambda: wanted <= known(), 30)
    found = crowded.get("/metrics/find", query="odd.*", format="treejson")
    assert {one["text"] for one in found} >= {name.split(".")[0] for name in NAMES if ";" not in name}
    for name in ("q\"uo'te\\back", "\x01\x1b[2J\x7f", "é漢\u202e"):
        glob = "".join(char if char.isalnum() else "?" for char in name)
        told = crowded.get("/render", target=f"odd.{glob}", format="json", **{"from": "-5min"})
        assert [one["target"] for one in told] == [f"odd.{name}"], name
    tagged = crowded.get("/render", target="seriesByTag('k=~.*v.*')", format="json", **{"from": "-5min"})
    assert [one["tags"]["k"] for one in tagged] == ["\"v'\\"]


ASKED = {
    "/render": "target", "/metrics/find": "query", "/metrics/expand": "query", "/tags/findSeries": "expr",
    "/tags/autoComplete/tags": "expr", "/tags/autoComplete/values": "expr", "/api/events/search": "q",
    "/tags": "filter", "/api/events": "q", "/api/series": "host", "/api/events/around": "id",
}  # fmt: skip
HOSTILE = [
    "\0", "a" * 5000, "(" * 3000, "[z-a]", "a.[!]", "a=~(?=b)", "f(" + "9" * 5000 + ")", "a" + "|f()" * 3000, "'",
    '"\\', "c[", "@*", "c[0-9]x[0-99999999]",
    "host:c[0-99999999]", "c[0-99999999]", "name=~a{99999999}", "\n", "%00", "{" * 500,
    "summarize(a, '9999999999999999999y')", "\ufffd",
    "movingAverage(a, 999999999999)", "timeShift(a, '1y1y1y1y')", "scale(a, 1e400)", "aliasSub(a, '(a+)+$', '\\9')",
    "time('x', 0)", "randomWalk('x', -1)", "constantLine(nan)", "template($x)", "seriesByTag()",
    "job:99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("path", sorted(ASKED))
def test_what_is_asked_wrongly_is_no_failure_of_ours(crowded: World, path: str) -> None:
    headers = {"Authorization": f"Bearer {crowded.token}"}
    with httpx.Client(base_url=crowded.url, headers=headers, timeout=30) as client:
        for text in HOSTILE:
            told = ({ASKED[path]: text}, {ASKED[path]: "odd.*", "from": text}, {ASKED[path]: "a", "until": text})
            for params in told:
                answer = client.get(path, params={"tag": "k", **params})
                assert answer.status_code < 500, (path, params, answer.text[:500])
                if answer.status_code >= 400:
                    assert set(answer.json()) >= {"what", "where", "try_next"}
