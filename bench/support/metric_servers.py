"""Servers that take carbon's lines, as child processes: ours, carbon-cache, VictoriaMetrics.

The peers are the distribution's packages graphite-carbon and victoria-metrics, installed or unpacked into
``.make/senders`` by ``tools/setup bench``.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from support.points import STEP
from support.servers import LOOPBACK, Server, free_port, listening, program, started
from support.whisper import points_since

HOW = "apt-get install {0}, or tools/setup bench"
PATIENCE = 900.0
_STILL = 0.06  # of a core: what a server without work may use
_CARBON = """
[cache]
STORAGE_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
LOG_DIR = {folder}
PID_DIR = {folder}
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_PORT = 0
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
CARBON_METRIC_INTERVAL = 0
LOG_UPDATES = False
LOG_CREATES = False
ENABLE_LOGROTATION = False
ENABLE_TAGS = False
"""


@dataclass
class Metrics(Server):
    """One that takes points. `seen`: how many it took, as far as it tells; `folder`: where its data is."""

    http: int
    folder: Path
    settled: Callable[[], bool] = lambda: True
    """Whether work that waits for a moment of its own is done, too."""
    token: str = ""
    _client: httpx.Client | None = None

    def peak(self) -> int:
        """Octets resident at most, so far."""
        return self._status("VmHWM")

    def resident(self) -> int:
        return self._status("VmRSS")

    def _status(self, field: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition(f"{field}:")[2].split()[0]) << 10

    def rest(self, seconds: float) -> None:
        """Wait until it had nothing to do for so long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            spent, began = self.cpu(), time.monotonic()
            time.sleep(seconds)
            used = self.cpu() - spent
            if used < _STILL * (time.monotonic() - began) and self.settled():
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"it does not come to rest: {self.process.args!r}")

    def ask(self, path: str, **params: Any) -> httpx.Response:
        if self._client is None:
            head = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            self._client = httpx.Client(base_url=f"http://{LOOPBACK}:{self.http}", timeout=120, headers=head)
        return self._client.get(path, params=params).raise_for_status()


@contextmanager
def ours(folder: Path) -> Iterator[Metrics]:
    http, port = free_port(), free_port()
    (folder / "qnib.toml").write_text("")
    env = {name: value for name, value in os.environ.items() if not name.startswith("QNIB_")} | {
        "QNIB_HOME": str(folder), "QNIB_CONFIG": str(folder / "qnib.toml"), "QNIB_CLUSTER": "bench",
        "QNIB_HTTP__PORT": str(http), "QNIB_CARBON__PORT": str(port), "QNIB_FLOOD__EXEMPT": json.dumps([LOOPBACK]),
        **{f"QNIB_{name}__PORT": "0" for name in ("SYSLOG", "JSON_LINES", "GELF", "PICKLE", "STATSD")},
    }  # fmt: skip
    recomputed = 0
    with started([sys.executable, "-m", "qnib", "serve"], env, folder) as process:
        listening(process, http, folder / "log")
        listening(process, port, folder / "log")
        token = (folder / "run/token").read_text().strip()

        def settled() -> bool:
            """Hours that were late are rolled up, once since it was last asked about."""
            nonlocal recomputed
            told = server.ask("/api/health").json()["rollups"]
            if told["trouble"]:
                raise SystemExit(told["trouble"])
            return bool(told["recomputed"]) and not told["waiting"] and not any(ready.iterdir())

        ready = folder / "spool/ready"
        server = Metrics(process, port, lambda: 0, http, folder, settled, token)
        yield server


@contextmanager
def carbon_cache(folder: Path) -> Iterator[Metrics]:
    """Files of four hours: long enough for points that are two hours old."""
    found, root, env = program("carbon-cache", "graphite-carbon")
    port, query = free_port(), free_port()
    (folder / "carbon.conf").write_text(_CARBON.format(folder=folder, port=port, query=query))
    (folder / "storage-schemas.conf").write_text(f"[all]\npattern = .*\nretentions = {STEP}s:4h\n")
    packages = root / "usr/lib/python3/dist-packages"
    env |= {"PYTHONPATH": str(packages), "GRAPHITE_ROOT": str(folder)}
    command = ["/usr/bin/python3", found, f"--config={folder}/carbon.conf", "--nodaemon", "start"]
    with started(command, env, folder) as process:
        listening(process, port, folder / "log")
        yield Metrics(process, port, lambda: 0, query, folder)


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[Metrics]:
    found, _, env = program("victoria-metrics", "victoria-metrics")
    port, http = free_port(), free_port()
    command = [
        found, f"-graphiteListenAddr={LOOPBACK}:{port}", f"-httpListenAddr={LOOPBACK}:{http}",
        f"-storageDataPath={folder / 'data'}", "-retentionPeriod=12", "-loggerLevel=ERROR",
    ]  # fmt: skip

    def seen() -> int:
        told = re.findall(r'vm_rows_inserted_total\{type="graphite"\} (\S+)', server.ask("/metrics").text)
        return int(float(told[0]))

    with started(command, env, folder) as process:
        listening(process, http, folder / "log")
        listening(process, port, folder / "log")
        server = Metrics(process, port, seen, http, folder)
        yield server


def whisper_points(folder: Path, since: int) -> int:
    """Points since a moment in carbon-cache's files."""
    return sum(points_since(file, since) for file in (folder / "whisper").rglob("*.wsp"))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
