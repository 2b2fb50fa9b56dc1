"""Names: how they sort as people count, and how one becomes a segment of a dotted carbon path."""

from __future__ import annotations

import re

UNSAFE = ". \t\r\n;~/\\*?{}[]()<>|&'\"=,"
"""Characters that would split or end a path."""
_REPLACED = str.maketrans(dict.fromkeys(UNSAFE, "_"))


def segment(value: str) -> str:
    """`value` as one segment of a carbon path: what would split or end the path becomes ``_``.

    >>> segment("eth0.100")
    'eth0_100'
    """
    return value.translate(_REPLACED) or "_"


_DIGITS = re.compile(r"(\d+)")


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts SW2 before SW10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(text) if part]
