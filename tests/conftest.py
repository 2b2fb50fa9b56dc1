"""Order and honesty of the test run: fast tests first, every skip with its reason, in CI no skip of what can run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.settings import Settings, load

WEIGHT = {"engine": 1, "cluster": 2, "journey": 3}


def pytest_configure() -> None:
    """What a shell begins in the background, as many a CI does, has SIGINT ignored, and so have all its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests, then the engine's, then containers', then the browser's; order within each as written."""
    items.sort(key=lambda item: max((WEIGHT.get(mark.name, 0) for mark in item.iter_markers()), default=0))


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the person who runs the tests reaches them."""
    for name in [n for n in os.environ if n.startswith("QNIB_")]:
        monkeypatch.delenv(name)
    yield


# ── the whole thing: a server and a cluster with the demo's jobs, for the tests that join the layers ──────────────


@dataclass(frozen=True)
class World:
    """A running server and cluster of this test session, with a home, ports and a name of its own."""

    home: Path
    name: str
    env: dict[str, str]
    url: str
    token: str

    def qnib(self, *words: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line as its user would."""
        done = subprocess.run(
            [sys.executable, "-m", "qnib", *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"qnib {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def get(self, path: str, **params: Any) -> Any:
        """Ask the API."""
        answer = httpx.get(
            self.url + path,
            params={"cluster": self.name, **params},
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
        )
        assert answer.status_code == 200, f"{path} {params}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        """Ask the API with a body."""
        answer = httpx.post(self.url + path, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)
        assert answer.status_code == 200, f"{path} {body}: {answer.status_code} {answer.text}"
        return answer.json()

    def until(self, what: str, seen: Callable[[], Any], seconds: float) -> Any:
        """Wait until `seen()` gives something; fails with `what` after `seconds`."""
        deadline = time.monotonic() + seconds
        while not (value := seen()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.2)
        return value


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; held together so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Settings]]:
    """One engine for a module's tests, as opening one takes longer than most: each empties the tables it uses."""
    settings = load(home=tmp_path_factory.mktemp("home"))
    engine = open_engine(settings, FrozenClock(datetime(2026, 11, 20, 12, tzinfo=UTC)))
    yield engine, settings
    engine.close()


def container_engine() -> str | None:
    """Why no cluster can be started here, None when it can."""
    if os.geteuid() != 0:
        return "needs root to start containers"
    if not any(shutil.which(program) for program in ("podman", "docker")):
        return "neither podman nor docker is installed"
    return None


def environment(home: Path, **settings: str) -> dict[str, str]:
    """For commands with a home and ports of their own, whatever this process was told but for `settings`."""
    http, carbon, syslog = free_ports(3)
    plain = {key: value for key, value in os.environ.items() if not key.startswith("QNIB_")}
    return plain | {
        "QNIB_HOME": str(home), "QNIB_HTTP__PORT": str(http), "QNIB_CARBON__PORT": str(carbon),
        "QNIB_SYSLOG__PORT": str(syslog), "QNIB_JSON_LINES__PORT": "0", "QNIB_GELF__PORT": "0",
        "QNIB_PICKLE__PORT": "0", "QNIB_STATSD__PORT": "0", **settings,
    }  # fmt: skip


def stopped(home: Path, name: str, **settings: str) -> World:
    """A world in which nothing runs yet."""
    env = environment(home, **settings) | {"QNIB_CLUSTER": name}
    return World(home, name, env, f"http://127.0.0.1:{env['QNIB_HTTP__PORT']}", "")


def started(world: World) -> World:
    """The same with its server running."""
    world.qnib("serve", "--background")
    told = json.loads(world.qnib("status", "--json").stdout)
    return replace(world, url=told["url"], token=told["token"])


@contextmanager
def serving(home: Path, name: str, **settings: str) -> Iterator[World]:
    """A server of its own, without a cluster; `settings` as their variables: ``QNIB_JSON_LINES__PORT="5"``."""
    world = stopped(home, name, **settings)
    try:
        yield started(world)
    finally:
        world.qnib("stop")


@contextmanager
def served(home: Path, name: str, *up: str) -> Iterator[World]:
    """`qnib serve` and `qnib up` with these words, on ports of their own; ended without a trace."""
    world = stopped(home, name)
    try:
        running = started(world)
        running.qnib("up", "--name", name, *up, timeout=600)
        yield running
    finally:
        down = world.qnib("down", "--name", name, check=False)
        stop = world.qnib("stop", check=False)
    assert down.returncode == 0, down.stderr
    assert stop.returncode == 0, stop.stderr


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server and a cluster of four nodes with the demo's jobs."""
    if (reason := container_engine()) is not None:
        skip(reason)
    with served(tmp_path_factory.mktemp("world"), f"t{os.getpid()}", "--nodes", "4", "--demo") as running:
        yield running


def skip(reason: str) -> None:
    """Skip with a reason; where CI promises a machine that can, a skip is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run this: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server_url(world: World) -> str:
    return world.url


@pytest.fixture(scope="session")
def token(world: World) -> str:
    return world.token
