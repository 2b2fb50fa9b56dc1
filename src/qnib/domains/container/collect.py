"""What is read of containers: by a container of itself, and by a machine with an engine of all it has."""

from __future__ import annotations

from qnib.domains.container.engine import parse_docker, parse_podman, settle
from qnib.domains.container.happened import events
from qnib.domains.container.inside import EVERY, parse_inside, start_inside
from qnib.model import Capture

_ALL = '{0} ps --all --no-trunc --format "$1" && {0} ps --all --quiet --no-trunc | xargs -r {0} inspect'

CAPTURES = (
    Capture(
        "inside", ("cat", "/proc/self/mountinfo"), parse_inside, EVERY, "node", of_host=True, start=start_inside,
        events=events, first_is_news=True,
    ),
    Capture(
        "podman", ("sh", "-c", _ALL.format("podman"), "podman", "json"), parse_podman, 300, "node", of_host=True,
        watch=("/var/lib/containers/storage/overlay-containers/containers.json",), settle=settle, events=events,
    ),
    Capture(
        "docker", ("sh", "-c", _ALL.format("docker"), "docker", "{{json .}}"), parse_docker, 300, "node", of_host=True,
        watch=("/var/lib/docker/containers",), settle=settle, events=events,
    ),
)
