"""Docker: the daemon is the system's, we only connect."""

from __future__ import annotations

import os
import shutil
from typing import Any

import requests
from docker.errors import DockerException

from qnib.errors import NotAllowed, Unavailable
from qnib.terminal.engines.socket import SocketEngine, client

SOCKET = "unix:///var/run/docker.sock"


class Docker(SocketEngine):
    name = "docker"


def connect() -> Docker:
    if not shutil.which("docker"):
        raise Unavailable("docker is not installed.", where="PATH", try_next="apt-get install docker.io")
    url = os.environ.get("DOCKER_HOST", SOCKET)

    def reach() -> Any:
        try:
            found = client(url)
            found.ping()
        except (DockerException, requests.RequestException) as error:
            if "Permission denied" in str(error):
                raise NotAllowed(
                    "docker's socket is not yours to use.", where=url, try_next="run the same command with sudo.",
                ) from error
            raise Unavailable(
                "docker's daemon does not answer.", where=url, try_next="start it: systemctl start docker",
            ) from error
        return found

    return Docker(reach, ["docker"])
