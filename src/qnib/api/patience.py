"""HTTP connections that are bounded in number and in patience, as uvicorn's are not.

One that tells no request in half a minute, drips it, or does not read its answer is closed, so that clients which hang
(or mean to) cannot use up the descriptors that spool and engine write with.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from qnib.monitoring.receive import open_files

SECONDS = 30.0
LEAST = 30_000
"""Octets in so many seconds, while a request is not whole."""

_SHARE = 4  # of the descriptors that the process may have open


class PatientProtocol(H11Protocol):
    """uvicorn's protocol with an eye on each connection."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.began = self.loop.time()
        self._octets = self._waiting = 0
        self._seen: Any = None
        self._watch = self.loop.call_later(SECONDS, self._look)
        if len(self.connections) > open_files() // _SHARE:
            idle = [one for one in self.connections if isinstance(one, PatientProtocol) and not one.answering]
            oldest = min(idle, key=lambda one: one.began, default=self)
            self.connections.discard(oldest)
            oldest.transport.abort()

    @property
    def answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        self._octets += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        cycle, waiting = self.cycle, self.transport.get_write_buffer_size()
        asking = cycle is self._seen and (not self.answering or cycle.more_body)
        if (asking and self._octets < LEAST) or (self.answering and waiting and waiting == self._waiting):
            self.transport.abort()
            return
        self._octets, self._waiting, self._seen = 0, waiting, cycle
        self._watch = self.loop.call_later(SECONDS, self._look)
