"""podman: its Docker-compatible service is started by us, on a private socket, and ends by itself when idle.

Containers do not need the service to live. One of our own lets us choose the runtime: crun refuses hybrid
cgroup trees, runc does not.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException

from qnib.errors import NotAllowed, Unavailable
from qnib.settings import Settings
from qnib.terminal import cgroups
from qnib.terminal.engines import command_line
from qnib.terminal.engines.socket import SocketEngine, client

IDLE_SECONDS = 120
"""The service leaves after this long without a request; the next command starts another in 0.3 s."""

NEEDED = {"netavark": "netavark", "iptables": "iptables", "conmon": "conmon"}
_PLACES = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/libexec/podman", "/usr/local/lib/podman")


class Podman(SocketEngine):
    name = "podman"
    join_with_name = True

    def __init__(self, settings: Settings) -> None:
        self._run = run = settings.run
        super().__init__(lambda: _reach(run), command_line(settings, self.name))

    def close(self, *, end_service: bool = False) -> None:
        self._client.close()
        if end_service:
            _end_service(self._run)


def connect(settings: Settings) -> Podman:
    if not shutil.which("podman"):
        raise Unavailable(
            "podman is not installed.", where="PATH",
            try_next="apt-get install podman runc netavark aardvark-dns iptables",
        )
    if os.geteuid() != 0:
        raise NotAllowed(
            "Only root may start a virtual cluster: its network and limits are the host's.", where="podman",
            try_next="run the same command with sudo.",
        )
    missing = [package for program, package in NEEDED.items() if not _found(program)]
    if missing:
        raise Unavailable(
            f"podman lacks {', '.join(missing)} to run containers with a network.",
            where="PATH and podman's own folders",
            try_next=f"apt-get install {' '.join(missing)}",
        )
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Podman(settings)


def _found(program: str) -> bool:
    # sbin is not on every PATH, and netavark lives in a folder of podman's.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *_PLACES))
    return shutil.which(program, path=path) is not None


def _conf(run: Path) -> Path:
    return run / "containers.conf"


def _write_conf(run: Path) -> None:
    """The few settings the service needs; the distribution's own file is not touched."""
    # The cgroups below ours are ours to lay out (terminal/cgroups.py), which systemd would do its own way.
    lines = ["[engine]", 'cgroup_manager = "cgroupfs"']
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    sbin = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if shutil.which("runc", path=sbin):
        lines += ['runtime = "runc"']  # on every kind of host: one runtime to know
    elif not unified:
        raise Unavailable(
            "This host has cgroup v1 or a hybrid tree, which needs runc.", where="/sys/fs/cgroup",
            try_next="apt-get install runc",
        )
    if cgroups.choose("cgroupfs") is cgroups.V2:
        # The API has a field for it, which podman before 5.6 does not read.
        lines = ["[containers]", 'cgroupns = "host"', *lines]
    if not Path("/run/systemd/journal/socket").exists():
        lines += ['events_logger = "file"']
    part = run / "containers.conf.part"
    part.write_text("\n".join(lines) + "\n")
    part.replace(_conf(run))


def _reach(run: Path) -> Any:
    """Connect; start the service first when nobody answers."""
    socket = run / "podman.sock"
    url = f"unix://{socket}"
    if answering := _try(url):
        return answering
    _write_conf(run)
    with (run / "podman.log").open("wb") as log:
        service = subprocess.Popen(
            ["podman", "system", "service", f"--time={IDLE_SECONDS}", url], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True, env={**os.environ, "CONTAINERS_CONF": str(_conf(run))},
        )
    (run / "podman.pid").write_text(str(service.pid))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if service.poll() is not None:
            break
        if answering := _try(url):
            return answering
        time.sleep(0.05)
    service.kill()
    told = (run / "podman.log").read_text(errors="replace").strip().splitlines()
    raise Unavailable(
        f"podman's service does not start: {told[-1] if told else 'it said nothing'}.", where=str(run / "podman.log"),
        try_next="`podman info` shows what podman misses.",
    )


def _try(url: str) -> Any | None:
    if not Path(url.removeprefix("unix://")).exists():
        return None
    found = client(url)
    try:
        found.ping()
    except (DockerException, requests.RequestException):
        found.close()
        return None
    return found


def _end_service(run: Path) -> None:
    """End the service we started, if it is still that process."""
    note = run / "podman.pid"
    try:
        pid = int(note.read_text())
        if b"system\0service" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
            _wait_gone(pid)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        pass  # it left by itself
    for name in ("podman.pid", "podman.sock", "podman.log", "containers.conf"):
        (run / name).unlink(missing_ok=True)


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and Path(f"/proc/{pid}/stat").exists():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
