"""Kill -9 of the server under full load, twenty times: what was acknowledged is there, exactly once.

Acknowledged means: in a spool file that was fsynced and renamed, so the test reads those files after each kill. Lines
bear running numbers. What was handed to the kernel a second before the kill, and did not wait in its two buffers for a
server that is slower than the load, must not be missing.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qnib.clock import SystemClock
from qnib.engine.chdb import open_engine
from qnib.monitoring.spool import Spool
from qnib.monitoring.writer import Writer
from qnib.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(280)]
KILLS = 20
BLOCK = 500  # lines per write
BUFFERS = 2 * (256 << 10) + 2 * (64 << 10)  # octets the kernel holds between us; it doubles what it is asked for
LIVES = (0.2, 0.3, 0.2, 0.3, 1.6)  # seconds of load before each kill, in turn
NUMBERS = {"carbon": re.compile(rb"load (\d+)"), "syslog": re.compile(rb"line n(\d+) end")}


@dataclass
class Sender:
    """Writes numbered lines as fast as they are taken; remembers when each number had been handed to the kernel."""

    line: Callable[[int], str]
    next: int = 0
    handed: list[tuple[float, int]] = field(default_factory=list)

    def run(self, port: int, stop: threading.Event) -> None:
        with socket.socket() as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
            out.connect(("127.0.0.1", port))
            while not stop.is_set():
                block = "".join(map(self.line, range(self.next, self.next + BLOCK))).encode()
                try:
                    out.sendall(block)
                except OSError:
                    return  # killed: part of this block may have arrived, so its numbers are never used again
                finally:
                    self.next += BLOCK
                self.handed.append((time.monotonic(), self.next))

    def before(self, moment: float) -> int:
        """Lines below this number were handed over before `moment` and had left the kernel's buffers since."""
        waiting = BUFFERS // len(self.line(self.next)) + BLOCK
        return max((number for at, number in self.handed if at <= moment), default=0) - waiting


def start(home: Path, told: Path) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    told.unlink(missing_ok=True)
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("killed_server.py")), str(home), str(told)])
    end = time.monotonic() + 60
    while not told.exists():
        assert server.poll() is None, "the server ended by itself"
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.01)
    return server, json.loads(told.read_text())


def acknowledged(home: Path, seen: set[str], found: dict[str, set[int]]) -> None:
    """Add the numbers in spool files that bear their final name; a file read once is not read again."""
    for folder in ("ready", "done", "failed"):
        for file in (home / "spool" / folder).glob("*"):
            if file.suffix in {".carbon", ".syslog"} and file.name not in seen:
                seen.add(file.name)
                name = file.suffix[1:]
                found[name].update(map(int, NUMBERS[name].findall(file.read_bytes())))


def test_twenty_kills_under_full_load(tmp_path: Path) -> None:
    home, told = tmp_path / "home", tmp_path / "ports"
    base = int(time.time()) - 50_000_000  # a slot of its own for each number, so that none replaces another
    senders = {
        "carbon": Sender(lambda n: f"load {n} {base + n}\n"),
        "syslog": Sender(lambda n: f"<13>1 - loader app - - - line n{n} end\n"),
    }
    kept: dict[str, set[int]] = {"carbon": set(), "syslog": set()}
    seen: set[str] = set()
    may_be_missing: dict[str, list[tuple[int, int]]] = {"carbon": [], "syslog": []}
    for kill in range(KILLS):
        server, ports = start(home, told)
        stop = threading.Event()
        first = {name: sender.next for name, sender in senders.items()}
        threads = [
            threading.Thread(target=sender.run, args=(ports[f"{name}/tcp"], stop)) for name, sender in senders.items()
        ]
        for thread in threads:
            thread.start()
        stop.wait(LIVES[kill % len(LIVES)])  # under load for this long, then the end
        server.kill()
        killed = time.monotonic()
        stop.set()
        server.wait()
        for thread in threads:
            thread.join()
        acknowledged(home, seen, kept)
        for name, sender in senders.items():
            may_be_missing[name].append((max(first[name], sender.before(killed - 1)), sender.next))

    settings, clock = Settings(home=home), SystemClock()
    engine = open_engine(settings, clock)
    engine.run("SYSTEM STOP MERGES qnib.points")
    try:
        spool = Spool(settings, clock)
        writer = Writer(settings, clock, engine, spool, metrics=[], rules=[])
        writer.prepare()
        while writer.drain():
            pass
        assert not writer.trouble
        assert not list(spool.failed_folder.iterdir())
        for file in spool.done():
            spool.again(file)
        writer.drain()  # everything once more: each line must still be there once
        stored = {
            "carbon": "SELECT toUInt64(value) AS n FROM qnib.points",
            "syslog": "SELECT toUInt64(extract(message, '^line n([0-9]+) end$')) AS n FROM qnib.events",
        }
        for name, sql in stored.items():
            numbers = np.sort(engine.table(sql).column("n").to_numpy())
            print(f"{name}: {senders[name].next} lines sent, {len(numbers)} stored")
            assert len(numbers) > KILLS * BLOCK, f"{name}: hardly any load"
            assert np.all(np.diff(numbers) > 0), f"{name}: a line is there twice"
            assert set(numbers.tolist()) == kept[name], f"{name}: not what was acknowledged"
            missing = set(range(senders[name].next)) - kept[name]
            excused = {n for low, high in may_be_missing[name] for n in range(low, high)}
            assert missing <= excused, f"{name}: {len(missing - excused)} lines older than a second are missing"
        rejected = engine.rows("SELECT reason, raw FROM qnib.rejects LIMIT 3")
        assert rejected == []
    finally:
        engine.close()
