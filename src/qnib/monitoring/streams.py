"""Framing of what comes over TCP: lines, RFC 6587's two ways, and GELF's records that end with a zero octet.

A record that is too long or cut off is told to the rejects and counted; the connection lives on.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

from qnib.monitoring.frames import Origin, block, row
from qnib.monitoring.spool import Format

if TYPE_CHECKING:
    from qnib.monitoring.receive import Receiver

_COUNTED = re.compile(rb"([1-9]\d{0,8}) <")
_MAYBE_COUNTED = re.compile(rb"[1-9]\d{0,8} ?\Z")
_COUNTED_LATER = re.compile(rb"\n[1-9]\d{0,8} <")
_LIGHT = 3  # octets of carbon's lines that weigh as one of other formats …
_LINE = 16  # … and what each line weighs at least
RAW_KEPT = 2048
"""Octets of a rejected record that are kept."""


class Stream(asyncio.Protocol, ABC):
    """What the dialects over TCP share: who sends, pausing, what is told of records that are not whole or too long."""

    format: Format
    end = b"\n"

    def __init__(self, receiver: Receiver, origin: Origin, address: str, longest: int) -> None:
        self.receiver = receiver
        self.origin = origin
        self.address = address
        self.prefix = b""
        self.rest: bytes | bytearray = b""
        self.skipping = False
        self.longest = longest
        self.heard = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._held: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("unknown", 0)
        self.origin = Origin(self.origin.cluster, peer[0], self.origin.listener)
        self.prefix = self.origin.prefix()
        self.receiver.add(self)
        self.pause(self.receiver.spool.full)

    limited = True
    """Whether a sender of too much is held back. Lines of numbers are not: they are small, and no work here."""

    @abstractmethod
    def data_received(self, data: bytes) -> None: ...

    def weigh(self, data: bytes) -> None:
        """Count what came, and read no more for a while when it is too much."""
        self.heard = time.monotonic()
        if self.limited and (seconds := self.receiver.flood.delay(self.origin, len(data))):
            self._held_back(seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.receiver.remove(self)
        if self._held is not None:
            self._held.cancel()
        if self.rest and not self.skipping:
            self.ended_inside(bytes(self.rest))
        self.rest = b""

    def pause(self, full: bool) -> None:
        self._full = full
        self._read()

    def _held_back(self, seconds: float) -> None:
        """Read no more for a while: this sender floods."""
        if self._held is not None:
            self._held.cancel()
        self._held = asyncio.get_running_loop().call_later(seconds, self._go_on)
        self._read()

    def _go_on(self) -> None:
        self._held = None
        self._read()

    def _read(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._full or self._held is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def stop(self) -> None:
        if self._transport:
            self._transport.close()

    def ended_inside(self, rest: bytes) -> None:
        self.receiver.reject(self.origin, "connection ended inside the record", rest)

    def spool_lines(self, lines: bytes) -> None:
        self.receiver.spool.append(self.format, block(self.receiver.now(), self.prefix, lines))

    def too_long(self, start: bytes) -> None:
        self.receiver.reject(self.origin, f"longer than {self.longest} octets", start)


class RecordStream(Stream):
    """Records are cut out of what was read; the rest waits for the next read."""

    def data_received(self, data: bytes) -> None:
        self.weigh(data)
        self.rest = self.take(bytes(self.rest) + data if self.rest else data)

    @abstractmethod
    def take(self, data: bytes) -> bytes:
        """Spool the whole records of `data`; return what remains."""

    def after_skipped(self, data: bytes) -> bytes:
        """Drop the rest of a record that was too long."""
        end = data.find(self.end)
        self.skipping = end < 0
        return b"" if end < 0 else data[end + 1 :]

    def keep_unless_too_long(self, rest: bytes) -> bytes:
        if len(rest) <= self.longest:
            return rest
        self.too_long(rest)
        self.skipping = True
        return b""


class LineStream(RecordStream):
    """Records that end with a newline."""

    def take(self, data: bytes) -> bytes:
        if self.skipping:
            data = self.after_skipped(data)
        end = data.rfind(b"\n")
        if end >= 0:
            self.spool_lines(data[:end])
            data = data[end + 1 :]
        return self.keep_unless_too_long(data)


class CarbonStream(LineStream):
    format: Format = "carbon"
    limited = False

    def spool_lines(self, lines: bytes) -> None:
        """Fewer, larger files cost a third less; but what counts in the engine is lines, should they be short."""
        octets = block(self.receiver.now(), self.prefix, lines)
        weight = max(len(octets) // _LIGHT, _LINE * lines.count(b"\n"))
        self.receiver.spool.append(self.format, octets, weight)


class JsonStream(LineStream):
    """One JSON object a line."""

    format: Format = "json"

    def ended_inside(self, rest: bytes) -> None:
        if rest.rstrip().endswith(b"}"):
            self.spool_lines(rest)  # many senders leave out the last newline
        else:
            super().ended_inside(rest)


class GelfStream(RecordStream):
    """GELF over TCP: one JSON object, which may have newlines, up to a zero octet."""

    format: Format = "json"
    end = b"\0"

    def take(self, data: bytes) -> bytes:
        if self.skipping:
            data = self.after_skipped(data)
        *whole, rest = data.split(b"\0")
        records = [record for record in whole if record.strip()]
        if records:
            self.receiver.spool.append("json", row(self.receiver.now(), self.prefix, records))
        return self.keep_unless_too_long(rest)

    def ended_inside(self, rest: bytes) -> None:
        if not rest.strip():
            return
        if rest.rstrip().endswith(b"}"):
            self.receiver.spool.append("json", row(self.receiver.now(), self.prefix, [rest]))
        else:
            super().ended_inside(rest)


class SyslogStream(RecordStream):
    """RFC 6587: each message either counted (``LEN SP MSG``) or ended by a newline; told apart per message."""

    format: Format = "syslog"

    def __init__(self, receiver: Receiver, origin: Origin, address: str, longest: int) -> None:
        super().__init__(receiver, origin, address, longest)
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
                    self.too_long(data[at : start + RAW_KEPT])
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
