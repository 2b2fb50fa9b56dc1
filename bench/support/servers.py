"""Syslog servers as child processes: ours, rsyslog that writes a plain file, syslog-ng that writes JSON."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 900.0
RSYSLOG = """
global(workDirectory="{folder}" net.enableDNS="off")
module(load="imptcp")
input(type="imptcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{out}")
"""
SYSLOG_NG = """
@version: 3.38
@module json-plugin
options {{ use-dns(no); keep-hostname(yes); stats-freq(0); }};
source s {{ network(ip("127.0.0.1") port({port}) transport("tcp") {flags} log-iw-size(10000) log-fetch-limit(1000)); }};
destination d {{ file("{out}" template("$(format-json --scope rfc5424 --scope nv-pairs)\\n") log-fifo-size(20000)); }};
log {{ source(s); destination(d); flags(flow-control); }};
"""


class Absent(Exception):
    """A peer that is not here."""


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    seen: Callable[[], int]
    """How many lines came to where they belong."""

    def cpu(self) -> float:
        """CPU seconds of the process and its children, those that ended too."""
        parents: dict[int, list[int]] = {}
        spent: dict[int, int] = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            pid = int(file.parent.name)
            parents.setdefault(int(fields[1]), []).append(pid)
            spent[pid] = sum(map(int, fields[11:15]))
        family = [self.process.pid]
        for one in family:
            family += parents.get(one, [])
        return sum(spent[pid] for pid in family) / TICK

    def until(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (seen := self.seen()) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{seen} of {count} lines came: {self.process.args!r}")
            time.sleep(0.2)
        if seen > count:
            raise SystemExit(f"{seen} lines came, {count} were sent: {self.process.args!r}")


def free_port() -> int:
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        return int(held.getsockname()[1])


@contextmanager
def started(command: list[str], env: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while True:
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            return


@contextmanager
def ours(folder: Path, _form: str) -> Iterator[Server]:
    http, port = free_port(), free_port()
    (folder / "qnib.toml").write_text("")
    env = {name: value for name, value in os.environ.items() if not name.startswith("QNIB_")} | {
        "QNIB_HOME": str(folder), "QNIB_CONFIG": str(folder / "qnib.toml"), "QNIB_CLUSTER": "bench",
        "QNIB_HTTP__PORT": str(http), "QNIB_SYSLOG__PORT": str(port), "QNIB_CARBON__PORT": "0",
        "QNIB_JSON_LINES__PORT": "0", "QNIB_GELF__PORT": "0", "QNIB_FLOOD__EXEMPT": json.dumps([LOOPBACK]),
    }  # fmt: skip

    def seen() -> int:
        if any((folder / "spool/ready").iterdir()):
            return 0  # asking costs the server
        token = (folder / "run/token").read_text().strip()
        answer = httpx.get(
            f"http://{LOOPBACK}:{http}/api/events/search", timeout=60, headers={"Authorization": f"Bearer {token}"},
            params={"cluster": "bench", "from": "-6h", "q": "listener:syslog/tcp", "limit": 1},
        )  # fmt: skip
        return int(answer.raise_for_status().json()["total"])

    with started([sys.executable, "-m", "qnib", "serve"], env, folder) as process:
        listening(process, port, folder / "log")
        yield Server(process, port, seen)


def lines_in(file: Path) -> Callable[[], int]:
    read = count = 0

    def seen() -> int:
        nonlocal read, count
        if file.exists():
            with file.open("rb") as told:
                told.seek(read)
                while block := told.read(1 << 20):
                    read += len(block)
                    count += block.count(b"\n")
        return count

    return seen


def program(name: str, package: str) -> tuple[str, Path, dict[str, str]]:
    """A daemon that is installed, or unpacked for the tests: itself, its root, and the environment it needs."""
    env = {**os.environ, "LC_ALL": "C"}
    if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return found, Path("/"), env
    root = ROOT / ".make/senders" / package / "root"
    unpacked = next((file for part in ("sbin", "bin") if (file := root / "usr" / part / name).exists()), None)
    if unpacked is None:
        raise Absent(name)
    folders = sorted({str(one.parent) for one in root.glob("**/*.so*")})
    return str(unpacked), root, {**env, "LD_LIBRARY_PATH": ":".join(folders)}


@contextmanager
def rsyslog(folder: Path, _form: str) -> Iterator[Server]:
    found, root, env = program("rsyslogd", "rsyslog")
    port, out, config = free_port(), folder / "out", folder / "rsyslog.conf"
    config.write_text(RSYSLOG.format(folder=folder, port=port, out=out))
    modules = sorted({str(one.parent) for one in root.glob("usr/lib/**/rsyslog/*.so")})
    command = [found, "-n", "-f", str(config), "-i", str(folder / "pid"), "-M", ":".join(modules)]
    with started(command, env, folder) as process:
        listening(process, port, folder / "log")
        yield Server(process, port, lines_in(out))


@contextmanager
def syslog_ng(folder: Path, form: str) -> Iterator[Server]:
    found, root, env = program("syslog-ng", "syslog-ng-core")
    port, out, config = free_port(), folder / "out", folder / "syslog-ng.conf"
    flags = "flags(syslog-protocol)" if form == "RFC 5424" else ""
    config.write_text(SYSLOG_NG.format(port=port, out=out, flags=flags))
    modules = next(one.parent for one in root.glob("usr/lib/**/libsyslogformat.so"))
    command = [
        found, "-F", "--no-caps", "-f", str(config), "-p", str(folder / "pid"), "-c", str(folder / "ctl"), "-R",
        str(folder / "persist"), f"--module-path={modules}",
    ]  # fmt: skip
    with started(command, env, folder) as process:
        listening(process, port, folder / "log")
        yield Server(process, port, lines_in(out))
