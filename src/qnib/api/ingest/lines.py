"""JSON as anybody can send it: an object, an array of objects, or one object a line; and GELF by HTTP."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request

from qnib.api.ingest.sender import admit, decoded, hand_in
from qnib.errors import WrongUse

router = APIRouter()


@router.post("/ingest/json", status_code=202)
async def json_lines(request: Request) -> dict[str, int]:
    """Take in documents; lines that are no JSON land in the rejects. Raises WrongUse for an array that is none."""
    origin, body = await admit(request, "json/http")
    documents = await decoded(lambda: split(body), len(body))
    await hand_in(request, origin, documents)
    return {"acknowledged": len(documents)}


@router.post("/gelf", status_code=202)
async def gelf(request: Request) -> dict[str, int]:
    """Take in one GELF message. Raises WrongUse for what is no JSON object."""
    origin, body = await admit(request, "gelf/http")
    if not body.strip().startswith(b"{"):
        raise WrongUse("A GELF message is a JSON object.", where="the request's body", try_next="send one.")
    await hand_in(request, origin, [body])
    return {"acknowledged": 1}


def split(body: bytes) -> list[bytes]:
    """The documents of a body. Raises ValueError for an array that is no JSON."""
    if body.lstrip()[:1] == b"[":
        return [orjson.dumps(one) for one in orjson.loads(body)]
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > 1 and not all(line.lstrip().startswith(b"{") for line in lines):
        try:
            return [orjson.dumps(orjson.loads(body))]  # one object over several lines
        except orjson.JSONDecodeError:
            return lines
    return lines
