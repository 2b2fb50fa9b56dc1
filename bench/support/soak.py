"""A server that takes points at a steady rate for long: parts on disk, memory, and what waits in the spool."""

from __future__ import annotations

import multiprocessing
import re
import socket
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from support import points
from support.metric_servers import Metrics, ours
from support.servers import LOOPBACK

HOSTS = 500
_DIFFERENT = 40  # rounds whose values are made; then they come again with other times
_TOLD = 12
_PART = re.compile(r"\d{6}_\d+_\d+_\d+(_\d+)?")


def blocks(hosts: int) -> list[bytes]:
    names = points.paths(hosts)
    return [points.lines(names, values, 1_000_000_000) for values in points.rounds(hosts, _DIFFERENT)]


def pour(port: int, rate: float, seconds: float, late: Synchronized[float]) -> None:
    """Rounds at `rate` points a second; `late`: how many seconds the last one had to wait for the server."""
    rounds = blocks(HOSTS)
    every, first = HOSTS * points.PER_HOST / rate, int(time.time())
    began, number = time.monotonic(), 0
    late.value = 0
    with socket.create_connection((LOOPBACK, port)) as out:
        while (due := number * every) < seconds:
            behind = time.monotonic() - began - due
            if behind < 0:
                time.sleep(-behind)
            out.sendall(rounds[number % _DIFFERENT].replace(b" 1000000000\n", b" %d\n" % (first + number)))
            number += 1
            late.value = time.monotonic() - began - due


def parts(home: Path) -> int:
    """Parts of points and series there are on disk, those replaced a moment ago, too."""
    return sum(
        bool(_PART.fullmatch(part.name) or part.name.startswith("all_"))
        for table in ("points", "series")
        for part in (home / "engine/data/qnib" / table).iterdir()
    )


def soak(folder: Path, rate: float, seconds: int) -> list[str]:
    home = folder / "soak"
    home.mkdir()
    told = [f"soak: {rate:,.0f} points/s of {HOSTS * points.PER_HOST:,} series for {seconds} s"]
    context = multiprocessing.get_context("spawn")
    late = context.Value("d", -1)
    with ours(home) as server:
        sender = context.Process(target=pour, args=(server.port, rate, seconds, late))
        sender.start()
        while late.value < 0:
            time.sleep(0.05)
        began, spent = time.monotonic(), server.cpu()
        for number in range(1, _TOLD + 1):
            time.sleep(max(0, began + number * seconds / _TOLD - time.monotonic()))
            told.append(_now(server, home, time.monotonic() - began, late.value))
        sender.join()
        began = time.monotonic()
        while any((home / "spool/ready").iterdir()):
            time.sleep(0.05)
        told.append(f"soak: all inserted {time.monotonic() - began:.1f} s after the last was sent;"
                    f" {rate * seconds / (server.cpu() - spent):,.0f} points per CPU-second meanwhile;"
                    f" {server.peak() >> 20} MiB at most")  # fmt: skip
    return told


def _now(server: Metrics, home: Path, at: float, late: float) -> str:
    waiting = sorted(file.name for file in (home / "spool/ready").iterdir())
    age = time.time() - int(waiting[0].partition("-")[0]) / 1e6 if waiting else 0.0
    return (
        f"soak at {at:4.0f} s: {parts(home):4} parts, {server.resident() >> 20:5} MiB resident, {len(waiting):3} files"
        f" wait, the oldest for {max(0, age):.1f} s; the sender is {max(0, late):.1f} s late"
    )
