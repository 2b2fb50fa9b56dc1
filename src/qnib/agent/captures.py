"""Runs a domain's captures: on their interval, at once when a log line says something changed, never in the way.

Nothing waits for a command: its output is collected by the poll loop. What failed is not sent, because an
empty answer would mean that nothing is there any more.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from qnib.model import Capture

LARGEST = 64 << 20
"""Octets of one answer; what is larger is not sent."""
SOON, AFTERWARDS = 0.15, 3.0
"""Seconds from a log line to the capture it triggers, and to a second one for what was still under way."""
GENTLE = 20
"""A command may run again after this many times the duration of its last run, at least `LEAST` seconds."""
LEAST = 2.0
QUIET, LATEST = 3.0, 60.0
"""A watched file that changed is looked at when it has rested so many seconds, at the latest after so many: packages
are installed by the dozen."""
SLICE, LONGEST = 16 << 10, 62.0
"""The larger the answers, the more there is to work for who gives them: a command rests as many seconds as the
domain's largest answer has slices of 16 KiB, up to a minute and a bit; and two commands of the domain begin at least
half of that apart. So no minute sees more than two of them on the largest of sites."""


NOT_HERE = 77
"""The status of a command whose source is not there (accounting, say): no fault, and nothing to tell."""


class Pace:
    """How quickly the captures of one domain may follow each other: a small answer of a big site is still that site's,
    so the largest of them decides."""

    def __init__(self) -> None:
        self.free_at = 0.0
        """When the next command of the domain may begin."""
        self._sizes: dict[str, int] = {}

    def told(self, name: str, octets: int) -> None:
        self._sizes[name] = octets

    def begin(self, now: float) -> None:
        self.free_at = now + self._rest() / 2

    def pause(self, took: float) -> float:
        """Seconds from the end of a run that took so long to the next one of the same capture."""
        return max(LEAST, min(LONGEST, GENTLE * took), self._rest())

    def _rest(self) -> float:
        return min(LONGEST, max(self._sizes.values(), default=0) / SLICE)


class Task:
    """One capture of one domain and its running command, if any."""

    def __init__(
        self, name: str, capture: Capture, now: float, pace: Pace | None = None, host: str = "", first: float = 0.0
    ) -> None:
        """`first`: seconds until the first run."""
        self.name = name
        self.capture = capture
        self.pace = pace or Pace()
        self.due = now + first
        self.reader = capture.start(host) if capture.start is not None else None
        self.process: subprocess.Popen[bytes] | None = None
        self.answer = bytearray()
        self.taken_at = 0.0
        """Wall clock when the command was started: what it tells held at that time or later."""
        triggers = "|".join(f"(?:{trigger})" for trigger in capture.triggers)
        self._trigger = re.compile(triggers.encode()) if triggers else None
        self._started = now
        self._next_allowed = now
        self._again = 0.0
        self._files = signs(capture.watch)
        self._changed = 0.0
        """When a watched file first changed since the last run; 0: none did."""

    def look(self, now: float) -> None:
        """Look at the watched files: a change makes the capture due soon, their absence never."""
        if not self.capture.watch:
            return
        files = signs(self.capture.watch)
        if not any(files):
            self._files, self._changed, self.due = files, 0.0, now + self.capture.interval
        elif files != self._files:
            self._files, self._changed = files, self._changed or now
            self.due = max(min(now + QUIET, self._changed + LATEST), self._next_allowed)

    def notice(self, message: bytes, now: float) -> None:
        """Look at a log line: does it say that this capture would see something new?"""
        if self._trigger is not None and self._trigger.search(message):
            self.due = min(self.due, max(now + SOON, self._next_allowed))
            self._again = now + AFTERWARDS

    def begin(self, now: float) -> str | None:
        """Begin; gives the text at once where no process is needed for it. None: one runs, or nothing is new."""
        self.taken_at = time.time()
        self._started = now
        self._changed = 0.0
        self.due = now + self.capture.interval
        if self.reader is not None:
            return self.reader()
        self.pace.begin(now)
        if self.capture.command[0] == "cat":
            return read_files(self.capture.command[1:])
        import subprocess

        self.answer.clear()
        self.process = subprocess.Popen(
            self.capture.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdout is not None  # noqa: S101 - told to the type checker
        os.set_blocking(self.process.stdout.fileno(), False)
        return None

    @property
    def ready_at(self) -> float:
        """When it is to begin: when it is due, and its domain's turn has come."""
        return max(self.due, self.pace.free_at)

    @property
    def descriptor(self) -> int:
        return self.process.stdout.fileno() if self.process and self.process.stdout else -1

    def overdue(self, now: float) -> bool:
        return self.process is not None and now - self._started > self.capture.timeout

    def read(self) -> bool:
        """Take what the command has written; whether it has closed its output."""
        while True:
            try:
                part = os.read(self.descriptor, 65536)
            except BlockingIOError:
                return False
            if not part:
                return True
            self.answer += part
            if len(self.answer) > LARGEST:
                return True

    def finish(self, now: float) -> int:
        """Reap the command, ending it where it did not end itself; gives its exit status."""
        import subprocess

        process = self.process
        if process is None:
            return 0
        if self.overdue(now) or len(self.answer) > LARGEST:
            self.kill()
        try:
            status = process.wait(1.0)  # its output is closed: it is about to end
        except subprocess.TimeoutExpired:
            self.kill()
            status = process.wait()
        if process.stdout:
            process.stdout.close()
        self.process = None
        self.settled(now, status)
        return status

    def settled(self, now: float, status: int) -> None:
        """Decide when the next run may be, from what this one took and gave."""
        took = now - self._started
        if status == 0:
            self.pace.told(self.name, len(self.answer))
            rest = self.pace.pause(took)
        elif status == NOT_HERE:
            self.pace.free_at = now
            rest = LEAST
        else:  # a daemon that is not there yet makes its tools wait, and nobody was asked anything
            rest = max(LEAST, took)
        self._next_allowed = now + rest
        self.due = max(self.due, self._next_allowed)
        if self._again > now:
            self.due = min(self.due, max(self._again, self._next_allowed))

    def kill(self) -> None:
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


def signs(paths: Sequence[str]) -> list[tuple[int, int, int] | None]:
    """What tells whether a file changed: its number, size and time; None where there is none."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            told = os.stat(path)  # noqa: PTH116 - called every second on a node, pathlib costs
        except OSError:
            found.append(None)
        else:
            found.append((told.st_ino, told.st_size, told.st_mtime_ns))
    return found


def read_files(paths: Sequence[str]) -> str:
    """The files one after the other; those that are not there count as empty."""
    parts = []
    for path in paths:
        try:
            parts.append(Path(path).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return "".join(parts)
