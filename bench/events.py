"""How quickly events are found among many, and joined to their jobs when they are read.

    python bench/events.py [--json] [--quick]

50 million events of ten days, made by the engine itself on disk from a few dozen templates with numbers and names that
vary, are searched as the server searches them, merges done and caches warm: a rare word, a frequent word on one host,
the newest hundred of a frequent word, and the count of each. Then 1 million events of a day on 1,000 hosts are read
with the jobs, users and switches of each, half of the hosts shared by several jobs at a time. --quick: a fiftieth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qnib.clock import FrozenClock
from qnib.context.search import Search
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Facts
from qnib.model import Entity, Ref, Relation, Snapshot
from qnib.settings import Settings

END = datetime(2026, 11, 20, tzinfo=UTC)
FIND, ENRICH = 0.2, 2.0
"""Goals, in seconds."""
HOSTS = 1000
CHUNK = 5_000_000
TEMPLATES = (
    "session opened for user root by (uid={n})",
    "session closed for user u{k}",
    "connection from 10.{a}.{b}.{c} port {n}",
    "pam_unix(sshd:session): session opened for user u{k}(uid={n})",
    "launch task StepId={n}.0 request from UID:{k} HOST:10.{a}.{b}.{c}",
    "usb {a}-{b}: new high-speed device number {c}",
    "eth{a}: link is up at {k} Mbps",
    "EXT4-fs (sda{a}): mounted filesystem",
    "CPU{a}: Package temperature above threshold, cpu clock throttled (total events = {n})",
    "nfs: server nas{a} not responding, still trying",
    "mlx5_core 0000:{a}:00.0: temp_warn event",
    "audit: type=1400 pid={n} comm=gemm{k}",
    "systemd: Started Session {n} of user u{k}.",
    "Lustre: fs{a}-OST{b}: Connection restored to {c} at {n}@o2ib",
    "slurmd: epilog for job {n} ran for {a} seconds",
    "kernel: perf: interrupt took too long ({n} > {k}), lowering",
    "dhcpd: DHCPACK on 10.{a}.{b}.{c} to ib{k} via bond0",
    "ntpd: kernel reports TIME_ERROR: {n}: Clock Unsynchronized",
    "Out of memory: Killed process {n} (gemm{k}) total-vm:{n}kB",
    "iteration {n} residual 1e-{a} time {b}.{c} s",
)


def message() -> str:
    """SQL of a line's text: a template with its places filled, and every millionth line a word of its own."""
    parts = []
    for template in TEMPLATES:
        text = template.replace("'", "\\'")
        for name, sql in (("n", "toString(h % 9999991)"), ("k", "toString(h % 997)"), ("a", "toString(h % 8)"),
                          ("b", "toString(h % 251)"), ("c", "toString(h % 241)")):  # fmt: skip
            text = text.replace(f"{{{name}}}", f"', {sql}, '")
        parts.append(f"concat('{text}', '')")
    which = ", ".join(f"p = {n}, {part}" for n, part in enumerate(parts[:-1]))
    return f"concat(multiIf({which}, {parts[-1]}), if(i % 1000000 = 77, ' XidFallenOffTheBus', ''))"


def fill(engine: Engine, count: int, span: timedelta) -> None:
    step = int(span.total_seconds() * 1e6 / count)
    start = int((END - span).timestamp() * 1e6)
    for first in range(0, count, CHUNK):
        engine.run(
            "INSERT INTO qnib.events (cluster, id, time, received, sender, listener, host, app, facility, severity,"
            " message, kind, lane)"
            f" SELECT 'bench', i + 1, fromUnixTimestamp64Micro(toInt64({start} + i * {step}), 'UTC') AS at, at, '',"
            " 'syslog/udp',"
            f" concat('n', toString(h % {HOSTS})), ['sshd', 'kernel', 'slurmd', 'app'][p % 4 + 1], 'daemon',"
            f" ['info', 'info', 'notice', 'warning', 'err'][p % 5 + 1], {message()}, '', 'other'"
            f" FROM (SELECT number + {first} AS i, cityHash64(i) AS h, intDiv(h, 1000003) % {len(TEMPLATES)} AS p"
            f" FROM numbers({min(CHUNK, count - first)}))"
            # Blocks that fit, with their indexes, into the share of memory the server's engine has
            " SETTINGS max_insert_threads = 1, max_threads = 1, min_insert_block_size_rows = 500000,"
            " min_insert_block_size_bytes = 100000000"
        )
    while engine.rows("SELECT count() AS n FROM system.merges WHERE table = 'events'")[0]["n"]:
        time.sleep(0.5)


