"""Syslog over TCP until events are found by a search, beside rsyslog and syslog-ng; and what events take on disk.

    python bench/syslog_peers.py [--json] [--quick]

A million lines of real logs, hosts, times and numbers varied, end with newlines and are sent by a process of its own to
each server in turn: `qnib serve`, rsyslogd that writes a plain file, syslog-ng that writes its parsed fields as JSON.
What counts is the server's CPU time, its start left out, until all is inserted and found, or in the file; once with
RFC 5424, once with RFC 3164. A peer that is neither installed nor unpacked (`tools/setup test`) is a row without
figures. The logs are looked for beside the checkout, or where QNIB_TEST_DATA says; without them the lines are the
samples of the shipped rules. --quick: a fiftieth.
"""

from __future__ import annotations

import argparse
import gzip
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

from support.lines import FORMS, LOGS, lines, texts
from support.servers import LOOPBACK, Absent, Server, ours, rsyslog, syslog_ng
from support.table import show

WARM = 2000
"""Lines sent before, so that nobody pays for a first time."""


def send(port: int, file: Path) -> None:
    with file.open("rb") as octets, socket.create_connection((LOOPBACK, port)) as out:
        out.sendfile(octets)


def rate(server: Server, warm: Path, file: Path, count: int) -> tuple[float, float]:
    """Lines per CPU-second, and per second."""
    sender = [sys.executable, __file__, "--send", str(server.port)]
    subprocess.run([*sender, str(warm)], check=True)
    server.until(WARM)
    spent, began = server.cpu(), time.monotonic()
    subprocess.run([*sender, str(file)], check=True)
    server.until(WARM + count)
    return count / (server.cpu() - spent), count / (time.monotonic() - began)


def on_disk(home: Path) -> dict[str, float]:
    """Octets of everything recorded in a server's home, and of that the indexes, when all is one part."""
    from qnib.clock import SystemClock
    from qnib.engine.chdb import open_engine
    from qnib.settings import Settings

    engine = open_engine(Settings(home=home), SystemClock())
    began = time.process_time()
    for table in ("events", "patterns", "series", "points"):
        engine.run(f"OPTIMIZE TABLE qnib.{table} FINAL")
    spent = time.process_time() - began
    size = engine.rows("SELECT sum(bytes_on_disk) AS octets, sum(secondary_indices_compressed_bytes) AS indexes"
                       " FROM system.parts WHERE database = 'qnib' AND active")[0]  # fmt: skip
    engine.close()
    return {"octets": size["octets"], "indexes": size["indexes"], "spent": spent}


def row(work: str, unit: str, mine: float, peer: float | None, name: str, goal: float | None) -> dict[str, Any]:
    ratio = None if peer is None else mine / peer
    return {
        "work": work, "unit": unit, "ours": round(mine, 1), "peer": peer and round(peer, 1), "peer_name": name,
        "ratio": ratio and round(ratio, 3), "goal": goal and f">= {goal:g}",
        "met": None if goal is None or ratio is None else ratio >= goal,
    }  # fmt: skip


PEERS: tuple[tuple[str, float, Callable[[Path, str], AbstractContextManager[Server]]], ...] = (
    ("rsyslog to a plain file", 0.25, rsyslog),
    ("syslog-ng to JSON", 0.2, syslog_ng),
)


def measured(form: str, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    work, unit = f"syslog over TCP, {form}, until found by a search", "events per CPU-second"
    with tempfile.TemporaryDirectory(prefix="qnib-bench-") as told:
        folder = Path(told)
        for name in ("ours", "rsyslog", "syslog_ng"):
            (folder / name).mkdir()
        warm, file = folder / "warm", folder / "lines"
        warm.write_text("".join(lines(form, WARM, time.time())))
        file.write_text("".join(lines(form, count, time.time())))
        with ours(folder / "ours", form) as server:
            mine, pace = rate(server, warm, file, count)
        notes = [f"{form}: ours {pace:,.0f} events a second"]
        rows = []
        for name, goal, peer in PEERS:
            try:
                with peer(folder / peer.__name__, form) as server:
                    theirs, pace = rate(server, warm, file, count)
            except Absent:
                rows.append(row(work, unit, mine, None, f"{name} (absent)", goal))
                continue
            rows.append(row(work, unit, mine, theirs, name, goal))
            notes.append(f"{form}: {name} {pace:,.0f} events a second")
        command = [sys.executable, __file__, "--on-disk", str(folder / "ours")]
        size = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        packed, raw = len(gzip.compress(file.read_bytes(), 6)), file.stat().st_size
    mine = size["octets"] / (WARM + count)
    rows.append(row(f"events on disk after merges, {form}", "octets per event", mine, packed / count, "gzip -6", None))
    notes.append(
        f"{form}: {raw / count:.1f} octets a line; {size['indexes'] / (WARM + count):.1f} octets an event on disk are"
        f" index; merging all into one part afterwards took {size['spent']:.1f} CPU-seconds"
    )
    return rows, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fiftieth")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
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
    notes = [f"lines: {len(texts())} different ones, from {'real logs' if LOGS.exists() else 'samples of the rules'}"]
    for form in FORMS:
        more, said = measured(form, 20_000 if told.quick else 1_000_000)
        rows += more
        notes += said
    show(rows, notes, as_json=told.json)


if __name__ == "__main__":
    main()
