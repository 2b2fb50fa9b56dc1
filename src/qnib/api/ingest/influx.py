"""InfluxDB's writes, version 1 and 2: lines of measurement, tags, fields and time; and what clients ask before.

Which database or bucket they name does not matter. A line that does not parse is among the rejects and no error to the
client: it would send the good ones again, or drop them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from qnib.api.ingest.numbers import admit_numbers, parts_of
from qnib.api.ingest.sender import cluster_of, decoded, hand_in
from qnib.errors import WrongUse
from qnib.monitoring.influx import PRECISIONS

VERSION = "1.8.10"
"""The version whose interface this is like."""

_HEADERS = {"X-Influxdb-Version": VERSION, "X-Influxdb-Build": "OSS"}
_LARGEST_QUERY = 16 << 10
_LINE = re.compile(
    rb'(?:[^\n\\ ]++|\\[^\n]|\\)*+(?: (?:[^\n"\\]++|\\[^\n]|\\|"(?:[^"\\]++|\\.)*+"|")*+)?+', re.DOTALL
)
"""A line; newlines may be in quoted text, and quotes are quotes only after the first space."""
router = APIRouter()
Sender = Annotated[str, Depends(cluster_of)]


@router.post("/write", status_code=204)
@router.post("/api/v2/write", status_code=204)
async def write(request: Request, precision: str = "ns") -> Response:
    """Take lines in. `precision`: the unit of their times. Raises WrongUse for one that is none."""
    if precision not in PRECISIONS:
        raise WrongUse(
            f"There is no precision {precision[:20]!r}.", where="?precision=", try_next=f"use {', '.join(PRECISIONS)}."
        )
    origin, body = await admit_numbers(request, "influx/http")
    lines = await decoded(lambda: split(body), len(body))
    for part, weight in parts_of(lines, request.app.state.qnib.settings.spool.rotate_bytes, weigh):
        await hand_in(request, origin, [precision.encode(), *part], "influx", weight)
    return Response(status_code=204, headers=_HEADERS)


def split(body: bytes) -> list[bytes]:
    """The lines of a body."""
    lines = _LINE.findall(body) if b'"' in body else body.split(b"\n")
    return [line for line in lines if line.strip()]


def weigh(line: bytes) -> int:
    """About how many octets a line becomes, for each of its fields repeats its tags."""
    tags = len(line) if b"\\" in line else max(0, line.find(b" "))
    return len(line) + tags * line.count(b",")


@router.api_route("/ping", methods=["GET", "HEAD"], status_code=204)
async def ping() -> Response:
    return Response(status_code=204, headers=_HEADERS)


@router.api_route("/query", methods=["GET", "POST"])
async def query(request: Request, cluster: Sender, q: str = "") -> Response:
    """Statements about databases are answered as if they were done; others raise WrongUse: nothing is read here."""
    if not q:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_QUERY:
                break
        q = parse_qs(body[:_LARGEST_QUERY].decode("utf-8", "replace")).get("q", [""])[0]
    results = [_answer(number, one.strip(), cluster) for number, one in enumerate(filter(str.strip, q.split(";")))]
    return Response(orjson.dumps({"results": results}), headers=_HEADERS, media_type="application/json")


def _answer(number: int, statement: str, cluster: str) -> dict[str, Any]:
    match statement.upper().split()[:2]:
        case ["CREATE" | "ALTER" | "DROP", "DATABASE" | "RETENTION"]:
            return {"statement_id": number}
        case ["SHOW", "DATABASES"]:
            shown = {"name": "databases", "columns": ["name"], "values": [[cluster]]}
            return {"statement_id": number, "series": [shown]}
    raise WrongUse(
        f"Nothing is read by InfluxDB's language: {statement[:100]!r}.", where="/query",
        try_next="ask by Graphite's /render, or `qnib graph ask`.",
    )
