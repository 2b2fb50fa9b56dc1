"""Points sent on to a carbon: lines, or pickles as carbon-relay sends them.

Carbon acknowledges nothing. So each batch has a connection of its own: it is sent, our side is closed, and the batch
counts as sent once the other side closes, too, which it does when it has read all of it; a carbon that dies before
resets the connection, and the batch is sent again. A point that comes twice is the same point.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult

from qnib.settings import CARBONS

_SECONDS = 20.0
_PATIENCE = 60.0  # a carbon whose cache is full reads no more for a while
_PIECE = 256 << 10
_FRAME = 500 << 10
"""Octets of the points of a pickle: carbon takes frames of a megabyte."""


class CarbonTarget:
    """A way to one carbon; there is no connection between batches."""

    def __init__(self, url: SplitResult) -> None:
        self._where = (url.hostname or "", url.port or CARBONS[url.scheme])
        self._pickles = url.scheme == "carbon+pickle"

    def send(self, lines: Sequence[bytes]) -> int:
        """Lines with their newlines. Raises OSError when it is not sure that all of them were read."""
        octets = b"".join(frames(lines) if self._pickles else lines)
        with socket.create_connection(self._where, _SECONDS) as wire:
            for at in range(0, len(octets), _PIECE):
                wire.settimeout(_PATIENCE)  # for each piece: one that is slow is not away
                wire.sendall(octets[at : at + _PIECE])
            wire.shutdown(socket.SHUT_WR)
            try:
                while wire.recv(1024):
                    pass
            except TimeoutError as error:
                raise TimeoutError(f"it took points but did not close within {_PATIENCE:.0f} s") from error
        return 0

    def close(self) -> None: ...


def frames(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The points as pickles of a list of (path, (time, value)), each after its length."""
    some: list[tuple[str, tuple[float, float]]] = []
    size = 0
    for line in lines:
        path, value, time = line.split()
        some.append((path.decode(), (float(time), float(value))))
        size += len(line)
        if size >= _FRAME:
            yield _framed(some)
            some, size = [], 0
    if some:
        yield _framed(some)


def _framed(points: Sequence[tuple[str, tuple[float, float]]]) -> bytes:
    packed = pickle.dumps(list(points), 2)
    return struct.pack(">I", len(packed)) + packed
