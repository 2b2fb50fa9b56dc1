"""Metrics beside their peers in one run: carbon's lines from TCP to disk, Graphite's reads, and a soak.

    python bench/metrics.py [--json] [--quick] [--only ingest,read,soak] [--seconds N]

The points are those of a cluster's nodes, forty series each at ten seconds: sixteen cores in %, memory in octets by the
page, counters of the network, the fabric and the disk, load, temperatures in whole degrees, power; three nodes of four
work, in phases, the fourth is idle but not still (support/points.py). Servers run one after the other, each a process
of its own: `qnib serve`, carbon-cache and VictoriaMetrics of the distribution. A peer that is absent is a row without
figures.

ingest  An hour of all nodes comes as fast as the server takes it. Its CPU time counts from the second round on, until
        all is on disk and it has nothing more to do: parsing, inserts, merges, and, since the hour is over, its
        roll-ups. carbon-cache gets the first sixth. Octets a point: ours after all parts were merged into one.
read    `/render` and `/metrics/find` of our server over HTTP, and of graphite-web 1.1.10 in its own process without it,
        over the same points, in files of whisper. Median of several. --quick: three, and a quarter of the series.
soak    Ten minutes at half the rate just measured, a round stamped a second after the one before: parts, memory and
        what waits in the spool over time. --seconds: another length; --quick: twenty.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from support import points
from support.metric_reads import reads
from support.metric_servers import HOW, Metrics, carbon_cache, ours, size, victoria_metrics, whisper_points
from support.servers import LOOPBACK, Absent
from support.soak import soak
from support.table import show

QUIET = 3.0
"""Seconds without work after which a server is done."""
SHARE = 6
"""carbon-cache gets one round of so many: at its pace all would take minutes."""


def send(port: int, file: Path) -> None:
    with file.open("rb") as octets, socket.create_connection((LOOPBACK, port)) as out:
        out.sendfile(octets)


def sent(server: Metrics, file: Path) -> None:
    subprocess.run([sys.executable, __file__, "--send", str(server.port), str(file)], check=True)


def row(
    work: str, unit: str, mine: float, peer: float | None, name: str, goal: float, *, most: bool = False
) -> dict[str, Any]:
    """`most`: the goal is a bound of ours; else of the ratio, in which more is better."""
    ratio = None if peer is None else mine / peer if "per" in unit else peer / mine
    met = mine <= goal if most else None if ratio is None else ratio >= goal
    return {
        "work": work, "unit": unit, "ours": round(mine, 3), "peer": peer and round(peer, 3), "peer_name": name,
        "ratio": ratio and round(ratio, 2), "goal": f"<= {goal:g}" if most else f">= {goal:g}x", "met": met,
    }  # fmt: skip


def on_disk(home: Path) -> dict[str, Any]:
    """Points there are, and octets of each table and of each column of points, when all is one part."""
    from qnib.clock import SystemClock
    from qnib.engine.chdb import open_engine
    from qnib.settings import Settings

    engine = open_engine(Settings(home=home), SystemClock())
    began = time.process_time()
    for table in ("points", "series", "rollups"):
        engine.run(f"OPTIMIZE TABLE qnib.{table} FINAL")
    spent = time.process_time() - began
    tables = engine.rows("SELECT table, sum(bytes_on_disk) AS n FROM system.parts"
                         " WHERE active AND database = 'qnib' GROUP BY table")  # fmt: skip
    columns = engine.rows("SELECT column, sum(column_data_compressed_bytes) AS n FROM system.parts_columns"
                          " WHERE active AND database = 'qnib' AND table = 'points' GROUP BY column")  # fmt: skip
    count = engine.rows("SELECT count() AS n FROM qnib.points WHERE startsWith(cluster, 'bench')")[0]["n"]
    engine.close()
    return {
        "count": count, "spent": spent, "tables": {one["table"]: one["n"] for one in tables},
        "columns": {one["column"]: one["n"] for one in columns},
    }  # fmt: skip


class Spent:
    def __init__(self, server: Metrics, warm: Path, file: Path, count: int, quiet: float) -> None:
        """Send one round, which makes the series, then all, and wait until the server has come to rest. What it uses
        without work is taken off, for the wait is long."""
        settled, server.settled = server.settled, lambda: True
        sent(server, warm)
        server.rest(quiet)
        server.settled = settled
        spent, began = server.cpu(), time.monotonic()
        time.sleep(quiet)
        still = (server.cpu() - spent) / (time.monotonic() - began)
        spent, began = server.cpu(), time.monotonic()
        sent(server, file)
        self.sent = time.monotonic() - began
        while any((server.folder / "spool/ready").glob("*")):
            time.sleep(0.02)
        self.taken = time.monotonic() - began
        server.rest(quiet)
        waited = time.monotonic() - began
        self.cpu = server.cpu() - spent - still * waited
        self.rate = count / self.cpu
        self.wall = waited - quiet
        self.memory = server.peak() >> 20

    def said(self, name: str) -> str:
        return (f"{name}: {self.rate:,.0f} points per CPU-second, sent in {self.sent:.1f} s, at rest after"
                f" {self.wall:.1f} s, {self.memory} MiB resident at most")  # fmt: skip


def ingest(folder: Path, hosts: int, rounds: int) -> tuple[list[dict[str, Any]], list[str], float]:
    """Rows, notes, and the rate at which ours took points."""
    names = points.paths(hosts)
    end = int(time.time()) // 3600 * 3600 - 3600  # an hour that was rolled up already, however late it is in this one
    start = end - rounds * points.STEP
    warm, file, few = folder / "warm", folder / "lines", folder / "few"
    with file.open("wb") as all_lines, few.open("wb") as first:
        for number, values in enumerate(points.rounds(hosts, rounds)):
            told = points.lines(names, values, start + number * points.STEP)
            if not number:
                warm.write_bytes(told)
                continue
            all_lines.write(told)
            if number <= rounds // SHARE:
                first.write(told)
    count = len(names) * (rounds - 1)
    rows, notes = (
        [],
        [f"{hosts} nodes, {len(names):,} series, {count:,} points, {file.stat().st_size / count:.1f} octets each"],
    )
    home = folder / "ours"
    home.mkdir()
    with ours(home) as server:
        mine = Spent(server, warm, file, count, QUIET)
    notes.append(mine.said("ours"))
    told = json.loads(_child("--on-disk", str(home)))
    stored = told["count"]
    if stored != count + len(names):
        raise SystemExit(f"{stored} points are on disk, {count + len(names)} were sent")
    each = {table: n / stored for table, n in told["tables"].items()}
    columns = ", ".join(f"{column} {n / stored:.3f}" for column, n in sorted(told["columns"].items()))
    notes.append(
        f"ours on disk: {each['points']:.3f} octets a point ({columns}), roll-ups {each['rollups']:.3f}, series"
        f" {each['series']:.3f}; merging all into one part afterwards took {told['spent']:.1f} CPU-seconds"
    )
    work, unit = "carbon TCP to disk, merged, rolled up", "points per CPU-second"
    peers: list[tuple[str, str, float, Callable[[Path], AbstractContextManager[Metrics]], Path, int]] = [
        ("carbon-cache", "graphite-carbon", 20, carbon_cache, few, len(names) * (rounds // SHARE)),
        ("VictoriaMetrics", "victoria-metrics", 3, victoria_metrics, file, count),
    ]
    for name, package, goal, peer, lines, total in peers:
        beside = folder / package
        beside.mkdir()
        try:
            with peer(beside) as server:
                theirs = Spent(server, warm, lines, total, QUIET)
                seen, octets = _kept(server, name, start)
        except Absent:
            rows.append(row(work, unit, mine.rate, None, f"{name} (absent: {HOW.format(package)})", goal))
            continue
        if seen != total + len(names):
            raise SystemExit(f"{name} has {seen} points, {total + len(names)} were sent")
        rows.append(row(work, unit, mine.rate, theirs.rate, name, goal))
        rows.append(row("points on disk after merges", "octets a point", each["points"], octets, name, 1.5, most=True))
        notes.append(theirs.said(name))
    return rows, notes, count / mine.taken


def _kept(server: Metrics, name: str, start: int) -> tuple[int, float]:
    """Points that a peer has, and the octets of each on disk."""
    if name == "carbon-cache":
        return whisper_points(server.folder, start), 12.0  # a slot, filled or not
    server.ask("/internal/force_flush")
    server.ask("/internal/force_merge")
    server.rest(QUIET)
    seen = server.seen()
    return seen, size(server.folder / "data/data") / seen


def _child(*args: str) -> str:
    return subprocess.run([sys.executable, __file__, *args], check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of all, a minute and a half")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--only", default="ingest,read,soak", help="some of ingest, read, soak")
    parser.add_argument("--seconds", type=int, default=0, help="length of the soak")
    parser.add_argument("--send", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--on-disk", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.send:
        send(int(told.send[0]), Path(told.send[1]))
        return
    if told.on_disk:
        print(json.dumps(on_disk(told.on_disk)))
        return
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    pace = 500_000.0
    wanted = told.only.split(",")
    with tempfile.TemporaryDirectory(prefix="qnib-bench-") as name:
        folder = Path(name)
        if "ingest" in wanted:
            more, said, pace = ingest(folder, *((60, 60) if told.quick else (250, 360)))
            rows += more
            notes += said
        if "read" in wanted:
            for work, unit, mine, peer, peer_name, goal in reads(folder, told.quick, notes):
                rows.append(row(work, unit, mine, peer, peer_name, goal))
        if "soak" in wanted:
            notes += soak(folder, pace / 2, told.seconds or (20 if told.quick else 600))
    show(rows, notes, as_json=told.json)


if __name__ == "__main__":
    main()
