"""Captures on their way to the server by HTTP: one request at a time, the newest text of each capture."""

from __future__ import annotations

import errno
import select
import socket

FIRST_WAIT, LONGEST_WAIT, TIMEOUT = 0.5, 15.0, 15.0


class Post:
    """Holds at most one text per capture: a newer one takes the place of an older one not yet sent."""

    def __init__(self, address: tuple[str, int], headers: dict[str, str]) -> None:
        self.address = address
        self.headers = headers
        self.socket: socket.socket | None = None
        self.replaced = 0
        self.refused = ""
        """What the server last answered when it would not take a capture."""
        self._queue: dict[str, bytes] = {}
        self._name, self._request = "", b""
        self._out = memoryview(b"")
        self._answer = b""
        self._since = 0.0
        self._retry_at = 0.0
        self._wait = FIRST_WAIT

    def add(self, name: str, at: str, text: bytes) -> None:
        """`name` is ``domain/capture``, `at` the ISO time of the capture."""
        head = [
            f"POST /api/collect/{name} HTTP/1.1", f"Host: {self.address[0]}:{self.address[1]}", f"X-Qnib-At: {at}",
            "Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(text)}", "Connection: close",
            *(f"{key}: {value}" for key, value in self.headers.items()),
        ]
        self.replaced += name in self._queue
        self._queue[name] = "\r\n".join(head).encode() + b"\r\n\r\n" + text

    @property
    def waiting(self) -> bool:
        return bool(self._queue)

    def events(self) -> int:
        return select.POLLOUT if self._out else select.POLLIN

    def connect(self, now: float) -> bool:
        """Start the next request if there is one and it is time to; whether there is a new socket to poll."""
        if self.socket is not None:
            if now - self._since > TIMEOUT:
                self._fail(now)
            return False
        if not self._queue or now < self._retry_at:
            return False
        self._name, self._request = next(iter(self._queue.items()))
        self._out, self._answer, self._since = memoryview(self._request), b"", now
        self.socket = socket.socket(socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET)
        self.socket.setblocking(False)
        try:
            code = self.socket.connect_ex(self.address)
        except OSError as error:
            code = error.errno or errno.EHOSTUNREACH
        if code not in (0, errno.EINPROGRESS):
            self._fail(now)
            return False
        return True

    def ready(self, happened: int, now: float) -> bool:
        """Go on after poll said `happened`; False when this request is over, well or not."""
        connection = self.socket
        if connection is None:
            return False
        try:
            if self._out and happened & select.POLLOUT:
                self._out = self._out[connection.send(self._out):]
            if happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
                part = connection.recv(65536)
                self._answer = (self._answer + part)[:4096]
                if not part or b"\r\n" in self._answer:
                    return self._finish(now)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return self._fail(now)
        return True

    def _finish(self, now: float) -> bool:
        status = self._answer.split(b" ", 2)[1:2]
        code = int(status[0]) if status and status[0].isdigit() else 0
        if code == 0 or code in (408, 429) or code >= 500:
            return self._fail(now)  # the server will be able to take it later
        if code >= 300:
            self.refused = f"{code} for {self._name}"  # sending the same again would not help
        if self._queue.get(self._name) is self._request:  # else a newer text has taken its place meanwhile
            del self._queue[self._name]
        self._wait = FIRST_WAIT
        return self._close()

    def _fail(self, now: float) -> bool:
        self._retry_at = now + self._wait
        self._wait = min(self._wait * 2, LONGEST_WAIT)
        return self._close()

    def _close(self) -> bool:
        if self.socket is not None:
            self.socket.close()
        self.socket, self._out, self._request = None, memoryview(b""), b""
        return False
