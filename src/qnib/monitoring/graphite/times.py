"""Graphite's times: ``-1h``, ``now-6h``, epoch seconds, ``14:30_20261120``, ``6pm``, ``monday``, ``12/30/20``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from qnib.errors import WrongUse

_LONGEST = 100  # characters; what is read takes their square
_SIZES = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000, "year": 31_536_000,
}  # fmt: skip
_UNIT = re.compile(
    "(?P<second>s(?:ec(?:ond)?s?)?)|(?P<minute>m(?:in(?:ute)?s?)?)|(?P<hour>h(?:ours?)?)|(?P<day>d(?:ays?)?)"
    "|(?P<week>w(?:eeks?)?)|(?P<month>mon(?:ths?)?)|(?P<year>y(?:ears?)?)"
)
_OFFSET = re.compile(r"([+-])?(\d+)([a-z]+)")
_CLOCK = re.compile(r"(?:(\d{1,2}):?(\d{2})?(am|pm)?|noon|midnight|teatime)")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NEAR = {"": 0, "today": 0, "now": 0, "yesterday": -1, "tomorrow": 1}
_HOURS = {"midnight": 0, "noon": 12, "teatime": 16}


def moment(text: str, now: datetime, zone: str = "UTC") -> datetime:
    """The moment `text` means, in UTC. A lone offset is before now. Raises WrongUse."""
    told = text.strip().lower().replace(" ", "")
    try:
        if len(told) > _LONGEST:
            raise ValueError
        if re.fullmatch(r"\d+(\.\d+)?", told) and not _is_date(told):
            return datetime.fromtimestamp(float(told), UTC)
        base, offset = re.fullmatch(r"(.*?)((?:[+-](?:\d+[a-z]+)+)*)", told, re.DOTALL).groups()  # type: ignore[union-attr]
        return (_base(base, now, _zone(zone)) + _offset(offset)).astimezone(UTC)
    except (ValueError, OverflowError, KeyError, OSError) as error:
        raise WrongUse(
            f"{text[:_LONGEST]!r} is no time.", where="from or until",
            try_next="write -1h, now, epoch seconds, 20261120 or 14:30_20261120.",
        ) from error  # fmt: skip


def _is_date(told: str) -> bool:
    return len(told) == 8 and 1900 < int(told[:4]) < 2200 and 0 < int(told[4:6]) < 13 and 0 < int(told[6:]) < 32


def _base(text: str, now: datetime, zone: tzinfo) -> datetime:
    """``now``, or a time of day and a day in either order of nothing: ``6pm_20201230``, ``noon``, ``12/30/20``."""
    if text in {"", "now"}:
        return now
    local = now.astimezone(zone)
    head, mark, tail = text.partition("_")
    clock, date = (head, tail) if mark else _clock_and_date(text)
    hour, minute = _clock(clock) if clock else (0, 0)
    return _day(date, local).replace(hour=hour, minute=minute, second=0, microsecond=0)


def _clock_and_date(text: str) -> tuple[str, str]:
    """Told apart: a time of day has a colon, am, pm or a name; what follows it is the day."""
    found = re.match(r"(?:\d{1,2}:\d{2}(?:am|pm)?|\d{1,2}(?:am|pm)|noon|midnight|teatime)", text)
    return (found[0], text[found.end() :]) if found else ("", text)


def _clock(text: str) -> tuple[int, int]:
    found = _CLOCK.fullmatch(text)
    if not found:
        raise ValueError(text)
    if text in _HOURS:
        return _HOURS[text], 0
    hour, minute, half = found.groups()
    number = int(hour) % 12 + (12 if half == "pm" else 0) if half else int(hour)
    return number, int(minute or 0)


def _day(text: str, local: datetime) -> datetime:
    """The day that ``today``, ``20201230``, ``12/30/20``, ``dec30`` or ``monday`` (the last one) means."""
    if text in _NEAR:
        return local + timedelta(days=_NEAR[text])
    if re.fullmatch(r"\d{8}", text):
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=local.tzinfo)
    if found := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})", text):
        month, day, year = map(int, found.groups())
        return local.replace(year=year + (0 if year > 99 else 2000 if year < 70 else 1900), month=month, day=day)
    if (found := re.fullmatch(r"([a-z]{3})[a-z]*(\d{1,2})", text)) and found[1] in _MONTHS:
        return local.replace(month=_MONTHS.index(found[1]) + 1, day=int(found[2]))
    for number, name in enumerate(_DAYS):
        if len(text) > 2 and name.startswith(text):
            return local - timedelta(days=(local.weekday() - number) % 7)
    raise ValueError(text)


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
