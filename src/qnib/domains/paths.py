"""Dotted carbon paths: how a tag value becomes one segment of them."""

from __future__ import annotations

_UNSAFE = str.maketrans(dict.fromkeys(". \t\r\n;~/\\*?{}[]()<>|&'\"=,", "_"))


def segment(value: str) -> str:
    """`value` as one segment of a carbon path: what would split or end the path becomes ``_``.

    >>> segment("eth0.100")
    'eth0_100'
    """
    return value.translate(_UNSAFE) or "_"
