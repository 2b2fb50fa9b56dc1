"""Carbon and syslog from TCP to disk: points per CPU-second of the server, beside peers that are installed.

Each server runs in a process of its own; its CPU time counts, ours of sending does not. `--quick` sends less,
`--json` prints one object. A peer that is not installed is a row without figures. Syslog's peers: syslog_peers.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SERIES = 10_000
TICK = os.sysconf("SC_CLK_TCK")


def serve(home: Path, told: Path) -> None:
    """The server's side: listeners, spool, writer with every domain's paths and rules; prints its counts when asked."""
    from qnib.clock import SystemClock
    from qnib.engine.chdb import open_engine
    from qnib.monitoring.receive import Receiver
    from qnib.monitoring.spool import Spool
    from qnib.monitoring.writer import Writer
    from qnib.settings import Edge, FloodLimit, Settings, Statsd

    async def main() -> None:
        own, flood = Edge(port=0), FloodLimit(exempt=["127.0.0.1"])
        settings = Settings(
            home=home, carbon=own, syslog=own, json_lines=own, gelf=own, pickle=own, statsd=Statsd(port=0), flood=flood
        )
        clock = SystemClock()
        engine = open_engine(settings, clock)
        spool = Spool(settings, clock)
        writer = Writer(settings, clock, engine, spool)
        writer.start()
        await spool.start()
        receiver = Receiver(settings, clock, spool)
        await receiver.open("127.0.0.1", "bench")
        part = told.with_suffix(".part")
        part.write_text(json.dumps(receiver.ports("127.0.0.1")))
        part.rename(told)
        while True:
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            parts = (
                "SELECT sum(rows) AS n, sum(bytes_on_disk) AS size FROM system.parts WHERE active AND database = 'qnib'"
            )
            size = {t: engine.rows(f"{parts} AND table = '{t}'")[0] for t in ("points", "events")}
            print(json.dumps({"counts": writer.counts, "trouble": writer.trouble, "size": size}), flush=True)

    asyncio.run(main())


class Server:
    """Ours, as a child process."""

    def __init__(self, folder: Path) -> None:
        told = folder / "ports"
        command = [sys.executable, __file__, "--serve", str(folder / "home"), str(told)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not told.exists():
            if self._process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.02)
        self.ports: dict[str, int] = json.loads(told.read_text())

    def ask(self) -> dict[str, Any]:
        asking, telling = self._process.stdin, self._process.stdout
        if asking is None or telling is None:
            raise SystemExit("the server has no pipes")
        asking.write("\n")
        asking.flush()
        answer: dict[str, Any] = json.loads(telling.readline())
        if answer["trouble"]:
            raise SystemExit(answer["trouble"])
        return answer

    def cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def peak(self) -> int:
        """Octets of memory at most, so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def carbon_blocks(count: int, now: int) -> list[bytes]:
    """`count` points of `SERIES` series as a cluster's agents send them, the newest last."""
    rng = random.Random(1)
    paths = [f"servers.compute{n // 10}.cpu.core{n % 10}" for n in range(SERIES)]
    rounds = count // SERIES
    return [
        "".join(f"{path} {rng.random() * 100:.2f} {now - 10 * (rounds - r)}\n" for path in paths).encode()
        for r in range(rounds)
    ]


def syslog_blocks(count: int, now: int) -> list[bytes]:
    """`count` messages of RFC 5424, one in ten known to a rule."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    texts = (
        "sched: Allocate JobId={n} NodeList=compute[0-3] #CPUs=8 Partition=all",
        "launch task StepId={n}.0 request from UID:2001",
        "Accepted publickey for user{n} from 10.0.0.7 port 4711 ssh2",
        "eth0: link becomes ready after {n} ms",
        "audit: backlog limit exceeded {n}",
        "rpc_terminate_tasks: StepId={n}.0",
        "CPU{n} temperature above threshold",
        "systemd[1]: Started session {n} of user root.",
        "nfs: server nas{n} not responding",
        "worker {n} heartbeat",
    )
    lines = [
        f"<30>1 {stamp}.{n % 1000:03d}Z compute{n % 64} slurmctld {n % 999} - - {texts[n % 10].format(n=n)}\n"
        for n in range(count)
    ]
    return ["".join(lines[first : first + 5000]).encode() for first in range(0, count, 5000)]


def feed(server: Server, listener: str, blocks: list[bytes], count: int, name: str) -> dict[str, float]:
    before = server.ask()["counts"][name]
    cpu, started = server.cpu(), time.monotonic()
    with socket.create_connection(("127.0.0.1", server.ports[listener])) as out:
        for block in blocks:
            out.sendall(block)
    while (done := server.ask()["counts"][name] - before) < count:
        time.sleep(0.05)
    return {"rate": done / (server.cpu() - cpu), "wall": done / (time.monotonic() - started)}


def measure(quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    points, events = (300_000, 60_000) if quick else (3_000_000, 300_000)
    folder = Path(tempfile.mkdtemp(prefix="qnib-bench-"))
    server = Server(folder)
    now = int(time.time())
    try:
        feed(server, "carbon/tcp", carbon_blocks(SERIES, now - 86_400), SERIES, "points")  # warm
        carbon = feed(server, "carbon/tcp", carbon_blocks(points, now), points, "points")
        syslog = feed(server, "syslog/tcp", syslog_blocks(events, now), events, "events")
        size = server.ask()["size"]
        notes = [
            f"carbon {carbon['wall']:,.0f} points/s of wall time",
            f"{size['points']['size'] / size['points']['n']:.2f} octets a point on disk",
            f"syslog {syslog['wall']:,.0f} events/s of wall time",
            f"{size['events']['size'] / size['events']['n']:.1f} octets an event on disk",
            f"memory at most {server.peak() >> 20} MiB",
        ]
    finally:
        server.stop()
        shutil.rmtree(folder)
    wanted = [
        ("carbon TCP to disk", "points per CPU-second", carbon["rate"], "carbon-cache", "20x"),
        ("carbon TCP to disk", "points per CPU-second", carbon["rate"], "VictoriaMetrics", "3x"),
    ]
    rows = [
        {"work": work, "unit": unit, "ours": round(ours), "peer": None, "peer_name": f"{peer} (absent)", "ratio": None,
         "goal": goal, "met": None}
        for work, unit, ours, peer, goal in wanted
    ]  # fmt: skip
    return rows, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--serve", nargs=2, type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.serve:
        serve(*told.serve)
        return
    rows, notes = measure(told.quick)
    if told.json:
        print(json.dumps({"rows": rows, "notes": notes}))
        return
    for row in rows:
        print(f"{row['work']:<34}{row['ours']:>12,} {row['unit']:<24} beside {row['peer_name']:<28} goal {row['goal']}")
    print("\n".join(notes))


if __name__ == "__main__":
    main()
