"""Connections that come back: bounded, in whole records, with every drop counted."""

from __future__ import annotations

import select
import time

from tests.agent.server import Listener, until

from qnib.agent.post import Post
from qnib.agent.wire import Line


def pump(link: Line | Post, seconds: float = 0.2) -> None:
    """What the loop does for one link."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        link.connect(now)
        if link.socket is None:
            time.sleep(0.01)
            continue
        poll = select.poll()
        poll.register(link.socket, link.events())
        for _, happened in poll.poll(20):
            link.ready(happened, time.monotonic())


def test_records_arrive_in_order() -> None:
    server = Listener()
    line = Line(("127.0.0.1", server.port), 1 << 20)
    for number in range(1000):
        line.add(b"%d\n" % number)
    pump(line)
    assert until("all records", lambda: len(server.text.split()) == 1000)
    assert server.text.split() == [str(number) for number in range(1000)]
    assert line.waiting == 0


def test_oldest_are_dropped_and_counted_while_nobody_listens() -> None:
    free = Listener()
    port = free.port
    free.close()
    line = Line(("127.0.0.1", port), 1000)
    for number in range(500):
        line.add(b"%09d\n" % number)
    pump(line, 0.1)
    assert line.dropped == 400
    server = Listener(port=port)
    pump(line, 2)
    assert until("the rest", lambda: len(server.text.split()) == 100)
    assert server.text.split()[0] == "000000400"


def test_comes_back_after_the_server_went() -> None:
    server = Listener()
    line = Line(("127.0.0.1", server.port), 1 << 20)
    line.add(b"before\n")
    pump(line)
    assert until("the first record", lambda: "before" in server.text)
    server.close()
    pump(line, 0.1)
    again = Listener(port=server.port)
    line.add(b"after\n")
    pump(line, 3)
    assert until("the record after", lambda: "after" in again.text)


def test_a_record_half_sent_is_sent_again_whole() -> None:
    server = Listener()
    line = Line(("127.0.0.1", server.port), 64 << 20)
    line.add(b"x" * (32 << 20) + b"\n")
    now = time.monotonic()
    line.connect(now)
    poll = select.poll()
    assert line.socket is not None
    poll.register(line.socket, select.POLLOUT)
    poll.poll(1000)
    line.ready(select.POLLOUT, now)
    assert 0 < line.waiting < (32 << 20) + 1
    line.close(now)
    assert line.waiting == (32 << 20) + 1


OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


def test_post_delivers_and_keeps_the_newest_only() -> None:
    server = Listener(OK)
    post = Post(("127.0.0.1", server.port), {"Authorization": "Bearer t", "X-Qnib-Host": "n1"})
    post.add("slurm/jobs", "2026-11-20T12:00:00Z", b"old")
    post.add("slurm/jobs", "2026-11-20T12:00:30Z", b"new")
    post.add("slurm/nodes", "2026-11-20T12:00:31Z", b"nodes")
    pump(post, 0.5)
    assert not post.waiting
    assert server.text.count("POST ") == 2
    assert "old" not in server.text
    assert "POST /api/collect/slurm/jobs HTTP/1.1" in server.text
    assert "X-Qnib-At: 2026-11-20T12:00:30Z" in server.text
    assert post.replaced == 1


def test_post_tries_again_later_but_not_what_was_refused() -> None:
    busy = Listener(b"HTTP/1.1 503 Busy\r\n\r\n")
    post = Post(("127.0.0.1", busy.port), {})
    post.add("a/b", "t", b"text")
    pump(post, 0.2)
    assert post.waiting
    busy.close()
    server = Listener(OK, port=busy.port)
    pump(post, 3)
    assert not post.waiting and "text" in server.text
    refusing = Listener(b"HTTP/1.1 404 Not Found\r\n\r\n")
    post = Post(("127.0.0.1", refusing.port), {})
    post.add("a/b", "t", b"text")
    pump(post, 0.3)
    assert not post.waiting and post.refused == "404 for a/b"
