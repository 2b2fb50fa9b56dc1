"""What all HTTP edges share: who sends, for which cluster, how much, and handing it to the spool.

One function decides: `cluster_of`. The token is a cluster's ingest token, or the server's own for the cluster that
``?cluster=`` names; as a header (`viewer.offered_token`), as ``?token=`` or InfluxDB's ``?p=``, or in the path.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fastapi import Request

from qnib import clusters
from qnib.api.ingest.protobuf import unsnapped
from qnib.api.viewer import offered_token
from qnib.errors import Forbidden, NotAllowed, TooFast, TooLarge, WrongUse
from qnib.monitoring.frames import Origin
from qnib.monitoring.spool import Format

_LARGE = 64 << 10  # octets; what is larger is decoded in a thread, so that other senders need not wait

_MOST_MEMBERS = 100  # of gzip in a body; each takes copying what follows it

T = TypeVar("T")


def cluster_of(request: Request) -> str:
    """The cluster a sender may speak for; the address it came in on says nothing it could not forge.

    Raises NotAllowed for a token nobody has.
    """
    parts = request.app.state.qnib
    asked = request.query_params.get("token") or request.query_params.get("p", "")
    offered = request.path_params.get("path_token") or offered_token(request) or asked
    for cluster in clusters.load_all(parts.settings.clusters):
        if cluster.ingest_token and secrets.compare_digest(offered.encode(), cluster.ingest_token.encode()):
            return cluster.name
    if secrets.compare_digest(offered.encode(), parts.token.encode()):
        return clusters.check_name(request.query_params.get("cluster") or parts.settings.cluster)
    raise NotAllowed(
        "No cluster has this token.", where=_path(request), try_next="use the ingest token of the cluster's record."
    )


def jobs_cluster(request: Request) -> str:
    """The cluster whose slurmctld sends, when the token is the one for finished jobs; else empty.

    Users can read that token: where the record says who the controller is, it is taken from there only.
    """
    offered = offered_token(request).encode()
    for cluster in clusters.load_all(request.app.state.qnib.settings.clusters):
        if cluster.ingest_token and secrets.compare_digest(offered, cluster.jobs_token.encode()):
            controller = cluster.details.get("jobs_from")
            if controller and (request.client is None or request.client.host != controller):
                raise Forbidden(
                    "Only the controller hands in finished jobs.", where=_path(request), try_next="use another token."
                )
            return cluster.name
    return ""


def _path(request: Request) -> str:
    """The path without a token in it."""
    hidden = request.path_params.get("path_token")
    return request.url.path.replace(hidden, "…") if hidden else request.url.path


async def admit(request: Request, listener: str, cluster: str = "") -> tuple[Origin, bytes]:
    """Who sends, and the unpacked body; `cluster` when it is known already.

    Raises NotAllowed, TooFast, TooLarge, WrongUse.
    """
    parts = request.app.state.qnib
    origin = Origin(cluster or cluster_of(request), request.client.host if request.client else "unknown", listener)
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdigit() else 0
    _check(declared, parts)
    if seconds := parts.receiver.flood.refuses(origin, declared):
        raise TooFast(
            "This sender sends more than it may.", where=origin.sender, retry=seconds,
            try_next="wait as Retry-After says, or raise flood.octets_per_second.",
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _check(len(body), parts)
    unpacked = await _away(lambda: _unpack(bytes(body), request.headers.get("content-encoding", ""), parts), len(body))
    return origin, unpacked


async def decoded(work: Callable[[], T], octets: int) -> T:
    """What `work` returns, from a thread when there is much to do. A ValueError becomes WrongUse."""
    try:
        return await _away(work, octets)
    except ValueError as error:
        raise WrongUse(
            f"The body cannot be read: {str(error)[:300]}.", where="the request's body",
            try_next="see docs/guides/logs.md and docs/guides/metrics.md.",
        ) from error


async def hand_in(
    request: Request, origin: Origin, documents: Sequence[bytes], format: Format = "json", weight: int = 0
) -> None:
    """Return when the events, or points, are acknowledged. Raises Unavailable when the spool is full."""
    if documents:
        await request.app.state.qnib.spool.put_all(format, origin, documents, weight)


async def _away(work: Callable[[], T], octets: int) -> T:
    return await asyncio.to_thread(work) if octets > _LARGE else work()


def _check(octets: int, parts: Any) -> None:
    if octets > parts.settings.http.max_body:
        raise TooLarge(
            f"A body may have {parts.settings.http.max_body} octets.", where="the request's body",
            try_next="send smaller batches, or raise http.max_body.",
        )


def _unpack(body: bytes, encoding: str, parts: Any) -> bytes:
    ways = {way.strip() for way in encoding.lower().split(",")} - {"", "identity"}
    if not ways:
        return body
    if ways == {"snappy"}:
        try:
            return unsnapped(body, parts.settings.http.max_body)
        except ValueError as error:
            raise _broken(encoding, str(error)) from error
    if ways - {"gzip", "x-gzip", "deflate"}:
        raise WrongUse(
            f"The encoding {encoding[:50]!r} is not known.", where="Content-Encoding", try_next="use gzip or snappy."
        )
    text = bytearray()
    for _ in range(_MOST_MEMBERS):  # gzip may have several, one after the other
        unpack = zlib.decompressobj(wbits=47)  # either, by its first octets: pygelf calls it "gzip,deflate"
        try:
            text += unpack.decompress(body, parts.settings.http.max_body + 1 - len(text))
        except zlib.error as error:
            raise _broken(encoding, str(error)) from error
        _check(len(text), parts)
        if not unpack.eof:
            raise _broken(encoding, "it is cut off")
        body = unpack.unused_data
        if not body:
            return bytes(text)
    raise _broken(encoding, f"it has more than {_MOST_MEMBERS} members")


def _broken(encoding: str, why: str) -> WrongUse:
    return WrongUse(f"The body is no {encoding}: {why}.", where="Content-Encoding", try_next="send it whole.")
