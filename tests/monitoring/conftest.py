"""A monitoring part of its own for a test: engine, spool, listeners and writer over a clock that stands still."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from qnib.api import graphite, graphite_tags
from qnib.api.collect import edge_app
from qnib.api.errors import show_errors
from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.model import EventRule, Metric
from qnib.monitoring.mirror import Mirror
from qnib.monitoring.receive import Receiver
from qnib.monitoring.spool import Spool
from qnib.monitoring.writer import Writer
from qnib.settings import Edge, Settings, Source, Statsd
from qnib.settings import Spool as SpoolLimits

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
LOOPBACK = "127.0.0.1"
TOKEN = "the-server's-token"
METRICS = (
    Metric("cpu.used", "servers.{host}.cpu.used", "%", "CPU time used"),
    Metric("network.rx_bytes", "servers.{host}.network.{interface}.rx_bytes", "B", "Octets received", "counter"),
    Metric("ib.xmit_data", "infiniband.{node}.{port}.xmit_data", "words", "Data sent", "counter"),
    Metric("job.cpu", "slurm.job.{job}.{step}.{task}.{host}.cpu", "%", "CPU time a task uses"),
)


async def until(seen: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for a condition; the test's own timeout would tell less."""
    end = asyncio.get_running_loop().time() + seconds
    while not seen():
        assert asyncio.get_running_loop().time() < end, "the condition did not come true"
        await asyncio.sleep(0.005)


@dataclass
class Plant:
    """`send` octets to a listener, then look into the engine."""

    settings: Settings
    clock: FrozenClock
    engine: Engine
    rules: Sequence[EventRule] = ()
    metrics: Sequence[Metric] = METRICS
    changes: list[tuple[Any, ...]] = field(default_factory=list)
    captured: list[Any] = field(default_factory=list)
    capture: Callable[[Any], None] | None = None
    mirror: Mirror | None = None
    names: dict[str, str] = field(default_factory=dict)
    """What the inventory knows: hosts by their names and addresses."""

    def spool(self) -> Spool:
        return Spool(self.settings, self.clock)

    def writer(self, spool: Spool) -> Writer:
        def changed(topic: str, cluster: str, newest: datetime | None, events: Sequence[Any] = ()) -> None:
            self.changes.append((topic, cluster, newest, list(events)))

        writer = Writer(
            self.settings, self.clock, self.engine, spool, capture=self.capture or self.captured.append,
            on_change=changed, metrics=self.metrics, rules=self.rules,
            mirror=self.mirror, resolve=lambda cluster, name: self.names.get(name),
        )  # fmt: skip
        writer.prepare()
        return writer

    def send(self, listener: str, *chunks: bytes, cluster: str = "demo") -> Writer:
        """Each chunk is a write of its own (TCP) or a datagram (UDP); all is in the engine when this returns."""
        self.spool_only(listener, *chunks, cluster=cluster)
        writer = self.writer(self.spool())
        writer.drain()
        assert not writer.trouble, writer.trouble
        return writer

    def spool_only(self, listener: str, *chunks: bytes, cluster: str = "demo") -> None:
        asyncio.run(self._send(listener, chunks, cluster))

    async def _send(self, listener: str, chunks: Sequence[bytes], cluster: str) -> None:
        spool = self.spool()
        await spool.start()
        receiver = Receiver(self.settings, self.clock, spool)
        await receiver.open(LOOPBACK, cluster)
        port = receiver.ports(LOOPBACK)[listener]
        if listener.endswith("udp"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                for chunk in chunks:
                    out.sendto(chunk, (LOOPBACK, port))
            await until(lambda: receiver.datagrams == len(chunks))
        else:
            _, out_ = await asyncio.open_connection(LOOPBACK, port)
            await until(lambda: receiver.connections == 1)
            for chunk in chunks:
                out_.write(chunk)
                await out_.drain()
                await asyncio.sleep(0)
            out_.close()
            await until(lambda: receiver.connections == 0)
        await receiver.stop()
        await spool.stop()

    def http(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Each is a method, a path and what httpx takes beside; all is in the engine when this returns."""
        answers = asyncio.run(self._http(requests))
        writer = self.writer(self.spool())
        writer.drain()
        assert not writer.trouble, writer.trouble
        return answers

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        options["headers"] = {"Authorization": f"Bearer {TOKEN}", **options.get("headers", {})}
        return self.http(("POST", path, {"content": octets, **options}))[0]

    async def _http(self, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        spool = self.spool()
        await spool.start()
        receiver = Receiver(self.settings, self.clock, spool)
        parts = SimpleNamespace(settings=self.settings, clock=self.clock, spool=spool, receiver=receiver, token=TOKEN)
        transport = httpx.ASGITransport(edge_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://qnib") as client:
            answers = [await client.request(method, path, **options) for method, path, options in requests]
        await receiver.stop()
        await spool.stop()
        return answers

    def carbon(self, text: str, **options: Any) -> Writer:
        return self.send("carbon/tcp", text.encode(), **options)

    def syslog(self, *lines: str, **options: Any) -> Writer:
        return self.send("syslog/tcp", "".join(f"{line}\n" for line in lines).encode(), **options)

    def rows(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        return self.engine.rows(sql, params)

    def rejects(self) -> list[tuple[str, str]]:
        return [(r["reason"], r["raw"]) for r in self.rows("SELECT reason, raw FROM qnib.rejects ORDER BY reason, raw")]


def edges_of_their_own(home: Path, **settings: Any) -> Settings:
    """Settings whose edges take whatever ports are free."""
    return Settings(
        home=home, carbon=Edge(port=0, max_line=2000), syslog=Edge(port=0, max_line=2000),
        json_lines=Edge(port=0, max_line=20_000), gelf=Edge(port=0, max_line=20_000),
        pickle=Edge(port=0, max_line=50_000), statsd=Statsd(port=0), **settings,
    )  # fmt: skip


@contextmanager
def graphite_api(plant: Plant) -> Iterator[TestClient]:
    """Graphite's API over the store of a plant, asked with the server's token."""
    app = FastAPI()
    app.include_router(graphite.router)
    app.include_router(graphite_tags.router)
    app.state.qnib = SimpleNamespace(engine=plant.engine, clock=plant.clock, settings=plant.settings, token="secret")
    show_errors(app)
    with TestClient(app, headers={"Authorization": "Bearer secret"}) as client:
        yield client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return edges_of_their_own(
        tmp_path / "home", spool=SpoolLimits(rotate_seconds=0.05), sources={"berlin1": Source(zone="Europe/Berlin")}
    )


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One engine for the tests of a file: opening one takes longer than most tests."""
    engine = open_engine(Settings(home=tmp_path_factory.mktemp("engine")), FrozenClock(NOW))
    yield engine
    engine.close()


@pytest.fixture
def plant(settings: Settings, shared_engine: Engine) -> Plant:
    tables = (
        "points", "series", "heard", "job_samples", "events", "patterns", "rejects",
        "rollups", "changed", "rollup_marks", "point_senders",
    )  # fmt: skip
    for table in tables:
        shared_engine.run(f"TRUNCATE TABLE qnib.{table}")
    return Plant(settings, FrozenClock(NOW), shared_engine)
