"""What stands between slurmctld and the server when a job ends: it always answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from qnib.terminal.inside.jobcomp import serve
from tests.conftest import free_ports

took: list[tuple[str, str, bytes]] = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        took.append((self.path, self.headers["Authorization"], body))
        self.send_response(201)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Of the relay, which runs, and of its server, which does not yet."""
    relay, server = free_ports(2)
    made = serve(relay, ("127.0.0.1", server))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield relay, server
    made.shutdown()
    made.server_close()


def post(port: int) -> tuple[int, bytes]:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asking.request("POST", "/slurm/_doc", b'{"jobid": 7}', {"Authorization": "Basic eA==", "X-Other": "1"})
        told = asking.getresponse()
        return told.status, told.read()
    finally:
        asking.close()


def test_without_a_server_there_is_an_answer_and_with_one_it_is_the_servers(ports: tuple[int, int]) -> None:
    relay, server = ports
    status, told = post(relay)
    assert status == 503 and b"does not answer" in told
    there = HTTPServer(("127.0.0.1", server), Server)
    threading.Thread(target=there.serve_forever, daemon=True).start()
    try:
        assert post(relay) == (201, b"ok")
    finally:
        there.shutdown()
        there.server_close()
    assert took == [("/slurm/_doc", "Basic eA==", b'{"jobid": 7}')]
