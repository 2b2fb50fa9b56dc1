"""Takes the jobs that slurmctld pushes when they end, on the controller's loopback, and passes them on to the server.

It is there because slurmctld needs an answer, whatever it is: where nobody listens, jobcomp/elasticsearch of SLURM
24.11 frees a pointer that it never set, and slurmctld may end by signal 11. Without a server the answer is 503; then
the plugin keeps the job and tries again later.

    jobcomp.py PORT
"""

from __future__ import annotations

import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

AGENT = Path("/etc/qnib/agent.json")
PATIENCE = 5.0
"""Seconds the server has; slurmctld's plugin waits for us, and nobody for the plugin."""
_LARGEST = 16 << 20
_PASSED = ("Authorization", "Content-Type")


class Relay(BaseHTTPRequestHandler):
    server_address: tuple[str, int]
    """Where the server is."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _LARGEST:
            self._answer(413, b"")
            return
        body = self.rfile.read(length)
        headers = {name: self.headers[name] for name in _PASSED if name in self.headers}
        server = http.client.HTTPConnection(*self.server_address, timeout=PATIENCE)
        try:
            server.request("POST", self.path, body, headers)
            told = server.getresponse()
            self._answer(told.status, told.read(_LARGEST))
        except (OSError, http.client.HTTPException) as error:
            self._answer(503, f"the server does not answer: {error}\n".encode())
        finally:
            server.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The server has a log of its own; without one this would be a line for every job and try."""


def serve(port: int, server: tuple[str, int]) -> HTTPServer:
    """Listening; the caller lets it serve."""
    return HTTPServer(("127.0.0.1", port), type("Bound", (Relay,), {"server_address": server}))


def main() -> None:
    told = json.loads(AGENT.read_text())
    serve(int(sys.argv[1]), (told["server"], int(told["http_port"]))).serve_forever()


if __name__ == "__main__":
    main()
