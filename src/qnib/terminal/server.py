"""Tells a running server that the clusters changed. Without a server there is nobody to tell."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

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
    request = urllib.request.Request(  # noqa: S310 - the address is the one our own server wrote
        f"{url}/api/clusters/refresh", method="POST", headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        return f"the server at {url} answered {error.code} to the news of this cluster"
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return ""  # it left its note behind when it was killed
        return f"the server at {url} did not answer ({error.reason}); it reads the records when it starts"
    except TimeoutError:
        return f"the server at {url} did not answer in 10 s; it reads the records when it starts"
