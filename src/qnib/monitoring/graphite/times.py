"""Graphite's times: ``-1h``, ``now-6h``, epoch seconds, ``14:30_20261120``, ``midnight``, ``yesterday``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from qnib.errors import WrongUse

_UNITS = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400,
    "day": 86_400, "w": 604_800, "week": 604_800, "mon": 2_592_000, "month": 2_592_000, "y": 31_536_000,
    "year": 31_536_000,
}  # fmt: skip
_OFFSET = re.compile(r"([+-])?(\d+)([a-z]+)")
_CLOCK = re.compile(r"(?:(\d{1,2}):(\d{2})_?)?(\d{8}|now|today|yesterday|tomorrow)?")
_HOURS = {"midnight": 0, "noon": 12, "teatime": 16}


def moment(text: str, now: datetime, zone: str = "UTC") -> datetime:
    """The moment `text` means, in UTC. A lone offset is before now. Raises WrongUse."""
    told = text.strip().lower().replace(" ", "")
    try:
        if re.fullmatch(r"\d+(\.\d+)?", told) and not _is_date(told):
            return datetime.fromtimestamp(float(told), UTC)
        base, offset = re.fullmatch(r"(.*?)((?:[+-]\d+[a-z]+)*)", told).groups()  # type: ignore[union-attr]
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
    seconds = 0
    for sign, number, unit in _OFFSET.findall(text):
        size = _UNITS.get(unit) or _UNITS[unit.rstrip("s")]
        seconds += (-1 if sign == "-" else 1) * int(number) * size
    return timedelta(seconds=seconds)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(name) from error
