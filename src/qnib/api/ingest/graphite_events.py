"""Events as graphite-web takes them: ``POST /events/`` with what, tags, when and data; they are answered again by
``/events/get_data`` and are events like any other."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from qnib.api.ingest.sender import admit, decoded, hand_in
from qnib.errors import WrongUse
from qnib.monitoring.documents import POSTED
from qnib.monitoring.syslog import AHEAD, BEHIND

MOST_DATA = 8192
"""Characters of what and data together; fields of events are no longer."""
MOST_TAGS = 100

router = APIRouter()


@router.post("/events")
@router.post("/events/", include_in_schema=False)
async def post_event(request: Request) -> Response:
    """Take one event in. Raises WrongUse naming the part that is wrong."""
    origin, body = await admit(request, POSTED)
    told = await decoded(lambda: orjson.loads(body), len(body))
    now: datetime = request.app.state.qnib.clock.now()
    await hand_in(request, origin, [document(told, now)])
    return Response()


def document(told: Any, now: datetime) -> bytes:
    """The event as `documents.parse` reads it; without a time it is now. Raises WrongUse."""
    if not isinstance(told, dict):
        raise WrongUse("An event is a JSON object.", where="POST /events/", try_next='send {"what": "deployed"}.')
    what, data = _text(told.get("what"), "what"), _text(told.get("data"), "data")
    if not what.strip():
        raise WrongUse("The event does not say what happened.", where="what", try_next='send {"what": "deployed"}.')
    if len(what) + len(data) > MOST_DATA:
        raise WrongUse(f"An event may have {MOST_DATA} characters.", where="what, data", try_next="tell it shorter.")
    fields = {
        "message": f"{what}: {data}" if data else what, "what": what, "data": data, "tags": " ".join(_tags(told)),
        "time": _when(told.get("when"), now), "app": "graphite", "level": "notice",
        "host": _text(told.get("host"), "host"),
    }  # fmt: skip
    return orjson.dumps({name: value for name, value in fields.items() if value})


def _tags(told: dict[str, Any]) -> list[str]:
    tags = told.get("tags") or []
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        tags = " ".join(tags)
    if not isinstance(tags, str):
        raise WrongUse("The tags are no texts.", where="tags", try_next='send "a b" or ["a", "b"].')
    found = list(dict.fromkeys(tags.split()))
    if len(found) > MOST_TAGS:
        raise WrongUse(f"An event may have {MOST_TAGS} tags.", where="tags", try_next="send fewer.")
    return found


def _when(told: Any, now: datetime) -> str:
    """Epoch seconds as text; what no clock of ours takes for a time is refused, not moved."""
    if told is None:
        return f"{now.timestamp():.6f}"
    try:
        when = math.nan if isinstance(told, bool) else float(told)
    except (TypeError, ValueError):
        when = math.nan
    if not math.isfinite(when):
        raise WrongUse(f"{str(told)[:50]!r} is no time.", where="when", try_next="send epoch seconds, or leave it out.")
    if not (now - timedelta(seconds=BEHIND)).timestamp() < when < (now + timedelta(seconds=AHEAD)).timestamp():
        raise WrongUse(
            "An event is no older than a year and no more than an hour ahead.", where="when",
            try_next="bring older ones by `qnib load json FILE`.",
        )  # fmt: skip
    return f"{when:.6f}"


def _text(told: Any, name: str) -> str:
    """Texts as they are, other JSON as JSON; lone surrogates would be no text."""
    text = "" if told is None else told if isinstance(told, str) else orjson.dumps(told).decode()
    if "\0" in text:
        raise WrongUse("A text has no zero octet.", where=name, try_next="leave it out.")
    return text
