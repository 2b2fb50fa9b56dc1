"""What is read of containers: by a container of itself, and by a machine with an engine of all it has."""

from __future__ import annotations

from qnib.domains.container.engine import parse_docker, parse_podman, settle
from qnib.domains.container.happened import events
from qnib.domains.container.inside import EVERY, parse_inside, start_inside
from qnib.model import Capture

# QNIB_LABELS="NAME=VALUE NAME" in the agent's `environment`: only containers with all these labels are told of.
_PS = "{0} ps --all --no-trunc ${{QNIB_LABELS:+$(printf -- '--filter label=%s ' $QNIB_LABELS)}}"
_ALL = f'{_PS} --format "$1" && {_PS} --quiet | xargs -r {{0}} inspect'

CAPTURES = (
    Capture(
        "inside", ("cat", "/proc/self/mountinfo"), parse_inside, EVERY, "node", of_host=True, start=start_inside,
        events=events,
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
