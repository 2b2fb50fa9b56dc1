"""What Graphite's API answers in which time: ours over HTTP beside graphite-web over whisper's files."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from support import whisper
from support.metric_servers import ours
from support.servers import LOOPBACK, ROOT

EACH = 100
"""Series of a host; one has a day of points, the others one point."""
STEP, DAY = 60, 86_400
PYTHON = ROOT / ".make/graphite-web/bin/python"
BESIDE = ROOT / "tests/monitoring/graphite_web.py"
GOAL = 10.0
Row = tuple[str, str, float, float | None, str, float]
Asked = tuple[str, str, dict[str, str], int]
"""What it is called, path, parameters, and how many things are in the answer."""


def questions(hosts: int) -> list[Asked]:
    some = hosts // 4
    few = "wide.n{" + ",".join(f"{host:04d}" for host in range(some)) + "}.load"
    all_hosts, day = "wide.*.load", {"from": "-24h"}
    size = f"{hosts * EACH // 1000} k"
    return [
        ("render, 1 series, 24 h", "/render", {"target": "wide.n0007.load", **day}, 1),
        (f"render, {some} series by name, 24 h", "/render", {"target": few, **day}, some),
        (f"render, {hosts} of {size} series, 24 h", "/render", {"target": all_hosts, **day}, hosts),
        ("the same, maxDataPoints=600", "/render", {"target": all_hosts, "maxDataPoints": "600", **day}, hosts),
        (f"sumSeries of {hosts} of {size}, 24 h", "/render", {"target": f"sumSeries({all_hosts})", **day}, 1),
        (f"render, {hosts} of {size} series, 1 h", "/render", {"target": all_hosts, "from": "-1h"}, hosts),
        (f"find wide.* in {size} series", "/metrics/find", {"query": "wide.*"}, hosts),
        (f"find wide.n0007.* in {size} series", "/metrics/find", {"query": "wide.n0007.*"}, EACH),
    ]


def plant(hosts: int, now: int) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Paths of one point, times, and a row of values per host: loads with two digits."""
    rng = np.random.default_rng(3)
    times = np.arange(now - DAY + STEP, now + 1, STEP)
    walk = np.abs(8 + np.cumsum(rng.normal(0, 0.3, (hosts, len(times))), axis=1)).round(2)
    return [f"wide.n{host:04d}.m{one:02d}" for host in range(hosts) for one in range(1, EACH)], times, walk


def reads(folder: Path, quick: bool, notes: list[str]) -> Iterator[Row]:
    hosts, often = (250, 3) if quick else (1000, 9)
    asked = questions(hosts)
    now = int(time.time()) // STEP * STEP
    names, times, walk = plant(hosts, now)
    home, beside = folder / "reads", folder / "graphite-web"
    home.mkdir()
    with ours(home) as server:
        began = time.monotonic()
        with socket.create_connection((LOOPBACK, server.port)) as out:
            for column, at in enumerate(times.tolist()):
                values = walk[:, column].tolist()
                out.sendall("".join([f"wide.n{h:04d}.load {v} {at}\n" for h, v in enumerate(values)]).encode())
            out.sendall("".join([f"{name} 1 {now}\n" for name in names]).encode())
        if quick:
            server.settled = lambda: not any((home / "spool/ready").iterdir())
        server.rest(2)
        took = time.monotonic() - began
        notes.append(f"ours: {walk.size + len(names):,} points to read, in place and rolled up after {took:.0f} s")

        def get(path: str, params: dict[str, str]) -> tuple[float, str]:
            more = {"now": str(now), "format": "json"} if path == "/render" else {}
            began = time.perf_counter()
            octets = server.ask(path, **params, **more).content
            return time.perf_counter() - began, octets.decode()

        mine = {work: median(get, path, params, count, often) for work, path, params, count in asked}
    theirs: dict[str, tuple[float, int]] = {}
    name = "graphite-web"
    if PYTHON.exists():
        for host, row in enumerate(walk):
            whisper.write(beside / f"whisper/wide/n{host:04d}/load.wsp", STEP, len(times), times, row)
        for path in names:
            file = beside / f"whisper/{path.replace('.', '/')}.wsp"
            whisper.write(file, STEP, 60, times[-1:], np.array([1.0]))
        with graphite_web(beside, now) as ask:
            theirs = {work: median(ask, path, params, count, 1 if quick else 3) for work, path, params, count in asked}
    else:
        name += " (absent: tools/setup test)"
    for work, *_ in asked:
        told = theirs.get(work)
        if told and told[1] != mine[work][1]:
            raise SystemExit(f"{work}: {mine[work][1]} numbers from ours, {told[1]} from graphite-web")
        yield work, "ms", mine[work][0] * 1000, told and told[0] * 1000, name, GOAL


@contextmanager
def graphite_web(folder: Path, now: int) -> Iterator[Callable[[str, dict[str, str]], tuple[float, str]]]:
    """A function that asks it; the seconds are those of its view alone."""
    env = {**os.environ, "GRAPHITE_NO_PREFIX": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(PYTHON), str(BESIDE), str(folder)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=log, text=True, env=env)  # fmt: skip
    said, heard = process.stdin, process.stdout
    if said is None or heard is None:
        raise SystemExit("graphite-web has no pipes")

    def tell(told: dict[str, Any]) -> str:
        said.write(json.dumps(told) + "\n")
        said.flush()
        if not (line := heard.readline()):
            raise SystemExit((folder / "log").read_text()[-2000:])
        return line

    def ask(path: str, params: dict[str, str]) -> tuple[float, str]:
        more = {"now": str(now), "format": "json"} if path == "/render" else {}
        told = json.loads(tell({"path": path, "params": list({**params, **more}.items())}))
        if told["status"] != 200:
            raise SystemExit(told["text"][-2000:])
        return float(told["seconds"]), told["text"]

    try:
        tell({"series": {}, "now": now})
        yield ask
    finally:
        process.kill()
        process.wait()


def median(
    ask: Callable[[str, dict[str, str]], tuple[float, str]], path: str, params: dict[str, str], count: int, often: int
) -> tuple[float, int]:
    """The median of the seconds, and how many numbers came; the first time does not count."""
    told = json.loads(ask(path, params)[1])
    if len(told) != count:
        raise SystemExit(f"{path} {params}: {len(told)} came, not {count}")
    values = sum(value is not None for one in told for value, _ in one.get("datapoints", []))
    return statistics.median(ask(path, params)[0] for _ in range(often)), values
