"""Elasticsearch's shape for those who ship to it: ``_bulk``, ``_doc``, and the questions its clients ask before.

Filebeat, Fluent Bit, Vector, the OpenTelemetry collector, rsyslog and SLURM's ``jobcomp/elasticsearch`` are content
with it. Whatever index they name, the documents are events; a document of a finished job goes on to the inventory.
Templates, policies and pipelines are acknowledged and not needed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from qnib.api.ingest.sender import admit, cluster_of, decoded, hand_in, jobs_cluster
from qnib.errors import Forbidden, WrongUse
from qnib.monitoring.frames import Origin

VERSION = "8.17.0"
"""The version whose interface this is like; clients look at the first number."""

_HEADERS = {"X-Elastic-Product": "Elasticsearch"}  # clients since 7.14 talk to nobody without it
_SHARDS = {"total": 1, "successful": 1, "failed": 0}
router = APIRouter()
Sender = Annotated[str, Depends(cluster_of)]


def _answer(told: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(told), status, _HEADERS, "application/json")


@router.api_route("/", methods=["GET", "HEAD"])
async def who(cluster: Sender) -> Response:
    """Who is asked: what a client looks at before it sends."""
    return _answer({
        "name": "qnib", "cluster_name": cluster, "cluster_uuid": cluster, "tagline": "You Know, for Search",
        "version": {
            "number": VERSION, "build_flavor": "default", "build_type": "tar", "build_hash": "qnib",
            "build_snapshot": False, "lucene_version": "9.12.0", "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
    })  # fmt: skip


@router.get("/_license")
async def licence(cluster: Sender) -> Response:
    return _answer({"license": {"status": "active", "uid": cluster, "type": "basic", "issued_to": cluster}})


@router.get("/_xpack")
async def xpack(cluster: Sender) -> Response:
    features = {"ilm": {"available": True, "enabled": False}, "security": {"available": True, "enabled": True}}
    licence_ = {"uid": cluster, "type": "basic", "mode": "basic", "status": "active"}
    return _answer({"build": {}, "license": licence_, "features": features})


@router.api_route("/_cluster/health", methods=["GET", "HEAD"])
async def health(cluster: Sender) -> Response:
    return _answer({"cluster_name": cluster, "status": "green", "timed_out": False, "number_of_nodes": 1})


@router.api_route("/_nodes/{rest:path}", methods=["GET", "HEAD"])
async def nodes(rest: str, cluster: Sender) -> Response:
    """No node is told: clients then stay with the address they were given."""
    return _answer({"_nodes": _SHARDS, "cluster_name": cluster, "nodes": {}})


_SETUP = (
    "_template", "_index_template", "_component_template", "_ilm/policy", "_ingest/pipeline", "_data_stream", "_alias",
)  # fmt: skip


async def setup(request: Request, cluster: Sender, rest: str = "") -> Response:
    """Templates, policies and pipelines: they are there when asked for, and acknowledged when brought."""
    async for _ in request.stream():
        pass
    return _answer({"acknowledged": True} if request.method in {"PUT", "POST"} else {})


for _name in _SETUP:
    router.add_api_route(f"/{_name}/{{rest:path}}", setup, methods=["GET", "HEAD", "PUT", "POST"])


@router.post("/_bulk")
@router.put("/_bulk")
@router.post("/{index}/_bulk")
@router.put("/{index}/_bulk")
async def bulk(request: Request, index: str = "") -> Response:
    """Many documents; each has its own outcome in the answer."""
    origin, body = await admit(request, "elasticsearch/http")
    longest = request.app.state.qnib.settings.json_lines.max_line
    documents, items = await decoded(lambda: read_bulk(body, index, longest), len(body))
    await _take(request, origin, documents)
    failed = any("error" in outcome for item in items for outcome in item.values())
    return _answer({"took": 0, "errors": failed, "items": items})


@router.post("/{index}/_doc", status_code=201)
@router.post("/{index}/_doc/{number}", status_code=201)
@router.put("/{index}/_doc/{number}", status_code=201)
@router.put("/{index}/_create/{number}", status_code=201)
@router.post("/{index}/_create/{number}", status_code=201)
async def document(request: Request, index: str, number: str = "") -> Response:
    """One document. Raises WrongUse for what is no JSON object."""
    jobs_of = jobs_cluster(request)
    origin, body = await admit(request, "elasticsearch/http", jobs_of)
    if not isinstance(await decoded(lambda: orjson.loads(body), len(body)), dict):
        raise WrongUse("A document is a JSON object.", where=f"/{index}/_doc", try_next="send one.")
    if jobs_of and not is_job(body):
        raise Forbidden("This token is for finished jobs.", where=f"/{index}/_doc", try_next="use the ingest token.")
    await _take(request, origin, [body.replace(b"\n", b" ")])
    return _answer(_created(index, number or secrets.token_hex(10)), 201)


@router.head("/{index}")
async def exists(index: str, cluster: Sender) -> Response:
    return _answer({})


def read_bulk(body: bytes, index: str, longest: int) -> tuple[list[bytes], list[dict[str, dict[str, Any]]]]:
    """The good documents of a bulk body, and the outcome of every action. Raises ValueError when they do not pair."""
    lines = body.split(b"\n")
    documents: list[bytes] = []
    items: list[dict[str, dict[str, Any]]] = []
    checked: list[int] = []  # which item each document has
    stem, place = secrets.token_hex(8), 0
    while place < len(lines):
        line = lines[place].strip()
        place += 1
        if not line:
            continue
        action = orjson.loads(line)
        if not isinstance(action, dict) or len(action) != 1:
            raise ValueError(f"line {place} is no action: {line[:100]!r}")
        ((name, about),) = action.items()
        about = about if isinstance(about, dict) else {}
        told = _created(str(about.get("_index") or index), str(about.get("_id") or f"{stem}{len(items)}"))
        if name == "delete":
            items.append({name: _refused(told, 400, "illegal_argument_exception", "events cannot be deleted")})
            continue
        source = lines[place].strip() if place < len(lines) else b""
        place += 1
        if not source:
            raise ValueError(f"line {place} has no document for the action before it")
        if name not in {"create", "index"}:
            items.append({name: _refused(told, 400, "illegal_argument_exception", f"{name} is not supported")})
            continue
        if len(source) > longest:
            why = f"longer than {longest} octets"
            items.append({name: _refused(told, 400, "document_parsing_exception", why)})
            continue
        checked.append(len(items))
        items.append({name: told})
        documents.append(source)
    bad = _not_objects(documents)
    for number in bad:
        ((name, told),) = items[checked[number]].items()
        items[checked[number]] = {name: _refused(told, 400, "document_parsing_exception", "it is not a JSON object")}
    return [one for number, one in enumerate(documents) if number not in bad], items


def _not_objects(documents: Sequence[bytes]) -> set[int]:
    """Which are no JSON objects: all are read at once, one by one only when something is wrong.

    Between any two stands a word nobody can guess: halves of documents cannot make whole ones together.
    """
    mark = secrets.token_hex(8)
    try:
        told = orjson.loads(b"[" + f',"{mark}",'.encode().join(documents) + b"]")
        apart = len(told) == max(0, 2 * len(documents) - 1) and all(between == mark for between in told[1::2])
        if apart and all(isinstance(one, dict) for one in told[::2]):
            return set()
    except orjson.JSONDecodeError:
        pass
    return {number for number, one in enumerate(documents) if not _is_object(one)}


def _is_object(document: bytes) -> bool:
    try:
        return isinstance(orjson.loads(document), dict)
    except orjson.JSONDecodeError:
        return False


def _created(index: str, number: str) -> dict[str, Any]:
    return {
        "_index": index, "_id": number, "_version": 1, "result": "created", "_shards": _SHARDS, "_seq_no": 0,
        "_primary_term": 1, "status": 201,
    }  # fmt: skip


def _refused(told: dict[str, Any], status: int, kind: str, reason: str) -> dict[str, Any]:
    return {
        "_index": told["_index"], "_id": told["_id"], "status": status, "error": {"type": kind, "reason": reason},
    }  # fmt: skip


async def _take(request: Request, origin: Origin, documents: Sequence[bytes]) -> None:
    """Finished jobs that SLURM tells of are a capture for the inventory, everything else is events."""
    jobs = [one for one in documents if is_job(one)]
    if jobs:
        parts = request.app.state.qnib
        head = {"domain": "slurm", "capture": "jobcomp", "host": origin.sender, "at": parts.clock.now().isoformat()}
        body = json.dumps(head).encode() + b"\n" + b"\n".join(jobs)
        await parts.spool.put_all("capture", origin, [body])
    await hand_in(request, origin, [one for one in documents if not is_job(one)] if jobs else documents)


def is_job(document: bytes) -> bool:
    """Whether SLURM's ``jobcomp/elasticsearch`` made it."""
    return b'"jobid"' in document and b'"@submit"' in document and b'"@end"' in document
