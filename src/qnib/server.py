"""The server: builds the parts, joins them, runs them in one process until told to stop.

Flow: listeners → spool files → writer thread → engine; captures go on from the writer to facts and graph; the
API reads. See docs/how-it-fits.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import secrets
import signal
import socket
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import uvicorn

from qnib import clusters
from qnib.alerting import Disagreements, Watch
from qnib.api import create_app
from qnib.api.collect import edge_app
from qnib.api.live import Live
from qnib.api.patience import PatientProtocol
from qnib.cli.client import running, start_ticks
from qnib.clock import Clock, SystemClock
from qnib.context.aggregates import Aggregates
from qnib.context.latest import values_of_entities
from qnib.discovery import apply_capture
from qnib.discovery.own import tell_racks, tell_settings
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.errors import Conflict, NotAllowed, QnibError, Unavailable
from qnib.inventory.facts import Facts
from qnib.inventory.graph import open_graph
from qnib.monitoring import events as event_store
from qnib.monitoring.mirror import Mirror
from qnib.monitoring.receive import Receiver
from qnib.monitoring.reclassify import Reclassify
from qnib.monitoring.spool import Record, Spool
from qnib.monitoring.storage.rules import rules_of
from qnib.monitoring.storage.upkeep import Upkeep
from qnib.monitoring.targets import connect
from qnib.monitoring.writer import Writer
from qnib.settings import Settings

log = logging.getLogger("qnib")

LOOPBACK = "127.0.0.1"
OPEN_FILES = 65_536
"""Wanted; services are often started with 1024."""
IP_FREEBIND = 15
"""Linux: bind an address the host does not have yet; a bridge gets its own with its first container."""


@dataclass
class Parts:
    """What the API may use; `request.app.state.qnib` everywhere."""

    settings: Settings
    clock: Clock
    token: str
    engine: Engine
    facts: Facts
    graph: Any
    spool: Spool
    receiver: Receiver
    writer: Writer
    live: Live
    mirror: Mirror
    reclassify: Reclassify
    upkeep: Upkeep
    aggregates: Aggregates = field(init=False)
    edges: dict[str, uvicorn.Server] = field(default_factory=dict)

    async def refresh(self) -> list[str]:
        """Listen for exactly the clusters that are recorded now, and record their racks. Returns their names."""
        wanted = {c.gateway: c.name for c in clusters.load_all(self.settings.clusters) if c.gateway}
        for address in set(self.edges) - set(wanted):
            self.edges.pop(address).should_exit = True
            await self.receiver.close(address)
        for address in set(wanted) - set(self.edges):
            listening = listen(address, self.settings.http.port)
            await self.receiver.open(address, wanted[address])
            edge = uvicorn.Server(_config(edge_app(self)))
            self.edges[address] = edge
            self._keep(asyncio.create_task(_serve(edge, listening)))
            log.info("listening on %s for cluster %s", address, wanted[address])
        await asyncio.to_thread(tell_racks, self.facts, self.graph, self.settings, self.clock.now())
        return sorted(wanted.values())

    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """The loop holds tasks weakly; we hold them until they are done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def listen(address: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises Unavailable when the port is taken or not allowed."""
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it, a short answer on a connection that
    # is used again waits 40 ms for the client's delayed acknowledgement of its head
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    try:
        listening.bind((address, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise Unavailable(
            f"Cannot listen: {error.strerror}.",
            where=f"{address}:{port}",
            try_next="free the port, or choose another: QNIB_HTTP__PORT=8788 qnib serve.",
        ) from error
    listening.setblocking(False)
    return listening


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2, http=PatientProtocol,
        backlog=64,  # accepted at once, before they are counted
    )


async def _serve(server: uvicorn.Server, *listening: socket.socket) -> None:
    """uvicorn without its signal handlers: this process has its own."""
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    await server.serve(sockets=list(listening))


def make_token(settings: Settings) -> str:
    """The server's token: made once, readable by its owner only."""
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = settings.run / "token"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_urlsafe(24) + "\n")
    token = file.read_text().strip()
    if not token:
        raise Unavailable("The token file is empty.", where=str(file), try_next="delete it and start the server again.")
    return token


