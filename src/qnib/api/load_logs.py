"""Log files brought by people, from today or from years ago: the same parsers and rules as for what is sent live."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Header, Query, Request

from qnib.api.collect import LARGEST
from qnib.api.read import moment
from qnib.api.viewer import Seeing, must_see, scope_to_fill
from qnib.clock import micros
from qnib.context.known import iso
from qnib.errors import TooLarge, Unavailable, WrongUse
from qnib.monitoring.captured import KINDS, frame, pieces
from qnib.monitoring.frames import Origin, row
from qnib.monitoring.loads import LISTENER, Loaded
from qnib.monitoring.spool import Format

SECONDS = 300
"""How long a piece of a file may take to be taken in before the answer says that it is still under way."""

_PIECE = 8 << 20  # octets that become one spool file

router = APIRouter()


@router.get("/api/load-log")
def kinds(request: Request, viewer: Seeing) -> dict[str, Any]:
    """The kinds of log file that can be loaded: {kind, from}."""
    must_see(viewer, request.app.state.qnib.settings.cluster)
    return {"kinds": [{"kind": kind, "from": where} for kind, where in KINDS.items()]}


@router.post("/api/load-log/{kind}")
async def load_log(
    kind: str,
    request: Request,
    viewer: Seeing,
    cluster: str = "",
    at: Annotated[str, Query(description="When it was captured, no record is later; default: now.")] = "",
    host: Annotated[str, Query(description="Whom it speaks of, where the file does not say.")] = "",
    zone: Annotated[str, Query(description="IANA zone of times that tell none.")] = "UTC",
    year: Annotated[int, Query(ge=0, le=9999, description="Year of the first record; 0: inferred.")] = 0,
    content_length: Annotated[int, Header()] = 0,
) -> dict[str, Any]:
    """Take in the body, a log file. What was loaded before is not stored again. Raises WrongUse, TooLarge."""
    parts, name = scope_to_fill(request, viewer, cluster)
    try:
        captured = moment(at, parts.clock.now(), "at").astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise WrongUse(
            f"{zone!r} is no IANA time zone.", where="zone", try_next="use one like Europe/Berlin."
        ) from error
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if max(len(body), content_length) > LARGEST:
            raise TooLarge(
                f"A file may have {LARGEST} octets.", where=kind, try_next="split it: `split --line-bytes=60M FILE`."
            )
    framed = await asyncio.to_thread(frame, kind, bytes(body), captured, host=host, year=year)
    outcomes = []
    for number, piece in enumerate(pieces(framed.records, _PIECE)):
        listener = f"{LISTENER}{kind}" + (f"#{number + 1}" if number else "")
        octets = row(micros(parts.clock.now()), Origin(name, zone, listener).prefix(), piece)
        outcomes.append(await taken_in(parts, "load", octets, f"{kind}, cluster {name}"))
    return {
        "cluster": name, "kind": kind, "records": len(framed.records), "events": sum(o.events for o in outcomes),
        "new": sum(o.events - o.known for o in outcomes), "known": sum(o.known for o in outcomes),
        "rejected": sum(o.rejects for o in outcomes),
        "first": iso(min((o.first for o in outcomes if o.first), default=None)),
        "last": iso(max((o.last for o in outcomes if o.last), default=None)), "note": framed.note,
    }  # fmt: skip


async def taken_in(parts: Any, form: Format, octets: bytes, where: str) -> Loaded:
    """Hand in what a person brought as a spool file of its own, and wait for what became of it. Raises Unavailable."""
    file = await parts.spool.put_own(form, octets)
    outcome: Loaded | None = await asyncio.to_thread(parts.writer.loads.wait, file, SECONDS)
    if outcome is None:
        raise Unavailable(
            f"It is acknowledged, but was not taken in within {SECONDS} s.", where=where,
            try_next="look at `qnib status`; it will be taken in when the server comes to it.",
        )
    if outcome.refused:
        raise Unavailable(
            f"It could not be taken in: {outcome.refused[:300]}", where=where,
            try_next="see the server's log; the text is kept in the spool's folder failed/.",
        )
    return outcome
