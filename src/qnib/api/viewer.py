"""Turns a request into a viewer: a token is needed even on loopback, for a login node has many users.

Accepted: ``Authorization: Bearer TOKEN``, HTTP basic with the token as password (Grafana), ``ApiKey`` with it as the
key (Elasticsearch's clients), ``Token TOKEN`` (InfluxDB's), ``X-QNIB-Token``.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Annotated, Any

from fastapi import Depends, Request

from qnib import clusters
from qnib.context.viewer import OPERATOR, Viewer, may_see
from qnib.errors import Forbidden, NotAllowed
from qnib.model import Ref


def offered_token(request: Request) -> str:
    """The token as the request carries it, empty when there is none."""
    header = request.headers.get("authorization", "")
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "token":  # InfluxDB 2: TOKEN, or USER:PASSWORD for version 1
        return value.strip().rpartition(":")[2]
    if scheme.lower() in {"basic", "apikey"}:
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return request.headers.get("x-qnib-token", "")


def viewer(request: Request) -> Viewer:
    """The viewer of this request. Raises NotAllowed without the server's token."""
    if secrets.compare_digest(offered_token(request).encode(), request.app.state.qnib.token.encode()):
        return OPERATOR
    raise NotAllowed(
        "This server answers only with its token.",
        where=request.url.path,
        try_next="`qnib status` prints the address with the token; programs send it as `Authorization: Bearer …`.",
    )


def must_see(viewer: Viewer, cluster: str, about: Ref | None = None) -> None:
    if not may_see(viewer, cluster, about):
        raise Forbidden(
            f"{viewer.name} may not see this.", where=f"{cluster} {about or ''}".strip(), try_next="ask the operator."
        )


Seeing = Annotated[Viewer, Depends(viewer)]


def scope(request: Request, viewer: Viewer, cluster: str, about: Ref | None = None) -> tuple[Any, str]:
    """The running parts, and the cluster that is meant, which the viewer must be allowed to see."""
    parts = request.app.state.qnib
    name = cluster or parts.settings.cluster
    must_see(viewer, name, about)
    return parts, name


def scope_to_fill(request: Request, viewer: Viewer, cluster: str) -> tuple[Any, str]:
    """The same for a cluster that need not be known. Raises WrongUse for what can be no cluster's name."""
    parts = request.app.state.qnib
    return scope(request, viewer, clusters.check_name(cluster or parts.settings.cluster))
