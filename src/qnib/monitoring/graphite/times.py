"""Graphite's times: ``-1h``, ``now-6h``, epoch seconds, ``14:30_20261120``, ``midnight``, ``yesterday``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from qnib.errors import WrongUse

_SIZES = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000, "year": 31_536_000,
}  # fmt: skip
_UNIT = re.compile(
    "(?P<second>s(?:ec(?:ond)?s?)?)|(?P<minute>m(?:in(?:ute)?s?)?)|(?P<hour>h(?:ours?)?)|(?P<day>d(?:ays?)?)"
    "|(?P<week>w(?:eeks?)?)|(?P<month>mon(?:ths?)?)|(?P<year>y(?:ears?)?)"
)
_OFFSET = re.compile(r"([+-])?(\d+)([a-z]+)")
_CLOCK = re.compile(r"(?:(\d{1,2}):(\d{2})_?)?(\d{8}|now|today|yesterday|tomorrow)?")
_HOURS = {"midnight": 0, "noon": 12, "teatime": 16}


def moment(text: str, now: datetime, zone: str = "UTC") -> datetime:
    """The moment `text` means, in UTC. A lone offset is before now. Raises WrongUse."""
    told = text.strip().lower().replace(" ", "")
    try:
        if re.fullmatch(r"\d+(\.\d+)?", told) and not _is_date(told):
            return datetime.fromtimestamp(float(told), UTC)
        base, offset = re.fullmatch(r"(.*?)((?:[+-](?:\d+[a-z]+)+)*)", told).groups()  # type: ignore[union-attr]
        return (_base(base, now, _zone(zone)) + _offset(offset)).astimezone(UTC)
    except (ValueError, OverflowError, KeyError, OSError) as error:
        raise WrongUse(
            f"{text!r} is no time.", where="from or until",
            try_next="write -1h, now, epoch seconds, 20261120 or 14:30_20261120.",
        ) from error  # fmt: skip


def _is_date(told: str) -> bool:
    return len(told) == 8 and 1900 < int(told[:4]) < 2200 and 0 < int(told[4:6]) < 13 and 0 < int(told[6:]) < 32


def _base(text: str, now: datetime, zone: tzinfo) -> datetime:
    if text in {"", "now"}:
        return now
    local = now.astimezone(zone)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in _HOURS:
        return day.replace(hour=_HOURS[text])
    found = _CLOCK.fullmatch(text)
    if not found:
        raise ValueError(text)
    hour, minute, date = found.groups()
    match date:
        case "yesterday":
            day -= timedelta(days=1)
        case "tomorrow":
            day += timedelta(days=1)
        case None | "today" | "now":
            pass
        case _:
            day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=zone)
    return day.replace(hour=int(hour or 0), minute=int(minute or 0))


def _offset(text: str) -> timedelta:
    return timedelta(seconds=seconds(text)) if text else timedelta()


def seconds(text: str) -> int:
    """Seconds of ``1h``, ``-1d``, ``1h30min``; a sign holds until the next one. Raises ValueError."""
    told = text.strip().lower()
    if not re.fullmatch(r"([+-]?\d+[a-z]+)+", told):
        raise ValueError(f"{text!r} is no length of time; write 5min, 1h or -1d")
    total, turn = 0, 1
    for sign, number, kind in _OFFSET.findall(told):
        turn = {"-": -1, "+": 1}.get(sign, turn)
        total += turn * int(number) * _SIZES[unit(kind)]
    return total


def unit(text: str) -> str:
    """What ``min``, ``hours`` or ``mon`` stand for: second, minute, hour, day, week, month or year."""
    found = _UNIT.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(f"{text!r} is no unit of time; there are {', '.join(_SIZES)}")
    return str(found.lastgroup)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(name) from error
