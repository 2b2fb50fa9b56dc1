"""The edges: listeners that frame what arrives and put it into the spool, understanding as little as possible.

Carbon and syslog, over TCP and UDP, on each address of each cluster. A record that is too long or cut off is
told to the rejects and counted; the connection lives on.
"""

from __future__ import annotations

import asyncio
import re
import socket
from abc import ABC, abstractmethod
from functools import partial
from typing import cast

from qnib.clock import Clock
from qnib.errors import Conflict, Unavailable
from qnib.monitoring.frames import Origin, block, micros, row
from qnib.monitoring.spool import Format, Spool
from qnib.settings import Settings

_COUNTED = re.compile(rb"([1-9]\d{0,8}) <")
_MAYBE_COUNTED = re.compile(rb"[1-9]\d{0,8} ?\Z")
_COUNTED_LATER = re.compile(rb"\n[1-9]\d{0,8} <")
_RAW_KEPT = 2048  # octets of a rejected record that are kept
_BACKLOG = 512
_STREAM_BUFFER = 256 << 10  # octets; what waits in the kernel is lost with the machine, so not megabytes
_DATAGRAM_BUFFER = 4 << 20  # octets; a datagram has no other place to wait
_IP_FREEBIND = 15  # Linux's number; Python has no name for it


class Receiver:
    """All listeners of one server. Call everything from the event loop the spool was started in."""

    def __init__(self, settings: Settings, clock: Clock, spool: Spool) -> None:
        self.spool = spool
        self.clock = clock
        self.settings = settings
        self.rejected = 0
        self.datagrams = 0
        self._listening: dict[str, dict[str, asyncio.Server | asyncio.DatagramTransport]] = {}
        self._streams: set[_Stream] = set()
        spool.on_full = self._pause

    async def open(self, address: str, cluster: str) -> None:
        """Listen on `address`; all that arrives there belongs to `cluster`. Raises Unavailable for a port taken."""
        if address in self._listening:
            raise Conflict("There is a listener already.", where=address, try_next="close it first.")
        loop = asyncio.get_running_loop()
        opened = self._listening[address] = {}
        streams: dict[Format, type[_Stream]] = {"carbon": _CarbonStream, "syslog": _SyslogStream}
        for name, stream in streams.items():
            port = (self.settings.carbon if name == "carbon" else self.settings.syslog).port
            try:
                opened[f"{name}/tcp"] = await loop.create_server(
                    partial(stream, self, Origin(cluster, "", f"{name}/tcp"), address),
                    sock=_bound(address, port, socket.SOCK_STREAM),
                    backlog=_BACKLOG,
                )
                opened[f"{name}/udp"], _ = await loop.create_datagram_endpoint(
                    partial(_Datagrams, self, Origin(cluster, "", f"{name}/udp")),
                    sock=_bound(address, port, socket.SOCK_DGRAM),
                )
            except OSError as error:
                await self.close(address)
                kind = "carbon" if name == "carbon" else "syslog"
                raise Unavailable(
                    f"The {kind} port cannot be opened: {error.strerror or error}.",
                    where=f"{address}:{port}",
                    try_next=f"stop what listens there (`ss -lnp | grep {port}`), or set QNIB_{kind.upper()}__PORT.",
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

    async def stop(self) -> None:
        """Close every listener and every connection."""
        for address in list(self._listening):
            await self.close(address)

    def ports(self, address: str) -> dict[str, int]:
        """The port of each listener on `address`, by ``carbon/tcp``, ``carbon/udp``, ``syslog/tcp``, ``syslog/udp``."""
        found: dict[str, int] = {}
        for name, listener in self._listening[address].items():
            server = isinstance(listener, asyncio.Server)
            bound = listener.sockets[0] if server else listener.get_extra_info("socket")  # type: ignore[union-attr]
            found[name] = int(bound.getsockname()[1])
        return found

    @property
    def connections(self) -> int:
        return len(self._streams)

    def now(self) -> int:
        return micros(self.clock.now())

    def reject(self, origin: Origin, reason: str, raw: bytes) -> None:
        self.rejected += 1
        self.spool.append("reject", row(self.now(), origin.prefix(), [reason.encode(), raw[:_RAW_KEPT]]))

    def add(self, stream: _Stream) -> None:
        self._streams.add(stream)

    def remove(self, stream: _Stream) -> None:
        self._streams.discard(stream)

    def _pause(self, full: bool) -> None:
        for stream in list(self._streams):
            stream.pause(full)


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


class _Datagrams(asyncio.DatagramProtocol):
    """One datagram is one row: a block of lines for carbon, one record for syslog."""

    def __init__(self, receiver: Receiver, origin: Origin) -> None:
        self._receiver = receiver
        self._origin = origin
        self._format: Format = "carbon" if origin.listener.startswith("carbon") else "syslog"
        self._prefixes: dict[str, bytes] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        spool = self._receiver.spool
        self._receiver.datagrams += 1
        if spool.full:
            spool.dropped += 1
            return
        prefix = self._prefixes.get(addr[0])
        if prefix is None:
            if len(self._prefixes) > 10_000:  # forged senders must not fill memory
                self._prefixes.clear()
            prefix = Origin(self._origin.cluster, addr[0], self._origin.listener).prefix()
            self._prefixes[addr[0]] = prefix
        make = block if self._format == "carbon" else _single
        spool.append(self._format, make(self._receiver.now(), prefix, data))


def _single(received: int, prefix: bytes, record: bytes) -> bytes:
    return row(received, prefix, [record])


class _Stream(asyncio.Protocol, ABC):
    """What both dialects over TCP share: the rest of the last read, pausing, and skipping what is too long."""

    format: Format = "carbon"

    def __init__(self, receiver: Receiver, origin: Origin, address: str) -> None:
        self.receiver = receiver
        self.origin = origin
        self.address = address
        self.prefix = b""
        self.rest = b""
        self.skipping = False
        self.longest = (receiver.settings.carbon if self.format == "carbon" else receiver.settings.syslog).max_line
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("unknown", 0)
        self.origin = Origin(self.origin.cluster, peer[0], self.origin.listener)
        self.prefix = self.origin.prefix()
        self.receiver.add(self)
        self.pause(self.receiver.spool.full)

    def data_received(self, data: bytes) -> None:
        self.rest = self.take(self.rest + data if self.rest else data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.receiver.remove(self)
        if self.rest and not self.skipping:
            self.ended_inside(self.rest)
        self.rest = b""

    def pause(self, full: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def stop(self) -> None:
        if self._transport:
            self._transport.close()

    @abstractmethod
    def take(self, data: bytes) -> bytes:
        """Spool the whole records of `data`; return what remains."""

    def ended_inside(self, rest: bytes) -> None:
        self.receiver.reject(self.origin, "connection ended inside the record", rest)

    def spool_lines(self, lines: bytes) -> None:
        self.receiver.spool.append(self.format, block(self.receiver.now(), self.prefix, lines))

    def too_long(self, start: bytes) -> None:
        self.receiver.reject(self.origin, f"longer than {self.longest} octets", start)

    def after_skipped(self, data: bytes) -> bytes:
        """Drop the rest of a line that was too long."""
        end = data.find(b"\n")
        self.skipping = end < 0
        return b"" if end < 0 else data[end + 1 :]

    def keep_unless_too_long(self, rest: bytes) -> bytes:
        if len(rest) <= self.longest:
            return rest
        self.too_long(rest)
        self.skipping = True
        return b""


class _CarbonStream(_Stream):
    format: Format = "carbon"

    def take(self, data: bytes) -> bytes:
        if self.skipping:
            data = self.after_skipped(data)
        end = data.rfind(b"\n")
        if end >= 0:
            self.spool_lines(data[:end])
            data = data[end + 1 :]
        return self.keep_unless_too_long(data)


class _SyslogStream(_Stream):
    """RFC 6587: each message either counted (``LEN SP MSG``) or ended by a newline; told apart per message."""

    format: Format = "syslog"

    def __init__(self, receiver: Receiver, origin: Origin, address: str) -> None:
        super().__init__(receiver, origin, address)
        self._to_skip = 0  # octets left of a counted message that is too long

    def take(self, data: bytes) -> bytes:
        counted: list[bytes] = []
        at = 0
        if self._to_skip:
            at = min(self._to_skip, len(data))
            self._to_skip -= at
        if self.skipping:
            data = self.after_skipped(data)
        while at < len(data):
            if data[at] in b"\n\r\0":
                at += 1
            elif head := _COUNTED.match(data, at):
                start, size = head.end() - 1, int(head[1])
                if size > self.longest:
                    self.too_long(data[at : start + _RAW_KEPT])
                    self._to_skip = max(0, start + size - len(data))
                elif start + size > len(data):
                    break
                else:
                    counted.append(data[start : start + size])
                at = min(start + size, len(data))
            elif _MAYBE_COUNTED.match(data, at):
                break
            else:
                end = self._lines_until(data, at)
                if end <= at:
                    break
                self._spool_counted(counted)
                self.spool_lines(data[at:end])
                at = end
        self._spool_counted(counted)
        rest = data[at:]
        return rest if _COUNTED.match(rest) else self.keep_unless_too_long(rest)

    def ended_inside(self, rest: bytes) -> None:
        if _COUNTED.match(rest) or _MAYBE_COUNTED.match(rest):
            super().ended_inside(rest)
        else:
            self.spool_lines(rest)  # many senders leave out the last newline

    def _lines_until(self, data: bytes, at: int) -> int:
        """End of the run of newline-framed messages that starts at `at`: before the next counted one."""
        last = data.rfind(b"\n", at)
        if last < 0:
            return -1
        counted = _COUNTED_LATER.search(data, at, min(len(data), last + 12))
        return counted.start() if counted else last

    def _spool_counted(self, messages: list[bytes]) -> None:
        if messages:
            self.receiver.spool.append("syslog", row(self.receiver.now(), self.prefix, messages))
            messages.clear()