def run(settings: Settings, clock: Clock | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was acknowledged and leave."""
    if (other := running(settings)) is not None:
        raise Conflict(
            f"A server is running already (pid {other['pid']}).",
            where=other["url"],
            try_next="use it, or end it with `qnib stop`.",
        )
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = make_token(settings)
    except PermissionError as error:
        raise NotAllowed(
            "No rights to write the state directory.",
            where=str(settings.home),
            try_next="use sudo, or a directory of your own: QNIB_HOME=~/qnib qnib serve.",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"The state directory cannot be used: {error.strerror}.",
            where=str(settings.home),
            try_next="free space there, or choose another directory with QNIB_HOME.",
        ) from error
    allow_open_files()
    asyncio.run(_run(settings, clock or SystemClock(), token))


def allow_open_files() -> int:
    """As many as this process may allow itself: half of them for senders' connections, a quarter for HTTP's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft


async def _run(settings: Settings, clock: Clock, token: str) -> None:  # noqa: PLR0915 - one part after the other
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)

    listening = listen(settings.http.address, settings.http.port)
    async with contextlib.AsyncExitStack() as cleanup:
        engine = open_engine(settings, clock)
        cleanup.callback(engine.close)
        if told := tell_settings(engine, settings, clock.now()):
            log.info("settings that changed since the last start: %s", "; ".join(told))
        facts = Facts(engine, clock)
        graph = open_graph(settings, facts, clock, lambda at: values_of_entities(engine, facts, at))
        cleanup.callback(graph.close)
        log.info("the graph is in %s", graph.name)
        live = Live()
        live.attach(loop)

        def take(record: Record) -> None:
            apply_capture(engine, facts, graph, clock, record, live.publish)

        spool = Spool(settings, clock)
        mirror = Mirror(settings, clock, connect)
        mirror.start()
        cleanup.callback(mirror.stop)
        event_store.observers.append(mirror.own)
        cleanup.callback(event_store.observers.remove, mirror.own)
        writer = Writer(
            settings, clock, engine, spool, capture=take, on_change=live.publish, resolve=facts.resolve, mirror=mirror
        )
        receiver = Receiver(settings, clock, spool)
        reclassify = Reclassify(clock, engine, writer.rulebook, writer.known, counted=bool(settings.aggregates))
        upkeep = Upkeep(clock, engine, rules_of(settings))
        parts = Parts(
            settings, clock, token, engine, facts, graph, spool, receiver, writer, live, mirror, reclassify, upkeep
        )
        parts.aggregates = Aggregates(parts, live.publish)
        event_store.observers.append(parts.aggregates.own)
        cleanup.callback(event_store.observers.remove, parts.aggregates.own)
        parts.aggregates.start()
        cleanup.callback(parts.aggregates.stop)
        upkeep.start()
        cleanup.callback(upkeep.stop)
        reclassify.tidy()
        writer.start()
        cleanup.callback(writer.stop)
        cleanup.callback(reclassify.stop)
        await spool.start()
        cleanup.push_async_callback(spool.stop)
        await receiver.open(LOOPBACK, settings.cluster)
        cleanup.push_async_callback(receiver.stop)
        try:
            await parts.refresh()
        except QnibError as error:
            # One cluster's address must not keep the others from being served; /api/health says what is missing.
            log.warning("%s", error)

        for watch in (Watch(parts, live.publish), Disagreements(parts, live.publish)):
            watch.start()
            cleanup.callback(watch.stop)

        server = uvicorn.Server(_config(create_app(parts)))
        serving = asyncio.create_task(_serve(server, listening))
        _announce(settings, listening.getsockname(), clock.now(), graph.name)
        cleanup.callback(lambda: (settings.run / "server.json").unlink(missing_ok=True))
        log.info("serving on http://%s:%s", *listening.getsockname())

        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        for one in (server, *parts.edges.values()):
            one.should_exit = True
        await serving


def _announce(settings: Settings, address: tuple[str, int], now: datetime, graph: str) -> None:
    """Write where we are, for the command line; whole or not at all."""
    told = {
        "pid": os.getpid(),
        "started_ticks": start_ticks(os.getpid()),
        "started": now.isoformat(),
        "url": f"http://{address[0]}:{address[1]}",
        "graph": graph,
    }
    part = settings.run / "server.json.part"
    part.write_text(json.dumps(told))
    part.replace(settings.run / "server.json")
