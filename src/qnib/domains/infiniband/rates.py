"""Widths and speeds of links: their names, their order, and what a lane carries.

A lane's signalling rate in Gbit/s by the name of its speed, as the InfiniBand Architecture Specification has them.
"""

from __future__ import annotations

LANE = {
    "SDR": 2.5, "DDR": 5.0, "QDR": 10.0, "FDR10": 10.3125, "FDR": 14.0625, "EDR": 25.78125, "HDR": 53.125,
    "NDR": 106.25, "XDR": 212.5,
}
_SHORT = {"14": "FDR", "25": "EDR", "50": "HDR", "100": "NDR", "200": "XDR"}
"""As OpenSM's subnet list writes them, where it is not the rate itself."""


def speed_name(told: str) -> str:
    """The name of a speed told in Gbit/s or by name; empty when it is none of them.

    >>> speed_name("25.78125"), speed_name("10.0"), speed_name("FDR10"), speed_name("???")
    ('EDR', 'QDR', 'FDR10', '')
    """
    told = told.strip().upper()
    if told in LANE:
        return told
    if told in _SHORT:
        return _SHORT[told]
    try:
        rate = float(told)
    except ValueError:
        return ""
    return next((name for name, lane in LANE.items() if abs(lane - rate) < 0.05), "")


def lanes(width: str) -> int:
    """How many lanes a width has; 0 when it is not known.

    >>> lanes("4x"), lanes("12X"), lanes("")
    (4, 12, 0)
    """
    number = width.strip().lower().removesuffix("x")
    return int(number) if number.isdigit() else 0


def lower(one: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    """Of two (width, speed) told of one link the lower of each: a lane that only one end misses is missing."""
    width = min((w for w in (one[0], other[0]) if lanes(w)), key=lanes, default=one[0] or other[0])
    speed = min((s for s in (one[1], other[1]) if s in LANE), key=LANE.__getitem__, default=one[1] or other[1])
    return width, speed


def rate(width: str, speed: str) -> float:
    """Signalling rate of a link in Gbit/s; 0 when it is not known.

    >>> rate("4x", "EDR")
    103.125
    """
    return lanes(width) * LANE.get(speed, 0.0)
