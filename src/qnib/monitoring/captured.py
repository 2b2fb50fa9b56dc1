"""Captured log files become records that the syslog and JSON parsers read: where one begins, which year, which host.

Only framing happens here: a record begins where a time stands, what follows belongs to it; lines of one kernel oops or
one Python traceback are one record; years that are not told follow from the order of the file and the time it was
captured, never later than that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from qnib.errors import WrongUse
from qnib.monitoring.joining import joined

KINDS = {
    "syslog": "/var/log/syslog, messages, auth.log; journalctl -o short", "slurmctld": "SlurmctldLogFile",
    "slurmd": "SlurmdLogFile", "slurmdbd": "LogFile of slurmdbd", "opensm": "opensm.log",
    "kmsg": "dmesg in any form, /dev/kmsg", "json": "one JSON object a line",
}  # fmt: skip
"""What files may be, and where such a file comes from."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ISO = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
_STAMP = rb"[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d|" + _ISO
_SYSLOG = re.compile(rb"(?m)^(?:<\d{1,3}>)?(?:1 )?(?:" + _STAMP + rb")")
_SLURM = re.compile(rb"(?m)^\[(" + _STAMP + rb")((?:[.]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\] ")
_OPENSM = re.compile(rb"(?m)^([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (\d{6}) \[[0-9A-F]+\] 0x([0-9A-Fa-f]+) -> ")
_KMSG = re.compile(
    rb"(?m)^(?:(?P<raw>\d+),\d+,(?P<micros>\d+),[^;\n]*;|"
    rb"(?:<(?P<number>\d{1,3})>|(?P<facility>[a-z0-9]+) *:(?P<level>[a-z]+) *: )?"
    rb"(?:\[ *(?P<seconds>\d+\.\d+)\] ?|\[(?P<day>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] ?"
    rb"|(?P<iso>" + _ISO + rb"[.,]\d+(?:Z|[+-]\d\d:\d\d)) ))"
)
_YEARLESS = re.compile(rb"(?:<\d{1,3}>)?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)")
_HALF_A_YEAR = 6 * 31
_SLURM_LEVELS = (
    (b"fatal", 2), (b"error", 3), (b"warning", 4), (b"Warning", 4), (b"debug", 7), (b"verbose", 6),
)  # fmt: skip
_OPENSM_LEVELS = {1: 3, 2: 6, 4: 7, 8: 7, 0x10: 7, 0x80: 5}
_KERNEL_LEVELS = {b"emerg": 0, b"alert": 1, b"crit": 2, b"err": 3, b"warn": 4, b"notice": 5, b"info": 6, b"debug": 7}
_DAEMON = 3 << 3


@dataclass(slots=True)
class Framed:
    """The records of a file in its order; lines before the first time are such, too, and will not parse."""

    records: list[bytes] = field(default_factory=list)
    note: str = ""
    """What had to be inferred, in words."""


def frame(kind: str, text: bytes, captured: datetime, *, host: str = "", year: int = 0) -> Framed:
    """The records of a file.

    `captured` is when the file was, in its own zone's clock (no record is later); `host` whom it speaks of where it
    does not say; `year` of the first record, 0: inferred. Raises WrongUse for a kind that is none or needs a host.
    """
    if kind not in KINDS:
        raise WrongUse(f"{kind!r} is no kind of log.", where="qnib load", try_next=f"known are: {', '.join(KINDS)}.")
    if kind == "kmsg" and not host:
        raise WrongUse(
            "Kernel messages do not say which host they are of.", where="kmsg", try_next="say which: --host compute3."
        )
    text = text.replace(b"\r\n", b"\n")
    if kind == "json":
        return Framed([line for line in text.split(b"\n") if line.strip()])
    if kind == "kmsg":
        return _kmsg(text, captured, host.encode())
    who = host.encode() or kind.encode()
    start, rewrite = {
        "syslog": (_SYSLOG, None), "opensm": (_OPENSM, _from_opensm(who)),
    }.get(kind, (_SLURM, _from_slurm(who, kind.encode())))  # fmt: skip
    framed = Framed()
    framed.records, before = _cut(text, start, rewrite)
    if kind == "syslog":
        framed.records = joined(framed.records)
    framed.records[:0] = [line for line in before.split(b"\n") if line.strip()]
    framed.note = _with_years(framed.records, captured, year)
    return framed


def _cut(
    text: bytes, start: re.Pattern[bytes], rewrite: Callable[[re.Match[bytes]], bytes] | None
) -> tuple[list[bytes], bytes]:
    """The records, each from its start to the next one's, and what stands before the first."""
    heads = list(start.finditer(text))
    if not heads:
        return [], text
    ends = [head.start() for head in heads[1:]] + [len(text)]
    records = []
    for head, end in zip(heads, ends, strict=True):
        if rewrite is None:
            records.append(text[head.start() : end].rstrip(b"\n\0 "))
        else:
            rest = text[head.end() : end].rstrip(b"\n\0 ")
            records.append(rewrite(head) + rest)
    return records, text[: heads[0].start()]


def _from_slurm(host: bytes, app: bytes) -> Callable[[re.Match[bytes]], bytes]:
    def rewrite(head: re.Match[bytes]) -> bytes:
        rest = head.string[head.end() : head.end() + 12]
        level = next((number for word, number in _SLURM_LEVELS if rest.startswith(word)), 6)
        return b"<%d>%b%b %b %b: " % (_DAEMON | level, head[1], head[2], host, app)

    return rewrite


