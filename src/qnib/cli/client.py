"""Speaks to the running server: the server owns the data, so every read of the command line goes through it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from qnib import errors
from qnib.settings import Settings

_BY_STATUS = {
    400: errors.WrongUse,
    401: errors.NotAllowed,
    403: errors.NotAllowed,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    422: errors.TooMuch,
    429: errors.TooFast,
    503: errors.Unavailable,
}


def running(settings: Settings) -> dict[str, Any] | None:
    """What the server wrote about itself (pid, url, token), None when there is none alive."""
    file = settings.run / "server.json"
    try:
        told: dict[str, Any] = json.loads(file.read_text())
        told["token"] = (settings.run / "token").read_text().strip()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise errors.NotAllowed(
            "The server belongs to another user.",
            where=str(file),
            try_next="run this as the user who started it.",
        ) from error
    return told if alive(told["pid"], told.get("started_ticks")) else None


def alive(pid: int, started_ticks: int | None = None) -> bool:
    """Whether this very process runs: a pid alone may have been given to another since."""
    ticks = start_ticks(pid)
    return ticks is not None and (started_ticks is None or ticks == started_ticks)


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it is gone or a zombie."""
    from pathlib import Path

    try:
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after[0] == "Z" else int(after[19])


class Client:
    """``Client(settings).get("/api/jobs", cluster="demo")`` → the decoded answer; errors as QnibError."""

    def __init__(self, settings: Settings) -> None:
        told = running(settings)
        if told is None:
            raise errors.Unavailable(
                "No QNIB server is running.",
                where=str(settings.run),
                try_next="start it with `qnib serve --background`.",
            )
        self.url: str = told["url"]
        self._http = httpx.Client(
            base_url=told["url"], headers={"Authorization": f"Bearer {told['token']}"}, timeout=60
        )

    def get(self, path: str, **params: Any) -> Any:
        wanted = {name: value for name, value in params.items() if value not in (None, "")}
        return self._answer("GET", path, params=wanted)

    def post(self, path: str, body: Any = None) -> Any:
        return self._answer("POST", path, json=body)

    def send(self, path: str, raw: bytes, **params: Any) -> Any:
        """Post raw octets; what it may take long to take in is waited for."""
        wanted = {name: value for name, value in params.items() if value not in (None, "")}
        return self._answer("POST", path, params=wanted, content=raw, timeout=600)

    def _answer(self, method: str, path: str, **options: Any) -> Any:
        return self._send(method, path, **options).json()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise errors.Unavailable(
                f"The QNIB server does not answer ({type(error).__name__}).",
                where=self.url,
                try_next="look at its log, or restart it: `qnib stop`, `qnib serve --background`.",
            ) from error
        if answer.is_success:
            return answer
        try:
            told = answer.json()
            what, where, try_next = told["what"], told["where"], told["try_next"]
        except (ValueError, KeyError, TypeError):
            what, where, try_next = f"The server answered {answer.status_code}.", path, "look at the server's log."
        raise _BY_STATUS.get(answer.status_code, errors.QnibError)(what, where=where, try_next=try_next)
