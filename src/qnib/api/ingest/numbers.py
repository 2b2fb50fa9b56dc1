"""What edges that bring numbers share: a name and tags as carbon's path, a point as its line, and who is admitted.

The path is how a series is known everywhere: what would end a name or a tag in it becomes ``_``, as does a blank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from fastapi import Request

from qnib.api.ingest.sender import admit, hand_in
from qnib.errors import TooFast, TooLarge, Unavailable
from qnib.monitoring.frames import Origin

MOST_TIMES = 4
"""How many times larger than the longest body its points may be."""

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


def bounded(lines: Iterable[bytes], most: int) -> list[bytes]:
    """All of them. Raises TooLarge beyond `most` octets: a name told once may be meant by a million points."""
    found, octets = [], 0
    for one in lines:
        octets += len(one)
        if octets > most:
            raise TooLarge(
                f"The points of a body may be {most} octets.", where="the request's body",
                try_next="send smaller batches, or raise http.max_body.",
            )
        found.append(one)
    return found


async def hand_in_numbers(request: Request, origin: Origin, records: Sequence[bytes]) -> None:
    """As `hand_in`, carbon's lines in files of the usual size."""
    for part, weight in parts_of(records, request.app.state.qnib.settings.spool.rotate_bytes, len):
        await hand_in(request, origin, part, "carbon", weight)


def parts_of(
    records: Sequence[bytes], largest: int, weigh: Callable[[bytes], int]
) -> Iterator[tuple[Sequence[bytes], int]]:
    """The records in parts not much heavier than `largest`, each with its weight."""
    at = weight = 0
    for end, record in enumerate(records, 1):
        weight += weigh(record)
        if weight >= largest or end == len(records):
            yield records[at:end], weight
            at, weight = end, 0


async def admit_numbers(request: Request, listener: str) -> tuple[Origin, bytes]:
    """As `admit`, but who must wait is told by Unavailable: Telegraf and Prometheus drop what was answered with 429."""
    try:
        return await admit(request, listener)
    except TooFast as error:
        raise Unavailable(error.what, where=error.where, try_next=error.try_next) from error
