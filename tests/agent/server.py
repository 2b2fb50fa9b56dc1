"""A server as the agent sees one: takes carbon lines, framed syslog and captures, and can go away."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any


class Listener:
    """One TCP port; keeps what came in, per connection, in order."""

    def __init__(self, answer: bytes = b"", port: int = 0) -> None:
        self.answer = answer
        self.received: list[bytes] = []
        self.open: list[socket.socket] = []
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(16)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.open.append(connection)
            self.received.append(b"")
            threading.Thread(target=self._take, args=(connection, len(self.received) - 1), daemon=True).start()

    def _take(self, connection: socket.socket, number: int) -> None:
        while True:
            try:
                part = connection.recv(65536)
            except OSError:
                return
            if not part:
                return
            self.received[number] += part
            if self.answer and _complete(self.received[number]):
                connection.sendall(self.answer)
                connection.close()
                return

    @property
    def text(self) -> str:
        return b"".join(self.received).decode(errors="replace")

    def close(self) -> None:
        """Go away at once, connections and all."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it had gone first
            finally:
                connection.close()


def _complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def frames(stream: bytes) -> list[str]:
    """The records of an octet-counted syslog stream."""
    found = []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)].decode())
        stream = rest[int(length):]
    return found


def until(what: str, seen: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until `seen()` gives something."""
    deadline = time.monotonic() + seconds
    while not (value := seen()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value
