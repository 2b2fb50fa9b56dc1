"""Tells a running server that the clusters changed. Without a server there is nobody to tell."""

from __future__ import annotations

import json

import httpx

from qnib.settings import Settings


def refresh(settings: Settings) -> str:
    """Ask the server to look at the records again; a sentence when that failed, empty when all is well.

    A cluster works without its server, so this never raises for a server that does not answer.
    """
    try:
        url = json.loads((settings.run / "server.json").read_text())["url"]
        token = (settings.run / "token").read_text().strip()
    except (FileNotFoundError, KeyError, ValueError):
        return ""
    try:
        answer = httpx.post(f"{url}/api/clusters/refresh", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    except httpx.ConnectError:
        return ""  # it left its note behind when it was killed
    except httpx.HTTPError as error:
        return f"the server at {url} did not answer ({type(error).__name__}); it reads the records when it starts"
    return "" if answer.is_success else f"the server at {url} answered {answer.status_code} to the news of this cluster"