def tell_jobs(facts: Facts, clock: FrozenClock, span: timedelta) -> int:
    """Allocations of a day: hosts of even number run one job an hour, the others four at a time."""
    said: list[Entity] = []
    ties: list[Relation] = []
    start = END - span
    hours = int(span.total_seconds() // 3600)
    for number in range(HOSTS // 4 * hours):
        hour, place = number % hours, number // hours
        began = start + timedelta(hours=hour)
        key = f"{number}@{int(began.timestamp())}"
        told = {"id": number, "name": f"job{number}", "user": f"u{number % 97}", "group": "g",
                "account": f"a{number % 7}",
                "partition": "p", "nodes": ""}  # fmt: skip
        said.append(Entity("Job", key, told, since=began, until=began + timedelta(hours=1)))
        mine = [4 * place, 4 * place + 2] + [4 * ((place + k) % (HOSTS // 4)) + 1 + 2 * (k % 2) for k in range(4)]
        ties += [Relation("JOBCLIENT", Ref("Job", key), Ref("Host", f"n{host}"), since=began,
                          until=began + timedelta(hours=1)) for host in mine]  # fmt: skip
    clock.at = END
    facts.apply("bench", "slurm", END, Snapshot(said, ties, partial=True))
    facts.apply(
        "bench",
        "hosts",
        END,
        Snapshot([Entity("Host", f"n{n}", {"name": f"n{n}"}) for n in range(HOSTS)], partial=True),
    )
    return len(ties)


def median(ask: Callable[[], Any], times: int = 5) -> float:
    ask()
    took = []
    for _ in range(times):
        began = time.monotonic()
        ask()
        took.append(time.monotonic() - began)
    return statistics.median(took)


def row(work: str, seconds: float, goal: float) -> dict[str, Any]:
    return {
        "work": work, "unit": "s", "ours": round(seconds, 4), "peer": None, "peer_name": "none side by side",
        "ratio": None, "goal": f"< {goal:g} s", "met": seconds < goal,
    }  # fmt: skip


class Parts:
    """What a search is asked of."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.clock = FrozenClock(END)
        self.engine = open_engine(self.settings, self.clock)
        self.facts = Facts(self.engine, self.clock)


def search(parts: Parts, query: str, span: timedelta) -> Search:
    return Search(parts, "bench", query, END - span, END, datetime.fromisoformat)


def searched(count: int) -> Iterator[dict[str, Any]]:
    span = timedelta(days=10)
    with tempfile.TemporaryDirectory() as home:
        parts = Parts(Path(home))
        began = time.monotonic()
        fill(parts.engine, count, span)
        took = time.monotonic() - began
        size = parts.engine.rows("SELECT sum(bytes_on_disk) AS n, sum(secondary_indices_compressed_bytes) AS i"
                                 " FROM system.parts WHERE table = 'events' AND active")[0]  # fmt: skip
        among = (
            f"among {count / 1e6:g} million events ({size['n'] / count:.0f} octets each on disk,"
            f" {size['i'] / count:.0f} of it index, made in {took:.0f} s)"
        )
        for what, query in (
            ("a rare word", "XidFallenOffTheBus"),
            ("a rare word of a number", "4711 job"),
            ("a frequent word on one host", "session host:n77"),
            ("a frequent word", "session"),
            ("a phrase", '"out of memory"'),
            ("two words without a third", "user -session root OR throttled"),
        ):
            yield row(
                f"newest 100 of {what}, {among}", median(lambda q=query: search(parts, q, span).events(100)), FIND
            )  # type: ignore[misc]
            yield row(f"count of {what}", median(lambda q=query: search(parts, q, span).count()), FIND)  # type: ignore[misc]
        parts.engine.close()


def enriched(count: int) -> Iterator[dict[str, Any]]:
    span = timedelta(days=1)
    with tempfile.TemporaryDirectory() as home:
        parts = Parts(Path(home))
        fill(parts.engine, count, span)
        allocations = tell_jobs(parts.facts, parts.clock, span)
        found = search(parts, "", span).table()
        shared = sum(len(jobs) > 1 for jobs in found["jobs"].to_pylist())
        if found.num_rows != count or not shared:
            raise SystemExit(f"{found.num_rows} events, {shared} of shared hosts: the join is wrong")
        seconds = median(lambda: search(parts, "", span).table(), 3)
        yield row(f"{count / 1e6:g} million events read with jobs, users and switches of each; {allocations}"
                  " allocations,"
                  f" {shared / count:.0%} of the lines from shared hosts", seconds, ENRICH)  # fmt: skip
        yield row("how many events each user's jobs had, in the same day",
                  median(lambda: search(parts, "", span).facets(["user"]), 3), ENRICH)  # fmt: skip
        parts.engine.close()


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    args.add_argument("--json", action="store_true")
    args.add_argument("--quick", action="store_true")
    told = args.parse_args()
    scale = 50 if told.quick else 1
    rows = [*searched(50_000_000 // scale), *enriched(1_000_000 // scale)]
    if told.json:
        print(json.dumps({"rows": rows}))
        return
    for one in rows:
        print(f"{one['ours']:>9.4f} s  {one['goal']:>9}  {'met' if one['met'] else 'MISSED':<7} {one['work']}")


if __name__ == "__main__":
    main()
