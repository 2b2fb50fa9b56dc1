"""Container engines behind one small protocol; podman first, docker second."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from qnib.errors import Unavailable
from qnib.settings import Settings

CAPABILITIES = ("SETUID", "SETGID", "CHOWN", "KILL", "DAC_OVERRIDE")
"""All a container gets. munged and slurmd change user and owner, steps of users are ended, and slurmd writes
below users' directories."""


ULIMITS = (("nofile", 1024, 4096), ("nproc", 4096, 4096))
"""Both are set on every container: without CAP_SYS_RESOURCE an engine's own higher default cannot be applied."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container to run. `memory` in bytes and `cpus` in cores, 0 for no limit of the engine's own."""

    name: str
    image: str
    command: Sequence[str]
    labels: Mapping[str, str]
    hostname: str = ""
    network: str = ""
    address: str = ""
    join: str = ""
    """Another container whose network and processes it shares, in place of the two above; same host name."""
    binds: Sequence[tuple[str, str, str]] = ()
    """(host path or volume, path inside, ``ro`` or ``rw``)"""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path inside, to the file here that is copied there before it starts: for engines that do not see our files."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    cpus: float = 0
    processes: int = 0
    """Processes and threads it may have; 0: the engine's own default (podman: 2048)."""
    scratch: int = 0
    """Bytes /tmp may hold, kept in its memory; 0: as much as the engine's disk."""
    cgroup_parent: str = ""
    own_cgroup_namespace: bool = True
    """False: it sees the host's tree, to read. The kernel moves no process across the border of a namespace."""
    capabilities: Sequence[str] = CAPABILITIES
    ports: Mapping[int, int] = field(default_factory=dict)
    """Its TCP ports by the port of this machine's loopback they are reached at."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is there: the engine's name of a thing, its labels, and a container's state (``running`` …)."""

    name: str
    labels: Mapping[str, str]
    state: str = ""


class ContainerEngine(Protocol):
    name: str

    def cgroup_driver(self) -> str: ...

    def has_image(self, tag: str) -> bool: ...

    def import_image(self, archive: Path, tag: str) -> None: ...

    def images(self, prefix: str) -> list[str]: ...

    def remove_image(self, tag: str) -> None: ...

    def create_network(self, name: str, subnet: str, gateway: str, labels: Mapping[str, str]) -> None: ...

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None: ...

    def create(self, container: Container) -> None: ...

    def start(self, name: str) -> None: ...

    def kill(self, name: str) -> None:
        """End a container at once; it can be started again."""

    def run_inside(self, name: str, command: Sequence[str], *, user: str = "") -> tuple[int, str]:
        """Exit status and combined output of a command in a running container."""

    def pid(self, name: str) -> int:
        """The host's number of a running container's first process. Raises Unavailable when it does not run."""

    def logs(self, name: str, lines: int) -> str: ...

    def containers(self, label: str) -> list[Found]:
        """`label` is ``qnib`` (any cluster) or ``qnib=<cluster>``; stopped ones are listed, too."""

    def networks(self, label: str) -> list[Found]: ...

    def volumes(self, label: str) -> list[Found]: ...

    def subnets(self) -> list[str]:
        """Subnets of all the engine's networks, in CIDR form."""

    def remove_container(self, name: str) -> None: ...

    def remove_network(self, name: str) -> None: ...

    def remove_volume(self, name: str) -> None: ...

    def close(self, *, end_service: bool = False) -> None: ...


def open_engine(settings: Settings, wanted: Literal["auto", "podman", "docker"] | None = None) -> ContainerEngine:
    """Connect to the engine asked for; ``auto`` takes podman where it is installed, else docker.

    Raises Unavailable with what to install when there is none, NotAllowed without the rights.
    """
    choice = wanted or settings.terminal.engine
    if choice == "podman" or (choice == "auto" and installed("podman")):
        from qnib.terminal.engines import podman

        return podman.connect(settings)
    if choice == "docker" or installed("docker"):
        from qnib.terminal.engines import docker

        return docker.connect()
    raise Unavailable(
        "There is no container engine on this machine.", where="podman and docker on PATH",
        try_next="apt-get install podman runc netavark aardvark-dns iptables",
    )


def installed(engine: str) -> bool:
    return shutil.which(engine) is not None


def command_line(settings: Settings, engine: str) -> list[str]:
    """The start of a command line for an engine that has been used already; quicker than connecting to it."""
    if engine == "podman":
        # The file the service was started with: both must agree on the runtime.
        return ["env", f"CONTAINERS_CONF={settings.run / 'containers.conf'}", "podman"]
    return [engine]
