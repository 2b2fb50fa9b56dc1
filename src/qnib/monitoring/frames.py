"""The framing of spool files: what an edge adds to the octets it received, and nothing more.

A file is rows of ClickHouse's RowBinary, so that SQL reads it whole; see `COLUMNS`. `framed` 1: each element of
`records` is one record; 0: `records` has one element, a block of lines that SQL splits at newlines.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qnib.clock import EPOCH, TICK

COLUMNS = (
    "received Int64, sender LowCardinality(String), listener LowCardinality(String),"
    " cluster LowCardinality(String), framed UInt8, records Array(String)"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where octets came from. `listener` is the edge, as ``carbon/tcp``; `sender` an address or a host's name."""

    cluster: str
    sender: str
    listener: str

    def prefix(self) -> bytes:
        return b"".join(_string(text.encode()) for text in (self.sender, self.listener, self.cluster))


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a format that Python reads (captures): a body and where it came from."""

    received: datetime
    cluster: str
    sender: str
    listener: str
    body: bytes


def block(received: int, prefix: bytes, lines: bytes) -> bytes:
    """A row of lines that end with newlines; `received` in microseconds since 1970, `prefix` of an `Origin`."""
    return b"%b%b\0\1%b%b" % (struct.pack("<q", received), prefix, _length(len(lines)), lines)


def row(received: int, prefix: bytes, records: Sequence[bytes]) -> bytes:
    """A row of records that may hold anything."""
    head = struct.pack("<q", received) + prefix + b"\1" + _length(len(records))
    return head + b"".join(map(_string, records))


def read_records(path: Path) -> Iterator[Record]:
    """The records of one spool file, in order. Raises ValueError for a file that ends inside a row."""
    data = memoryview(path.read_bytes())
    at = 0
    while at < len(data):
        (received,) = struct.unpack_from("<q", data, at)
        sender, at = _read(data, at + 8)
        listener, at = _read(data, at)
        cluster, at = _read(data, at)
        framed = data[at]
        count, at = _number(data, at + 1)
        moment = EPOCH + received * TICK
        for _ in range(count):
            body, at = _read(data, at)
            for part in [body] if framed else body.split(b"\n"):
                yield Record(moment, cluster.decode(), sender.decode(), listener.decode(), part)


def read_origins(path: Path) -> Iterator[Origin]:
    """Of each row of a spool file."""
    data = memoryview(path.read_bytes())
    at = 0
    while at < len(data):
        sender, at = _read(data, at + 8)
        listener, at = _read(data, at)
        cluster, at = _read(data, at)
        count, at = _number(data, at + 1)
        for _ in range(count):
            size, at = _number(data, at)
            at += size
        yield Origin(cluster.decode(), sender.decode(), listener.decode())


def _length(number: int) -> bytes:
    """LEB128, as RowBinary writes lengths."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _string(octets: bytes) -> bytes:
    return _length(len(octets)) + octets


def _number(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        octet = data[at]
        at += 1
        number |= (octet & 0x7F) << shift
        if octet < 0x80:
            return number, at
        shift += 7


def _read(data: memoryview, at: int) -> tuple[bytes, int]:
    size, at = _number(data, at)
    if at + size > len(data):
        raise ValueError(f"the spool file ends inside a record at octet {at}")
    return bytes(data[at : at + size]), at + size
