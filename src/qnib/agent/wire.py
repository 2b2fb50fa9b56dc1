"""TCP connections that come back by themselves, each with a bounded buffer; nothing here ever blocks."""

from __future__ import annotations

import errno
import select
import socket
from collections import deque
from itertools import islice

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
_READ, _WRITE, _GONE = select.POLLIN, select.POLLOUT, select.POLLHUP | select.POLLERR


class Line:
    """A stream of records to one port of the server. Dropped are the oldest, whole, and counted."""

    def __init__(self, address: tuple[str, int], limit: int) -> None:
        self.address = address
        self.limit = limit
        self.dropped = 0
        self.socket: socket.socket | None = None
        self.connected = False
        self.retry_at = 0.0
        self._wait = FIRST_WAIT
        self._records: deque[bytes] = deque()
        self._size = 0
        self._sent = 0  # octets of the first record that are on the wire already

    def add(self, record: bytes) -> None:
        self._records.append(record)
        self._size += len(record)
        while self._size > self.limit and len(self._records) > 1:
            # A record that is half sent stays: cutting it would spoil the next one for the server.
            half = self._records.popleft() if self._sent else None
            self._size -= len(self._records.popleft())
            self.dropped += 1
            if half is not None:
                self._records.appendleft(half)

    @property
    def waiting(self) -> int:
        """Octets not yet handed to the kernel."""
        return self._size - self._sent

    def events(self) -> int:
        """What to poll for on the socket."""
        return (_READ | _WRITE) if self._records or not self.connected else _READ

    def connect(self, now: float) -> bool:
        """Start to connect if it is time to; whether there is a new socket to poll."""
        if self.socket is not None or now < self.retry_at:
            return False
        self.socket = socket.socket(socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            code = self.socket.connect_ex(self.address)
        except OSError as error:  # a name that does not resolve, for one
            code = error.errno or errno.EHOSTUNREACH
        if code not in (0, errno.EINPROGRESS):
            self.close(now)
            return False
        return True

    def ready(self, happened: int, now: float) -> bool:
        """Go on after poll said `happened`; False when the connection is gone and its socket with it."""
        connection = self.socket
        if connection is None:
            return False
        try:
            if not self.connected:
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or happened & _GONE:
                    raise ConnectionError
                self.connected, self._wait = True, FIRST_WAIT
            if happened & (_READ | _GONE) and not connection.recv(4096):
                raise ConnectionError
            if happened & _WRITE:
                self._send(connection)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            self.close(now)
            return False
        return True

    def _send(self, connection: socket.socket) -> None:
        while self._records:
            batch = [memoryview(record) for record in islice(self._records, 64)]
            batch[0] = batch[0][self._sent:]
            sent = self._sent + connection.sendmsg(batch)
            while self._records and sent >= len(self._records[0]):
                sent -= len(self._records[0])
                self._size -= len(self._records.popleft())
            self._sent = sent
            if sent:
                return

    def close(self, now: float) -> None:
        """Hang up; the record that was half sent is sent again, whole, on the next connection."""
        if self.socket is not None:
            self.socket.close()
        self.socket, self.connected, self._sent = None, False, 0
        self.retry_at = now + self._wait
        self._wait = min(self._wait * 2, LONGEST_WAIT)
