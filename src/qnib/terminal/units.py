"""Sizes, rates and spans as people write them: ``"512M"``, ``"10MB/s"``, ``"1h 30m"``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B/s", re.IGNORECASE)
_SPAN = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+(?:\.\d+)?)s)?")
_FACTOR = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def mebibytes(told: object) -> object:
    """``"512M"``, ``"1.5G"`` or a number of MiB, in MiB."""
    if isinstance(told, str):
        found = _SIZE.fullmatch(told.strip())
        if not found or not found[2]:
            raise ValueError('write a size with its unit, such as "512M" or "2G"')
        return int(float(found[1]) * _FACTOR[found[2].upper()]) >> 20
    return told


def octets_a_second(told: object) -> object:
    """``"1KB/s"`` or ``"10MB/s"`` in octets a second."""
    found = _RATE.fullmatch(told.strip()) if isinstance(told, str) else None
    if found:
        return int(float(found[1]) * _FACTOR[found[2].upper()])
    if isinstance(told, int) and not isinstance(told, bool):
        return told
    raise ValueError('write a rate such as "1KB/s" or "10MB/s"')


def seconds(told: object) -> object:
    """``"90s"``, ``"2m"``, ``"1h 30m"`` or a number of seconds."""
    if isinstance(told, str):
        found = _SPAN.fullmatch(told.strip())
        if not found or not any(found.groups()):
            raise ValueError('write a span such as "90s", "2m" or "1h 30m"')
        hours, minutes, rest = (float(part or 0) for part in found.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=rest).total_seconds()
    return told


Size = Annotated[int, BeforeValidator(mebibytes)]
Rate = Annotated[int, BeforeValidator(octets_a_second)]
Span = Annotated[float, BeforeValidator(seconds)]
