"""The edges: listeners that frame what arrives and put it into the spool, understanding as little as possible.

Carbon, syslog, JSON lines and GELF over TCP and UDP, carbon's pickles over TCP, statsd over UDP; on each address of
each cluster.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections import Counter
from functools import partial

from qnib.clock import Clock, micros
from qnib.errors import Conflict, Unavailable
from qnib.monitoring.datagrams import CarbonDatagrams, Datagrams, GelfDatagrams, JsonDatagrams, SyslogDatagrams
from qnib.monitoring.flood import Flood
from qnib.monitoring.frames import Origin, row
from qnib.monitoring.pickled import PickleStream
from qnib.monitoring.spool import Spool
from qnib.monitoring.statsd import Flushing, StatsdDatagrams
from qnib.monitoring.streams import RAW_KEPT, CarbonStream, GelfStream, JsonStream, Stream, SyslogStream
from qnib.settings import Settings

_BACKLOG = 512
_AT_ONCE = 16  # connections accepted before the loop counts them; asyncio takes a whole backlog
_STREAM_BUFFER = 256 << 10  # octets; what waits in the kernel is lost with the machine, so not megabytes
_DATAGRAM_BUFFER = 4 << 20  # octets; a datagram has no other place to wait
_IP_FREEBIND = 15  # Linux's number; Python has no name for it


EDGES: dict[str, tuple[type[Stream] | None, type[Datagrams] | None]] = {
    "carbon": (CarbonStream, CarbonDatagrams), "pickle": (PickleStream, None),
    "syslog": (SyslogStream, SyslogDatagrams), "json_lines": (JsonStream, JsonDatagrams),
    "gelf": (GelfStream, GelfDatagrams), "statsd": (None, StatsdDatagrams),
}  # fmt: skip
"""By the name of their settings; listeners are called the same, without what follows an underscore."""


class Receiver:
    """All listeners of one server. Call everything from the event loop the spool was started in."""

    def __init__(self, settings: Settings, clock: Clock, spool: Spool) -> None:
        self.spool = spool
        self.clock = clock
        self.settings = settings
        self.rejected = 0
        self.datagrams = 0
        self.flood = Flood(settings.flood, spool, self.now)
        self._listening: dict[str, dict[str, asyncio.Server | asyncio.DatagramTransport]] = {}
        self._streams: set[Stream] = set()
        self._most = max(1, open_files() // 2)  # the others are the spool's, the engine's and HTTP's
        self._flushing: dict[str, Flushing] = {}
        spool.on_full = self._pause

    async def open(self, address: str, cluster: str) -> None:
        """Listen on `address`; all that arrives there belongs to `cluster`. Raises Unavailable for a port taken."""
        if address in self._listening:
            raise Conflict("There is a listener already.", where=address, try_next="close it first.")
        loop = asyncio.get_running_loop()
        opened = self._listening[address] = {}
        for name, (stream, datagrams) in EDGES.items():
            edge = getattr(self.settings, name)
            if edge is self.settings.statsd and not edge.flush_seconds:
                continue
            short = name.partition("_")[0]
            try:
                if stream:
                    bound = _bound(address, edge.port, socket.SOCK_STREAM)
                    opened[f"{short}/tcp"] = await loop.create_server(
                        partial(stream, self, Origin(cluster, "", f"{short}/tcp"), address, edge.max_line),
                        sock=bound,
                        backlog=_AT_ONCE,
                    )
                    bound.listen(_BACKLOG)
                if datagrams:
                    opened[f"{short}/udp"], _ = await loop.create_datagram_endpoint(
                        partial(datagrams, self, Origin(cluster, "", f"{short}/udp"), edge.max_line),
                        sock=_bound(address, edge.port, socket.SOCK_DGRAM),
                    )
            except OSError as error:
                await self.close(address)
                raise Unavailable(
                    f"The {short} port cannot be opened: {error.strerror or error}.",
                    where=f"{address}:{edge.port}",
                    try_next=f"stop what listens there (`ss -lnp | grep {edge.port}`), or set"
                    f" QNIB_{name.upper()}__PORT.",
                ) from error

    async def close(self, address: str) -> None:
        """Stop listening on `address` and end its connections; not listening there is fine."""
        opened = self._listening.pop(address, {})
        for listener in opened.values():
            listener.close()
        for stream in [s for s in self._streams if s.address == address]:
            stream.stop()
        for listener in opened.values():
            if isinstance(listener, asyncio.Server):
                await listener.wait_closed()
        await asyncio.sleep(0)  # one turn of the loop, in which datagram edges are told that they are closed

    async def stop(self) -> None:
        """Close every listener and every connection, and tell what was not told yet."""
        for address in list(self._listening):
            await self.close(address)
        for flushing in self._flushing.values():
            flushing.close()
        self._flushing.clear()
        self.flood.close()

    def ports(self, address: str) -> dict[str, int]:
        """The port of each listener on `address`, by ``carbon/tcp``, ``carbon/udp``, ``syslog/tcp`` …"""
        found: dict[str, int] = {}
        for name, listener in self._listening[address].items():
            server = isinstance(listener, asyncio.Server)
            bound = listener.sockets[0] if server else listener.get_extra_info("socket")  # type: ignore[union-attr]
            found[name] = int(bound.getsockname()[1])
        return found

    @property
    def connections(self) -> int:
        return len(self._streams)

    def flushing(self, cluster: str) -> Flushing:
        """Where a cluster's statsd is added up, on whichever of its addresses it came in."""
        if cluster not in self._flushing:
            self._flushing[cluster] = Flushing(self, cluster, self.settings.statsd)
        return self._flushing[cluster]

    def now(self) -> int:
        return micros(self.clock.now())

    def reject(self, origin: Origin, reason: str, raw: bytes) -> None:
        self.rejected += 1
        self.spool.append("reject", row(self.now(), origin.prefix(), [reason.encode(), raw[:RAW_KEPT]]))

    def add(self, stream: Stream) -> None:
        """A new connection. When there are too many, the one goes that was silent longest, of who has the most."""
        self._streams.add(stream)
        if len(self._streams) <= self._most:
            return
        ((sender, _),) = Counter(one.origin.sender for one in self._streams).most_common(1)
        silent = min((one for one in self._streams if one.origin.sender == sender), key=lambda one: one.heard)
        self.reject(silent.origin, f"closed, for there were more than {self._most} connections", b"")
        self._streams.discard(silent)
        silent.stop()

    def remove(self, stream: Stream) -> None:
        self._streams.discard(stream)

    def _pause(self, full: bool) -> None:
        for stream in list(self._streams):
            stream.pause(full)


def open_files() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket bound to `address`, even one the host gets only with a cluster's first container."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STREAM_BUFFER)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER)
        if family == socket.AF_INET:
            bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        bound.setblocking(False)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
