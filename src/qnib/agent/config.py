"""The agent's configuration: one JSON object, checked when the agent starts."""

from __future__ import annotations

import json
from pathlib import Path

ROLES = ("node", "controller", "fabric")


class Config:
    """What the file says. Every host does what role ``node`` does; controller and fabric do more."""

    def __init__(self, told: dict[str, object]) -> None:
        self.cluster = _text(told, "cluster")
        self.host = _text(told, "host")
        self.role = _text(told, "role", "node")
        self.server = _text(told, "server")
        self.carbon_port = _whole(told, "carbon_port", 2003)
        self.syslog_port = _whole(told, "syslog_port", 5514)
        self.http_port = _whole(told, "http_port", 8787)
        self.token = _text(told, "token", "")
        self.interval = float(_whole(told, "interval", 5))
        """Seconds between two readings of a node; controller's and fabric's own readings have theirs."""
        self.log_socket = _text(told, "log_socket", "/dev/log")
        """Where programs here send syslog; empty on hosts that have a syslog daemon of their own."""
        self.buffer = _whole(told, "buffer", 1 << 20)
        """Octets kept per connection while the server is away; what is older is dropped and counted."""
        self.environment = _strings(told, "environment")
        """Set for the commands that captures and readings run, not for the agent itself."""
        self.only = frozenset(str(name) for name in _list(told, "only"))
        """Names of the domains to run; empty: all of them."""
        self.domains = _list(told, "domains")
        """Modules of domains that other packages declare; the built-in ones are found."""
        self.tail: list[tuple[str, str, bool]] = []
        """Log files to follow: (path, app, whether lines already there are sent too)."""
        for entry in _list(told, "tail"):
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                raise ValueError("every entry of tail is an object with path and app")
            self.tail.append((entry["path"], str(entry.get("app", "")), entry.get("from_start") is True))
        if self.role not in ROLES:
            raise ValueError(f"role is one of {', '.join(ROLES)}, not {self.role!r}")
        if self.interval < 1:
            raise ValueError("interval is at least 1 second")

    @property
    def roles(self) -> frozenset[str]:
        return frozenset({"node", self.role})


def load(path: str) -> Config:
    """Raises ValueError in words when the file is missing or wrong."""
    try:
        told = json.loads(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"cannot read it: {error.strerror}") from error
    if not isinstance(told, dict):
        raise ValueError("it is not a JSON object")
    return Config(told)


def _text(told: dict[str, object], name: str, default: str | None = None) -> str:
    value = told.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise ValueError(f"{name} is a text and must be given")
    return value


def _whole(told: dict[str, object], name: str, default: int) -> int:
    value = told.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is a number, not {value!r}")
    return int(value)


def _list(told: dict[str, object], name: str) -> list[object]:
    value = told.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name} is a list, not {value!r}")
    return value


def _strings(told: dict[str, object], name: str) -> dict[str, str]:
    value = told.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{name} is an object, not {value!r}")
    return {str(key): str(text) for key, text in value.items()}
