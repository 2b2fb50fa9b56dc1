"""Captures brought by people: a file of today or of last year, told apart from what agents send by nothing but its way.

It goes through the same spool, parser and record; the answer waits until it is taken in and says what it changed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request

from qnib.api.collect import LARGEST
from qnib.api.read import moment
from qnib.api.viewer import Seeing, must_see, scope_to_fill
from qnib.discovery.outcomes import Outcome, waiting
from qnib.domains import all_domains
from qnib.errors import NotFound, TooMuch, Unavailable, WrongUse
from qnib.inventory.earlier import known_at
from qnib.model import Capture

SECONDS = 300
"""How long a capture may take to be taken in before the answer says that it is still under way."""

_TOGETHER = 5000
"""Lines acknowledged together."""

router = APIRouter()


@router.get("/api/load")
def kinds(request: Request, viewer: Seeing) -> dict[str, Any]:
    """The captures that can be loaded: {domain, capture, command}."""
    must_see(viewer, request.app.state.qnib.settings.cluster)
    return {
        "kinds": [
            {"domain": domain.name, "capture": capture.name, "command": " ".join(capture.command)}
            for domain in all_domains()
            for capture in domain.captures
        ]
    }


@router.post("/api/load/{domain}/{capture}")
async def load(
    domain: str,
    capture: str,
    request: Request,
    viewer: Seeing,
    cluster: str = "",
    at: Annotated[str, Query(description="When it was captured: -1h, epoch seconds, ISO 8601; default: now.")] = "",
    host: Annotated[str, Query(description="Who captured it: files of one host follow one another.")] = "file",
    content_length: Annotated[int, Header()] = 0,
) -> dict[str, Any]:
    """Take in the body, a capture's raw text. The cluster need not be known. Raises WrongUse when it is refused."""
    parts, name = scope_to_fill(request, viewer, cluster)
    when = moment(at, parts.clock.now(), "at")
    if (domain, capture) not in {(d.name, c.name) for d in all_domains() for c in d.captures}:
        raise NotFound(
            f"No domain declares a capture {domain}/{capture}.",
            where=request.url.path,
            try_next="`qnib load` without a file lists them.",
        )
    declared = next(c for d in all_domains() for c in d.captures if (d.name, c.name) == (domain, capture))
    if declared.of_host and host == "file":
        raise WrongUse(
            f"{capture} tells of the machine it was taken on and does not name it.", where=f"{domain}/{capture}",
            try_next="say which: --host compute3.",
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if max(len(body), content_length) > LARGEST:
            raise TooMuch(
                f"A capture may have {LARGEST} octets.", where=f"{domain}/{capture}", try_next="split the capture."
            )
    if declared.numbers is not None:
        count = await _put_numbers(parts, declared, name, host, bytes(body), when)
        return {"cluster": name, "capture": f"{domain}/{capture}", "at": when.isoformat(),
                **Outcome(numbers=count).told(), "rejected": 0}  # fmt: skip
    number = secrets.token_hex(8)
    told = {
        "domain": domain, "capture": capture, "host": host, "id": number, "at": when.isoformat(),
    }  # fmt: skip
    waiting.expect(number)
    await parts.spool.put("capture", name, host, "load", json.dumps(told).encode() + b"\n" + bytes(body))
    outcome = await asyncio.to_thread(waiting.wait, number, SECONDS)
    if outcome is None:
        raise Unavailable(
            f"It is acknowledged, but was not taken in within {SECONDS} s.",
            where=f"{domain}/{capture}",
            try_next="look at `qnib status`; it will be taken in when the server comes to it.",
        )
    if outcome.refused:
        raise WrongUse(
            f"This is no {domain}/{capture} that could be taken in: {outcome.refused[:300]}",
            where=f"cluster {name}",
            try_next="nothing was changed; the text is among the rejects. Is it the whole output of the tool?",
        )
    return {"cluster": name, "capture": f"{domain}/{capture}", "at": told["at"], **outcome.told(), "rejected": 0}


async def _put_numbers(parts: Any, capture: Capture, cluster: str, host: str, raw: bytes, at: datetime) -> int:
    """A file of numbers goes the way of carbon lines. Returns how many there were, acknowledged."""
    assert capture.numbers is not None  # noqa: S101 - told to the type checker
    try:
        points = capture.numbers(raw.decode("utf-8", "replace"), known_at(parts.facts, parts.engine, cluster, at))
    except ValueError as error:
        raise WrongUse(
            f"This is no {capture.name} that could be taken in: {str(error)[:300]}", where=f"cluster {cluster}",
            try_next="nothing was changed. Is it the whole output of the tool?",
        ) from error
    stamp = f"{at.timestamp():.3f}"
    for start in range(0, len(points), _TOGETHER):
        lines = [f"{path} {value:.17g} {stamp}".encode() for path, value in points[start : start + _TOGETHER]]
        await asyncio.gather(*(parts.spool.put("carbon", cluster, host, "load", line) for line in lines))
    return len(points)
