"""What edges that bring numbers share: a name and tags as carbon's path, a point as its line, and who is admitted.

The path is how a series is known everywhere: what would end a name or a tag in it becomes ``_``, as does a blank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi import Request

from qnib.api.ingest.sender import admit
from qnib.errors import TooFast, Unavailable
from qnib.monitoring.frames import Origin

_ENDS_NAMES = re.compile(r"[\s;=!^]")
_ENDS_VALUES = re.compile(r"[\s;]")


def series(name: str, tags: Mapping[str, str]) -> bytes:
    """The path of a series; tags without a value are none."""
    told = sorted(
        f";{_ENDS_NAMES.sub('_', tag)}={_ENDS_VALUES.sub('_', value)}" for tag, value in tags.items() if tag and value
    )
    return (_ENDS_NAMES.sub("_", name) + "".join(told)).encode()


def line(path: bytes, value: float, seconds: float | None) -> bytes:
    """A point; `seconds` since 1970, None: the moment of its arrival."""
    return b"%b %a %.3f" % (path, float(value), -1 if seconds is None else seconds)


async def admit_numbers(request: Request, listener: str) -> tuple[Origin, bytes]:
    """As `admit`, but who must wait is told by Unavailable: Telegraf and Prometheus drop what was answered with 429."""
    try:
        return await admit(request, listener)
    except TooFast as error:
        raise Unavailable(error.what, where=error.where, try_next=error.try_next) from error
