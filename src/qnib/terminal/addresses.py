"""Addresses of container engines, as people write them: ``local``, ``ssh://ann@host``, ``tcp://host:2376``. Pure.

    local, unix:///run/docker.sock, /run/docker.sock     an engine of this machine
    ssh://[USER@]HOST[:PORT][/SOCKET]                    its socket on another machine, through SSH
    tcp://HOST[:PORT]                                    over TLS, both sides with certificates
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

SOCKET = "/var/run/docker.sock"
TLS_PORT = 2376


@dataclass(frozen=True, slots=True)
class Address:
    """`text` as it was written; `path` of the engine's socket (unix, ssh), `host` and `port` (ssh, tcp; 0: ssh's)."""

    text: str
    kind: Literal["unix", "ssh", "tcp"]
    path: str = SOCKET
    host: str = ""
    user: str = ""
    port: int = 0


def parse(text: str) -> Address:
    """Raises ValueError for what is no address, with how one looks.

    >>> parse("ssh://ann@n1:2222").host, parse("local").path, parse("tcp://n2").port
    ('n1', '/var/run/docker.sock', 2376)
    """
    text = text.strip()
    if text == "local":
        return Address(text, "unix")
    if text.startswith("/"):
        return Address(text, "unix", text)
    parts = urlsplit(text)
    try:
        port = parts.port or 0
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.query or parts.fragment or parts.password:
        parts = urlsplit("")
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Address(text, "unix", parts.path)
    # A name that starts with a dash would be an option to ssh.
    host, user = parts.hostname or "-", parts.username or ""
    if parts.scheme == "ssh" and not host.startswith("-") and not user.startswith("-"):
        return Address(text, "ssh", parts.path.rstrip("/") or SOCKET, host, user, port)
    if parts.scheme == "tcp" and not host.startswith("-") and not user and parts.path in ("", "/"):
        return Address(text, "tcp", "", host, "", port or TLS_PORT)
    raise ValueError(f"{text!r} is no engine's address: write local, ssh://USER@HOST or tcp://HOST:{TLS_PORT}")