def _from_opensm(host: bytes) -> Callable[[re.Match[bytes]], bytes]:
    def rewrite(head: re.Match[bytes]) -> bytes:
        level = _OPENSM_LEVELS.get(int(head[3], 16), 6)
        return b"<%d>%b.%b %b opensm: " % (_DAEMON | level, head[1], head[2], host)

    return rewrite


# ── kernel messages ───────────────────────────────────────────────────────────────────────────


def _kmsg(text: bytes, captured: datetime, host: bytes) -> Framed:
    """Times since boot are counted back from the last one, which was no later than the capture."""
    framed = Framed()
    heads = list(_KMSG.finditer(text))
    latest = max((micros for head in heads if (micros := _since_boot(head)) is not None), default=None)
    boot = captured - timedelta(microseconds=latest) if latest is not None else captured
    if latest is not None:
        framed.note = f"booted at {boot:%Y-%m-%d %H:%M:%S}: the last message was taken to be as old as the file"
    at = 0
    records: list[bytes] = []
    for head in [*heads, None]:
        rest = text[at : head.start() if head else len(text)].rstrip(b"\n\0 ")
        if records and at:
            records[-1] += rest
        elif rest.strip():  # no time anywhere before: the capture's own
            head_ = b"<4>%b %b kernel: " % (_text(captured), host)
            records.extend(head_ + one for one in rest.split(b"\n") if one.strip())
        if head:
            records.append(b"<%d>%b %b kernel: " % (_priority(head), _time(head, boot), host))
            at = head.end()
    framed.records = joined(records)
    return framed


def _since_boot(head: re.Match[bytes]) -> int | None:
    if head["micros"]:
        return int(head["micros"])
    return round(float(head["seconds"]) * 1e6) if head["seconds"] else None


def _time(head: re.Match[bytes], boot: datetime) -> bytes:
    if (micros := _since_boot(head)) is not None:
        return _text(boot + timedelta(microseconds=micros))
    if head["day"]:
        return _text(datetime.strptime(head["day"].decode(), "%a %b %d %H:%M:%S %Y"))
    return head["iso"].replace(b",", b".", 1)


def _priority(head: re.Match[bytes]) -> int:
    """Facility and level as one number; kern.warning where nothing is told, as the kernel has it."""
    if told := head["raw"] or head["number"]:
        return min(int(told), 191)
    facility = 0 if head["facility"] in (None, b"kern") else 1
    return facility << 3 | _KERNEL_LEVELS.get(head["level"], 4)


def _text(at: datetime) -> bytes:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f").encode()


# ── years ─────────────────────────────────────────────────────────────────────────────────────


def _with_years(records: list[bytes], captured: datetime, first: int) -> str:
    """Put a year before each time that has none, in place. Returns what was inferred, in words.

    From one record to the next the month goes back by half a year only at a new year; a record of November or
    December after ones of January or February is a late one of the old year, once there was a new one.
    """
    found = [(place, match) for place, record in enumerate(records) if (match := _YEARLESS.match(record))]
    found = [(place, match) for place, match in found if match[1].decode() in MONTHS]
    if not found:
        return ""
    shifts, shift, before = [], 0, None
    moments = []
    for _, match in found:
        month, day = MONTHS.index(match[1].decode()) + 1, int(match[2])
        place = month * 31 + day
        if before is not None and before - place > _HALF_A_YEAR:
            shift += 1
        elif before is not None and shift and before < 3 * 31 and place > 11 * 31:
            shift -= 1
        before = place
        shifts.append(shift)
        moments.append((month, day, int(match[3]), int(match[4]), int(match[5])))
    year = first or _first_year(shifts, moments, captured)
    for (place, match), shift, (month, day, *_) in zip(found, shifts, moments, strict=True):
        record = records[place]
        stamp = b"%04d-%02d-%02dT" % (year + shift, month, day)
        records[place] = record[: match.start(1)] + stamp + record[match.start(3) :]
    last = year + max(shifts)
    told = f"{year + min(shifts)} to {last}" if min(shifts) != max(shifts) else str(last)
    return "" if first else f"the year was not told; taken to be {told}, as the file is of {captured:%Y-%m-%d}"


def _first_year(shifts: list[int], moments: Sequence[tuple[int, ...]], captured: datetime) -> int:
    """The latest year of the first record in which all days exist and none is later than the capture."""
    latest = max((shift, *moment) for shift, moment in zip(shifts, moments, strict=True))
    leaps = {shift for shift, (month, day, *_) in zip(shifts, moments, strict=True) if (month, day) == (2, 29)}
    end = captured + timedelta(hours=14)  # a zone that was not said may be so far ahead
    limit = (end.month, end.day, end.hour, end.minute, end.second)
    for year in range(captured.year - latest[0] + 1, captured.year - latest[0] - 9, -1):
        here = year + latest[0]
        if here > end.year or (here == end.year and latest[1:] > limit):
            continue
        if all(_leap(year + shift) for shift in leaps):
            return year
    return captured.year - latest[0]


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def pieces(records: list[bytes], octets: int) -> Iterator[list[bytes]]:
    """The records in order, in lists of about so many octets."""
    piece: list[bytes] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record)
        if size >= octets:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
