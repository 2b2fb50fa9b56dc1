"""Edges and writer as they run in the server, for senders that are programs of their own; in a thread of the test."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import uvicorn

from qnib.api.collect import edge_app
from qnib.clock import SystemClock
from qnib.monitoring.receive import Receiver
from qnib.monitoring.writer import Writer

from .conftest import LOOPBACK, TOKEN, Plant


@dataclass
class Live:
    plant: Plant
    ports: dict[str, int] = field(default_factory=dict)
    http: int = 0
    writer: Writer | None = None

    def events(self, where: str = "1") -> list[dict[str, Any]]:
        columns = "time, received, host, app, pid, facility, severity, message, fields, sender, listener"
        return self.plant.rows(f"SELECT {columns} FROM qnib.events WHERE {where} ORDER BY message")

    def until(self, seen: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait for a condition; what was refused is told when it does not come true."""
        end = time.monotonic() + seconds
        while not (value := seen()):
            assert time.monotonic() < end, f"not within {seconds} s; rejects: {self.plant.rejects()[:5]}"
            time.sleep(0.1)
        return value

    def messages(self, count: int, where: str = "1") -> list[str]:
        """The messages, once there are so many."""
        self.until(lambda: len(self.events(where)) >= count)
        return [event["message"] for event in self.events(where)]


@contextmanager
def served(plant: Plant) -> Iterator[Live]:
    """All edges on free ports of loopback, with the real clock."""
    live, ready, stop = Live(plant), threading.Event(), threading.Event()
    plant.clock = SystemClock()  # type: ignore[assignment]
    spool = plant.spool()
    live.writer = plant.writer(spool)
    live.writer.start()

    async def main() -> None:
        await spool.start()
        receiver = Receiver(plant.settings, plant.clock, spool)
        await receiver.open(LOOPBACK, "demo")
        live.ports = receiver.ports(LOOPBACK)
        parts = SimpleNamespace(
            settings=plant.settings, clock=plant.clock, spool=spool, receiver=receiver, token=TOKEN, writer=live.writer
        )
        config = uvicorn.Config(edge_app(parts), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        listening = socket.create_server((LOOPBACK, 0))
        live.http = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.should_exit = True
        await serving
        await receiver.stop()
        await spool.stop()

    running = threading.Thread(target=lambda: asyncio.run(main()))
    running.start()
    try:
        assert ready.wait(30)
        yield live
    finally:
        stop.set()
        running.join()
        live.writer.stop()
