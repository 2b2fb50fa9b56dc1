"""Log lines: from the syslog socket and from files, to RFC 5424 records framed by octet counting."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

LONGEST = 60_000
"""Octets of one message; what is longer is cut."""

_HEAD = re.compile(rb"^<(\d{1,3})>(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{4}-\d\d-\d\dT\S+ )?")
_TAG = re.compile(rb"^([\w.@/+-]{1,48})(?:\[(\d+)\])?: ?")
_SPOILT = re.compile(rb"^.{0,64}?\[(\d+)\]: ?", re.DOTALL)
GARBLED = ("slurmd", "slurmstepd", "slurmctld")
"""Programs that hand syslog a name whose memory they have freed: the kernel's word for who they are counts."""
# Timestamps that programs write at the start of their own log files, in the machine's zone.
_SLURM = re.compile(rb"^\[(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?\] ")
_OPENSM = re.compile(
    rb"^([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{6}) \[[0-9A-F]+\] 0x([0-9A-F]{2}) -> "
)
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_LEVELS = ((b"error:", 3), (b"fatal:", 2), (b"warning:", 4), (b"debug", 7))
_OPENSM_LEVELS = {b"01": 4, b"02": 6, b"04": 7, b"08": 7}

DAEMON, USER, INFO = 3, 1, 6


def frame(facility: int, severity: int, seconds: float, host: str, app: str, pid: str, message: bytes) -> bytes:
    """One record ready to send. Newlines stay: the frame counts octets."""
    whole = time.gmtime(seconds)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', whole)}.{int(seconds % 1 * 1e6):06d}Z"
    head = f"<{facility * 8 + severity}>1 {stamp} {host} {app or '-'} {pid or '-'} - - "
    record = head.encode("ascii", "replace") + message[:LONGEST]
    return b"%d %b" % (len(record), record)


def from_socket(datagram: bytes, host: str, now: float, sender: int = 0) -> tuple[bytes, bytes]:
    """A datagram of the syslog socket as (record, message); the time is its arrival, which is the same moment here.

    `sender` is the process the kernel saw sending it; it tells who that is where the datagram does not.
    """
    datagram = datagram.rstrip(b"\n\0")
    head = _HEAD.match(datagram)
    priority = int(head[1]) if head and int(head[1]) <= 191 else USER * 8 + 5
    rest = datagram[head.end():] if head else datagram
    name, pid = program(sender), ""
    if tag := _TAG.match(rest):
        pid, message = (tag[2] or b"").decode(), rest[tag.end():]
        app = name if name in GARBLED else tag[1].decode("ascii", "replace")
    elif spoilt := _SPOILT.match(rest):
        app, pid, message = name, spoilt[1].decode(), rest[spoilt.end():]
    else:
        app, message = name, rest
    return frame(priority >> 3, priority & 7, now, host, app, pid, message), message


def program(pid: int) -> str:
    """The name of a running process; nothing when it has ended."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace") if pid > 0 else ""
    except OSError:
        return ""
    return "".join(c if "!" <= c <= "~" else "_" for c in name.strip())[:48]


def from_file(line: bytes, host: str, app: str, now: float) -> tuple[bytes, bytes]:
    """A line of a log file as (record, message): its own time and level are taken off where we know the form."""
    seconds, severity = now, INFO
    if found := _SLURM.match(line):
        seconds = _moment([int(part) for part in found.groups()[:6]], now) + float(found[7] or 0)
        line = line[found.end():]
        severity = next((level for word, level in _LEVELS if line.startswith(word)), INFO)
    elif (found := _OPENSM.match(line)) and found[1] in _MONTHS:
        year = time.localtime(now).tm_year
        rest = [_MONTHS.index(found[1]) + 1, *(int(part) for part in found.groups()[1:5])]
        seconds = _moment([year, *rest], now) + int(found[6]) / 1e6
        if seconds > now + 86400:  # written in December, read in January
            seconds = _moment([year - 1, *rest], now) + int(found[6]) / 1e6
        severity = _OPENSM_LEVELS.get(found[7], INFO)
        line = line[found.end():]
    return frame(DAEMON, severity, seconds, host, app, "", line), line


def _moment(parts: list[int], otherwise: float) -> float:
    """Epoch seconds of year … second in the machine's zone; time.strptime would cost a megabyte of imports."""
    year, month, day, hour, minute, second = parts
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (ValueError, OverflowError):
        return otherwise


class Tail:
    """Follows one log file through rotation and truncation; a line without its end waits for it."""

    def __init__(self, path: str, app: str, from_start: bool) -> None:
        self._file = Path(path)
        self.app = app
        self._descriptor = -1
        self._offset = 0
        self._inode = -1
        self._half = b""
        self._skip = not from_start

    def read(self) -> list[bytes]:
        """The lines that were added since the last call, a bounded number of octets at a time."""
        try:
            state = self._file.stat()
        except OSError:
            self._skip = False  # a file that appears later is read from its start
            return self._rest()
        if state.st_ino != self._inode:
            rest = self._rest()
            try:
                self._descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return rest
            self._inode, self._offset, self._half = state.st_ino, state.st_size if self._skip else 0, b""
            self._skip = False
            return rest + self._lines()
        if state.st_size < self._offset:
            self._offset, self._half = 0, b""
        return self._lines() if state.st_size > self._offset else []

    def _rest(self) -> list[bytes]:
        """What the file still held when it was taken away."""
        if self._descriptor < 0:
            return []
        lines = self._lines()
        os.close(self._descriptor)
        self._descriptor, self._inode = -1, -1
        return lines

    def _lines(self) -> list[bytes]:
        try:
            part = os.pread(self._descriptor, 1 << 18, self._offset)
        except OSError:
            return []
        self._offset += len(part)
        *lines, self._half = (self._half + part).split(b"\n")
        if len(self._half) > LONGEST:
            lines.append(self._half)
            self._half = b""
        return [line for line in lines if line.strip()]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
