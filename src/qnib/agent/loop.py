"""The agent's one loop: sockets, files, clocks and commands, each served when it has something.

Nothing that happens around it may end it: no server, odd lines, vanished cgroups, hanging tools.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from qnib.agent.captures import NOT_HERE, Pace, Task
from qnib.agent.lines import Tail, frame, from_file, from_socket
from qnib.agent.post import Post
from qnib.agent.wire import Line
from qnib.domains.paths import segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qnib.agent.config import Config
    from qnib.model import Domain

LOOK = {"node": 0.5, "controller": 0.2, "fabric": 0.2}
"""Seconds between two looks at the log files."""
SLOW, START = 600, 10.0
"""What is captured so rarely (seconds) can wait when a machine starts: its first time comes within one to two times
`START` seconds, spread over the hosts."""
SLOWEST = 60.0
"""A reading that takes long is called less often, down to once in this many seconds."""
CREDENTIALS, CREDENTIAL = socket.CMSG_SPACE(12), socket.SCM_CREDENTIALS
"""The kernel tells pid, uid and gid of whoever sent a datagram."""
LAST_WORDS = 1.0
"""Seconds the agent takes to send what it has when it is told to end."""


class _Clock:
    """One reading and when it is due."""

    def __init__(self, interval: float, first: float, read: Callable[[], Sequence[tuple[str, float]]]) -> None:
        self.interval = self.pace = interval
        self.due = first
        self.read = read


class Loop:
    def __init__(self, config: Config, domains: Sequence[Domain]) -> None:
        now = time.monotonic()
        self.config = config
        self.carbon = Line((config.server, config.carbon_port), config.buffer)
        self.syslog = Line((config.server, config.syslog_port), config.buffer)
        headers = {"Authorization": f"Bearer {config.token}", "X-Qnib-Host": config.host}
        self.post = Post((config.server, config.http_port), headers)
        self.tails = [Tail(*entry) for entry in config.tail]
        paces = {domain.name: Pace() for domain in domains}
        turn = zlib.crc32(config.host.encode()) % 1000 / 1000
        self.tasks = [
            Task(
                f"{domain.name}/{capture.name}", capture, now, paces[domain.name], config.host,
                first=(1 + turn) * START if capture.interval >= SLOW else 0.0,
            )
            for domain in domains for capture in domain.captures if capture.role in config.roles
        ]
        self.clocks: list[_Clock] = []
        for domain in domains:
            for reading in domain.readings:
                if reading.role in config.roles:
                    interval = config.interval if reading.role == "node" else reading.interval
                    # Hosts take turns within the interval: together they would make the load they measure.
                    first = now + turn * min(interval, 5)
                    self.clocks.append(_Clock(interval, first, reading.start(config.host)))
        self.clocks.append(_Clock(config.interval, now + config.interval, self._myself))
        self._poll = select.poll()
        self._log = self._open_log()
        self._wake, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._look_at = now
        self._complained: dict[str, float] = {}
        self._cpu = (now, time.process_time())
        self._memory = (-1e9, 0)

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        self._poll.register(self._wake, select.POLLIN)
        if self._log is not None:
            self._poll.register(self._log, select.POLLIN)
        while not self._stopping:
            self.turn()
        self._end()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        now = time.monotonic()
        self._start_connections(now)
        for descriptor, happened in self._poll.poll(max(0, int(1000 * (self._next(now) - now)) + 1)):
            self._serve(descriptor, happened, time.monotonic())
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK[self.config.role]
            self._read_tails(now)
            for task in self.tasks:
                task.look(now)
        for clock in self.clocks:
            if now >= clock.due:
                self._read(clock)
        for task in self.tasks:
            if task.overdue(now):
                self._finish(task, now)
            elif task.process is None and now >= task.ready_at:
                self._capture(task, now)

    def _next(self, now: float) -> float:
        times = [self._look_at, *(clock.due for clock in self.clocks)]
        times += [task.ready_at for task in self.tasks if task.process is None]
        if any(task.process for task in self.tasks) or self.post.waiting:
            times.append(now + 0.5)
        times += [line.retry_at for line in (self.carbon, self.syslog) if line.socket is None]
        return max(now, min(times))

    def _end(self) -> None:
        until = time.monotonic() + LAST_WORDS
        self._read_tails(time.monotonic())
        while (now := time.monotonic()) < until and any(
            line.connected and line.waiting for line in (self.carbon, self.syslog)
        ):
            self._start_connections(now)
            for descriptor, happened in self._poll.poll(50):
                if descriptor != self._wake:
                    self._serve(descriptor, happened, now)
        for task in self.tasks:
            task.kill()
        for tail in self.tails:
            tail.close()
        if self._log is not None:
            self._log.close()
            Path(self.config.log_socket).unlink(missing_ok=True)

    # ── sockets ───────────────────────────────────────────────────────────────────────────────

    def _open_log(self) -> socket.socket | None:
        if not self.config.log_socket:
            return None
        path = Path(self.config.log_socket)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            path.unlink(missing_ok=True)  # left behind by an agent that was killed
            opened.bind(str(path))
            path.chmod(0o666)  # every program may log, as with any syslog daemon
        except OSError as error:
            opened.close()
            self._complain("log socket", f"cannot listen on {path}: {error.strerror}; programs here log in vain")
            return None
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return opened

    def _start_connections(self, now: float) -> None:
        for link in (self.carbon, self.syslog, self.post):
            before = link.socket
            if link.connect(now) and link.socket is not None:
                self._poll.register(link.socket, link.events())
            elif link.socket is not None and link.socket is before:
                self._poll.modify(link.socket, link.events())
            elif before is not None and link.socket is not before:
                self._complain("server", f"{link.address[0]}:{link.address[1]} does not answer")

    def _serve(self, descriptor: int, happened: int, now: float) -> None:
        if descriptor == self._wake:
            os.read(self._wake, 64)
            return
        if self._log is not None and descriptor == self._log.fileno():
            self._receive(now)
            return
        for link in (self.carbon, self.syslog, self.post):
            opened = link.socket
            if opened is not None and opened.fileno() == descriptor:
                if link.ready(happened, now):
                    self._poll.modify(opened, link.events())
                else:  # closing a socket does not take it off the list, and its number will be used again
                    self._poll.unregister(descriptor)
                return
        for task in self.tasks:
            if task.process is not None and task.descriptor == descriptor:
                if task.read():
                    self._finish(task, now)
                return
        self._poll.unregister(descriptor)

    def _receive(self, now: float) -> None:
        for _ in range(500):  # then the others have their turn
            try:
                datagram, told, _, _ = self._log.recvmsg(65536, CREDENTIALS) if self._log else (b"", [], 0, None)
            except OSError:
                return
            sender = next((int.from_bytes(data[:4], sys.byteorder) for _, kind, data in told if kind == CREDENTIAL), 0)
            record, message = from_socket(datagram, self.config.host, time.time(), sender)
            self.syslog.add(record)
            for task in self.tasks:
                task.notice(message, now)

    def _read_tails(self, now: float) -> None:
        for tail in self.tails:
            for line in tail.read():
                record, message = from_file(line, self.config.host, tail.app, time.time())
                self.syslog.add(record)
                for task in self.tasks:
                    task.notice(message, now)

    # ── numbers and captures ──────────────────────────────────────────────────────────────────

    def _read(self, clock: _Clock) -> None:
        began = time.monotonic()
        stamp = int(time.time())
        try:
            points = clock.read()
        except Exception as error:  # noqa: BLE001 - a domain's fault must not end the agent; it is told, not hidden
            points = ()
            self._complain(f"reading {clock.read}", f"a reading failed: {error!r}")
        for path, value in points:
            self.carbon.add(f"{path} {value:.15g} {stamp}\n".encode())
        now = time.monotonic()
        slow = now - began > clock.interval / 2
        clock.pace = min(SLOWEST, clock.pace * 2) if slow else clock.interval
        clock.due = max(clock.due + clock.pace, now)

    def _capture(self, task: Task, now: float) -> None:
        try:
            text = task.begin(now)
        except OSError as error:
            self._complain(task.name, f"cannot run {task.capture.command[0]}: {error.strerror}")
            return
        except Exception as error:  # noqa: BLE001 - as with readings
            self._complain(task.name, f"capture {task.name} failed: {error!r}")
            return
        if text is not None:
            self._deliver(task, text.encode())
        elif task.process is not None:
            self._poll.register(task.descriptor, select.POLLIN)

    def _finish(self, task: Task, now: float) -> None:
        self._poll.unregister(task.descriptor)
        late = task.overdue(now)
        status = task.finish(now)
        if status == NOT_HERE and not late:
            task.answer.clear()
            return
        if status:
            why = f"took more than {task.capture.timeout:.0f} s" if late else f"ended with status {status}"
            self._complain(task.name, f"capture {task.name} {why}; nothing is sent of it")
        else:
            self._deliver(task, bytes(task.answer))
        task.answer.clear()

    def _deliver(self, task: Task, text: bytes) -> None:
        whole = time.gmtime(task.taken_at)
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', whole)}.{int(task.taken_at % 1 * 1e6):06d}Z"
        self.post.add(task.name, at, text)

    def _myself(self) -> list[tuple[str, float]]:
        """What the agent costs, and what it had to drop."""
        base = f"servers.{segment(self.config.host)}.agent"
        now, used = time.monotonic(), time.process_time()
        share = 100 * (used - self._cpu[1]) / max(1e-3, now - self._cpu[0])
        self._cpu = now, used
        if now - self._memory[0] > 60:  # the kernel walks our pages for this
            self._memory = now, own_memory()
        if self.post.refused:
            self._complain("refused", f"the server refused a capture: {self.post.refused}")
            self.post.refused = ""
        dropped = self.carbon.dropped + self.syslog.dropped
        return [(f"{base}.cpu", round(share, 3)), (f"{base}.memory", self._memory[1]), (f"{base}.dropped", dropped)]

    def _complain(self, about: str, message: str) -> None:
        """Tell once a minute per subject, on standard error and to the server."""
        now = time.monotonic()
        if now - self._complained.get(about, -1e9) < 60:
            return
        self._complained[about] = now
        print(f"qnib-agent: {message}", file=sys.stderr, flush=True)  # noqa: T201 - standard error is its log
        self.syslog.add(frame(3, 4, time.time(), self.config.host, "qnib-agent", str(os.getpid()), message.encode()))


def own_memory() -> int:
    """Octets of this process' own share of memory (PSS)."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
