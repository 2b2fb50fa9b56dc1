"""What Graphite's API answers in which time: ours over HTTP beside graphite-web over whisper's files."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from support import whisper
from support.metric_servers import ours
from support.servers import LOOPBACK, ROOT

HOSTS, EACH = 1000, 100
"""A hundred thousand series; of each host one has a day of points, the others one point."""
STEP, DAY = 60, 86_400
PYTHON = ROOT / ".make/graphite-web/bin/python"
BESIDE = ROOT / "tests/monitoring/graphite_web.py"
Row = tuple[str, str, float, float | None, str, float]
_PLAIN = {"format": "json", "from": "-24h"}
ASKED: tuple[tuple[str, str, dict[str, str], int], ...] = (
    ("render, 1 series, 24 h", "/render", {**_PLAIN, "target": "wide.n0007.load"}, 1),
    ("render, 250 series, 24 h", "/render", {**_PLAIN, "target": "wide.n0[0-1][0-9]?.load,"}, 0),
    ("render, 250 series, 24 h", "/render", {**_PLAIN, "target": "wide.n{00,01,020,021,022,023,024}*.load"}, 250),
    ("render, 1000 of 100 k series, 24 h", "/render", {**_PLAIN, "target": "wide.*.load"}, 1000),
    ("the same, maxDataPoints 600", "/render", {**_PLAIN, "target": "wide.*.load", "maxDataPoints": "600"}, 1000),
    ("sumSeries of 1000 of 100 k, 24 h", "/render", {**_PLAIN, "target": "sumSeries(wide.*.load)"}, 1),
    ("render, 1000 of 100 k series, 1 h", "/render", {**_PLAIN, "target": "wide.*.load", "from": "-1h"}, 1000),
    ("find, one level of 100 k series", "/metrics/find", {"query": "wide.*"}, HOSTS),
    ("find, a host of 100 k series", "/metrics/find", {"query": "wide.n0500.*"}, EACH),
)  # fmt: skip


def plant(now: int) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Paths, times, and a row of values per host: loads with two digits."""
    rng = np.random.default_rng(3)
    times = np.arange(now - DAY + STEP, now + 1, STEP)
    walk = np.abs(8 + np.cumsum(rng.normal(0, 0.3, (HOSTS, len(times))), axis=1)).round(2)
    names = [
        f"wide.n{host:04d}." + ("load" if not one else f"m{one:02d}") for host in range(HOSTS) for one in range(EACH)
    ]
    return names, times, walk


def reads(folder: Path, quick: bool, notes: list[str]) -> Iterator[Row]:
    now = int(time.time()) // STEP * STEP
    names, times, walk = plant(now)
    often = 3 if quick else 9
    asked = [one for one in ASKED if one[3]]
    home, beside = folder / "reads", folder / "graphite-web"
    home.mkdir()
    with ours(home) as server:
        began = time.monotonic()
        with socket.create_connection((LOOPBACK, server.port)) as out:
            for column, at in enumerate(times.tolist()):
                values = walk[:, column].tolist()
                out.sendall("".join([f"wide.n{h:04d}.load {v} {at}\n" for h, v in enumerate(values)]).encode())
            out.sendall("".join([f"{name} 1 {now}\n" for name in names if not name.endswith("load")]).encode())
        if quick:
            server.settled = lambda: not any((home / "spool/ready").iterdir())
        server.rest(2)
        notes.append(
            f"ours: {walk.size + len(names) - HOSTS:,} points to read, in place after {time.monotonic() - began:.0f} s"
        )

        def get(path: str, params: dict[str, str]) -> tuple[float, str]:
            began = time.perf_counter()
            text = server.ask(path, **params, now=str(now) if path == "/render" else "").text
            return time.perf_counter() - began, text

        mine = {(work): median(get, path, params, count, often) for work, path, params, count in asked}
    theirs: dict[str, tuple[float, int]] = {}
    name = "graphite-web"
    if PYTHON.exists():
        for host in range(HOSTS):
            whisper.write(beside / f"whisper/wide/n{host:04d}/load.wsp", STEP, len(times), times, walk[host])
            for one in range(1, EACH):
                file = beside / f"whisper/wide/n{host:04d}/m{one:02d}.wsp"
                whisper.write(file, STEP, 60, times[-1:], np.array([1.0]))
        env = {**os.environ, "GRAPHITE_NO_PREFIX": "1"}
        process = subprocess.Popen([str(PYTHON), str(BESIDE), str(beside)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=(folder / "log").open("w"), text=True, env=env)  # fmt: skip
        said, heard = process.stdin, process.stdout
        assert said is not None and heard is not None  # noqa: S101 - told to the type checker
        said.write(json.dumps({"series": {}, "now": now}) + "\n")
        said.flush()
        while heard.readline() != "ready\n":
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text()[-2000:])

        def ask(path: str, params: dict[str, str]) -> tuple[float, str]:
            more = {"now": str(now)} if path == "/render" else {}
            said.write(json.dumps({"path": path, "params": list({**params, **more}.items())}) + "\n")
            said.flush()
            told = json.loads(heard.readline())
            if told["status"] != 200:
                raise SystemExit(told["text"][-2000:])
            return float(told["seconds"]), told["text"]

        try:
            theirs = {work: median(ask, path, params, count, 3) for work, path, params, count in asked}
        finally:
            process.kill()
            process.wait()
    else:
        name += " (absent: tools/setup test)"
    for work, *_ in asked:
        told = theirs.get(work)
        if told and told[1] != mine[work][1]:
            raise SystemExit(f"{work}: {mine[work][1]} numbers from ours, {told[1]} from graphite-web")
        yield work, "ms", mine[work][0] * 1000, told and told[0] * 1000, name, 10.0


def median(
    ask: Callable[[str, dict[str, str]], tuple[float, str]], path: str, params: dict[str, str], count: int, often: int
) -> tuple[float, int]:
    """The median of the seconds, and how many numbers came; the first time does not count."""
    told = json.loads(ask(path, params)[1])
    if len(told) != count:
        raise SystemExit(f"{path} {params}: {len(told)} came, not {count}")
    values = sum(value is not None for one in told for value, _ in one.get("datapoints", []))
    return statistics.median(ask(path, params)[0] for _ in range(often)), values
