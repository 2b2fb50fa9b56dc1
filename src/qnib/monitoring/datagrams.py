"""Framing of what comes over UDP: a datagram is a block of carbon lines, a syslog message, JSON objects, or GELF.

GELF may come in up to 128 chunks and compressed; what never becomes whole is told to the rejects after five seconds.
"""

from __future__ import annotations

import asyncio
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qnib.monitoring.frames import Origin, block, row

if TYPE_CHECKING:
    from qnib.monitoring.receive import Receiver

_CHUNKED = b"\x1e\x0f"
_CHUNK_HEAD = 12  # magic 2, message id 8, number 1, count 1
_MOST_CHUNKS = 128
_PATIENCE = 5.0  # seconds until a message must be whole, as GELF has it
_MOST_OPEN = 1000  # messages that wait for chunks: forged ones must not fill memory


class Datagrams(asyncio.DatagramProtocol, ABC):
    """One datagram of any dialect: who sent it, and whether there is room."""

    def __init__(self, receiver: Receiver, origin: Origin, longest: int) -> None:
        self.receiver = receiver
        self.longest = longest
        self._origin = origin
        self._prefixes: dict[str, bytes] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        spool = self.receiver.spool
        self.receiver.datagrams += 1
        if spool.full:
            spool.dropped += 1
            return
        if self.limited and not self.receiver.flood.takes(self.origin(addr[0]), len(data), self.weight):
            return
        prefix = self._prefixes.get(addr[0])
        if prefix is None:
            if len(self._prefixes) > 10_000:  # forged senders must not fill memory
                self._prefixes.clear()
            prefix = self.origin(addr[0]).prefix()
            self._prefixes[addr[0]] = prefix
        self.take(data, prefix, addr[0])

    limited = True
    """Whether a sender of too much is held back; numbers are not: they are small, and their gaps cannot be told."""

    weight = 1
    """How many octets of others are as much work as one of this dialect."""

    def origin(self, sender: str) -> Origin:
        return Origin(self._origin.cluster, sender, self._origin.listener)

    @abstractmethod
    def take(self, data: bytes, prefix: bytes, sender: str) -> None:
        """Spool what a datagram holds."""


class CarbonDatagrams(Datagrams):
    limited = False

    def take(self, data: bytes, prefix: bytes, sender: str) -> None:
        self.receiver.spool.append("carbon", block(self.receiver.now(), prefix, data))


class SyslogDatagrams(Datagrams):
    def take(self, data: bytes, prefix: bytes, sender: str) -> None:
        self.receiver.spool.append("syslog", row(self.receiver.now(), prefix, [data]))


class JsonDatagrams(Datagrams):
    """One object, which may have newlines, or one a line."""

    def take(self, data: bytes, prefix: bytes, sender: str) -> None:
        several = b"}\n{" in data or b"}\r\n{" in data
        self.receiver.spool.append("json", row(self.receiver.now(), prefix, data.split(b"\n") if several else [data]))


@dataclass(slots=True)
class _Message:
    """The chunks of a GELF message so far, by their number."""

    count: int
    begun: float
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0


class GelfDatagrams(Datagrams):
    def __init__(self, receiver: Receiver, origin: Origin, longest: int) -> None:
        super().__init__(receiver, origin, longest)
        self._open: dict[tuple[str, bytes], _Message] = {}

    def take(self, data: bytes, prefix: bytes, sender: str) -> None:
        self._give_up()
        if data.startswith(_CHUNKED):
            whole = self._gathered(data, sender)
            if whole is None:
                return
            data = whole
        try:
            record = inflated(data, self.longest)
        except ValueError as error:
            self.receiver.reject(self.origin(sender), str(error), data)
            return
        self.receiver.spool.append("json", row(self.receiver.now(), prefix, [record]))

    def _gathered(self, data: bytes, sender: str) -> bytes | None:
        """The message that `data` was the last missing chunk of; None while others are missing."""
        if len(data) <= _CHUNK_HEAD or not data[10] < data[11] <= _MOST_CHUNKS:
            self.receiver.reject(self.origin(sender), "a GELF chunk whose head is wrong", data)
            return None
        key = (sender, data[2:10])
        message = self._open.get(key)
        if message is None:
            while len(self._open) >= _MOST_OPEN:
                self._refuse(next(iter(self._open)), "too many GELF messages wait for chunks")
            message = self._open[key] = _Message(data[11], asyncio.get_running_loop().time())
        if data[10] not in message.parts:
            message.parts[data[10]] = data[_CHUNK_HEAD:]
            message.size += len(data)
        if message.size > self.longest + _MOST_CHUNKS * _CHUNK_HEAD:
            self._refuse(key, f"longer than {self.longest} octets")
            return None
        if len(message.parts) < message.count:
            return None
        del self._open[key]
        return b"".join(part for _, part in sorted(message.parts.items()))

    def _give_up(self) -> None:
        """Refuse what has waited too long; the oldest is the first."""
        late = asyncio.get_running_loop().time() - _PATIENCE
        while self._open and next(iter(self._open.values())).begun < late:
            self._refuse(next(iter(self._open)), "chunks of a GELF message are missing")

    def _refuse(self, key: tuple[str, bytes], reason: str) -> None:
        message = self._open.pop(key)
        self.receiver.reject(self.origin(key[0]), reason, b"".join(message.parts.values()))

    def connection_lost(self, exc: Exception | None) -> None:
        for key in list(self._open):
            self._refuse(key, "chunks of a GELF message are missing")


def inflated(data: bytes, longest: int) -> bytes:
    """`data`, unpacked when zlib or gzip packed it. Raises ValueError for what is neither whole nor short enough."""
    if data[:1] == b"\x78":
        unpack = zlib.decompressobj()
    elif data[:2] == b"\x1f\x8b":
        unpack = zlib.decompressobj(wbits=31)
    else:
        return data
    try:
        text = unpack.decompress(data, longest + 1)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    if len(text) > longest:
        raise ValueError(f"longer than {longest} octets unpacked")
    if not unpack.eof:
        raise ValueError("it cannot be unpacked: it is cut off")
    return text
