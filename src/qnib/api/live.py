"""The event stream: what changed, to every browser, at most twice a second per topic.

The stream carries news, not history: after a gap the client simply reads again what it shows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from qnib.api.viewer import Seeing, scope

HEARTBEAT = 15.0
PACE = 0.5
MOST_EVENTS = 50
"""Events per message; a flood is summed up by the topic's change message anyway."""


class _Reader:
    """What one browser has not been told yet. Bounded: a topic waits once, events keep the newest few."""

    def __init__(self, cluster: str, topics: frozenset[str]) -> None:
        self.cluster = cluster
        self.topics = topics
        self.changes: dict[str, str] = {}
        self.events: list[Mapping[str, Any]] = []
        self.awake = asyncio.Event()


class Live:
    """Takes news from any thread and hands it to the readers of the server's event loop."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ids = count(1)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def publish(
        self, topic: str, cluster: str, newest: datetime | None, events: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Say that `topic` of `cluster` changed; callable from the writer's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, topic, cluster, newest, list(events))

    def _tell(self, topic: str, cluster: str, newest: datetime | None, events: list[Mapping[str, Any]]) -> None:
        for reader in self._readers:
            if reader.cluster != cluster or topic not in reader.topics:
                continue
            reader.changes[topic] = newest.isoformat() if newest else ""
            reader.events = (reader.events + events)[-MOST_EVENTS:]
            reader.awake.set()

    @contextmanager
    def changed(self, cluster: str, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever `topic` of `cluster` changes; whoever waits for it clears it."""
        reader = _Reader(cluster, frozenset({topic}))
        self._readers.add(reader)
        try:
            yield reader.awake
        finally:
            self._readers.discard(reader)

    async def stream(self, cluster: str, topics: frozenset[str], request: Request) -> AsyncIterator[str]:
        reader = _Reader(cluster, topics)
        self._readers.add(reader)
        try:
            yield "retry: 2000\n\n"
            while not await request.is_disconnected():
                try:
                    await asyncio.wait_for(reader.awake.wait(), HEARTBEAT)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                reader.awake.clear()
                changes, reader.changes = reader.changes, {}
                events, reader.events = reader.events, []
                now = datetime.now(UTC).isoformat()
                for topic, newest in changes.items():
                    yield self._message("change", {"topic": topic, "time": now, "newest": newest or None})
                if events:
                    yield self._message("events", events)
                await asyncio.sleep(PACE)  # the pace of the stream, not a wait for a condition
        finally:
            self._readers.discard(reader)

    def _message(self, kind: str, data: Any) -> str:
        return f"id: {next(self._ids)}\nevent: {kind}\ndata: {json.dumps(data, default=str)}\n\n"


TOPICS = frozenset({"jobs", "nodes", "fabric", "points", "events"})

router = APIRouter()


@router.get("/api/live")
async def live(request: Request, viewer: Seeing, cluster: str = "", topics: str = "") -> StreamingResponse:
    """One stream per browser: ``change`` and ``events`` messages for the topics asked for."""
    parts, name = scope(request, viewer, cluster)
    wanted = frozenset(filter(None, topics.split(","))) & TOPICS or TOPICS
    return StreamingResponse(
        parts.live.stream(name, wanted, request),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
