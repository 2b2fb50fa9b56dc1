"""Several engines as one: each container belongs to a host, and whatever is done to it is done there.

What belongs to no single container (volumes, listings) is done on every host that is there. A host that is away raises
Unavailable for its own containers only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qnib.errors import QnibError, Unavailable
from qnib.terminal.engines import Container, Found
from qnib.terminal.interrupts import at_once

if TYPE_CHECKING:
    from qnib.terminal.engines.remote import Remote

T = TypeVar("T")

_NODE = re.compile(r"-compute(\d+)$")


@dataclass(slots=True)
class Host:
    """One engine; None with its `trouble` while it is away."""

    address: str
    engine: Remote | None
    trouble: QnibError | None = None
    cpus: int = 0

    @property
    def there(self) -> Remote:
        if self.engine is None:
            why = f": {self.trouble.what.rstrip('.')}" if self.trouble else ""
            raise Unavailable(
                f"The host is away{why}.", where=self.address,
                try_next="see whether it runs and can be reached; `qnib status` tells which are away.",
            )
        return self.engine


class Several:
    """`places`: the index into `hosts` of compute0, compute1 …; all else is on the first host."""

    name = "docker"

    def __init__(self, hosts: list[Host], places: list[int]) -> None:
        self.hosts, self.places = hosts, places

    @property
    def present(self) -> list[Host]:
        return [host for host in self.hosts if host.engine is not None]

    def check_all_present(self) -> None:
        for host in self.hosts:
            if host.trouble is not None:
                raise host.trouble

    def host_of(self, container: str) -> Host:
        found = _NODE.search(container)
        return self.hosts[self.places[int(found[1])] if found else 0]

    def on_each(self, work: Callable[[Remote], T]) -> list[T]:
        """The same on every host that is there, at once."""
        return at_once(work, [host.there for host in self.present])

    # ── by container ──────────────────────────────────────────────────────────────────────────

    def create(self, container: Container) -> None:
        host = self.host_of(container.name)
        # An engine refuses a limit above what its machine has.
        cpus = min(container.cpus, host.cpus) if host.cpus else container.cpus
        host.there.create(replace(container, cpus=cpus))

    def start(self, name: str) -> None:
        self.host_of(name).there.start(name)

    def kill(self, name: str) -> None:
        self.host_of(name).there.kill(name)

    def run_inside(self, name: str, command: Sequence[str], *, user: str = "") -> tuple[int, str]:
        return self.host_of(name).there.run_inside(name, command, user=user)

    def pid(self, name: str) -> int:
        return self.host_of(name).there.pid(name)

    def logs(self, name: str, lines: int) -> str:
        return self.host_of(name).there.logs(name, lines)

    def remove_container(self, name: str) -> None:
        self.host_of(name).there.remove_container(name)

    # ── on every host ─────────────────────────────────────────────────────────────────────────

    def cgroup_driver(self) -> str:
        return ""  # cgroups of other machines are not ours to make: their engines limit the nodes

    def has_image(self, tag: str) -> bool:
        return all(self.on_each(lambda engine: engine.has_image(tag)))

    def import_image(self, archive: Path, tag: str) -> None:
        self.on_each(lambda engine: engine.import_image(archive, tag))

    def images(self, prefix: str) -> list[str]:
        return sorted({tag for tags in self.on_each(lambda engine: engine.images(prefix)) for tag in tags})

    def remove_image(self, tag: str) -> None:
        self.on_each(lambda engine: engine.remove_image(tag) if engine.has_image(tag) else None)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.on_each(lambda engine: engine.create_volume(name, labels))

    def remove_volume(self, name: str) -> None:
        self.on_each(lambda engine: engine.remove_volume(name))

    def containers(self, label: str) -> list[Found]:
        return [found for listed in self.on_each(lambda engine: engine.containers(label)) for found in listed]

    def volumes(self, label: str) -> list[Found]:
        return _by_name(self.on_each(lambda engine: engine.volumes(label)))

    def networks(self, label: str) -> list[Found]:
        # A worker lists a network of the swarm while a container of its own is in it.
        return _by_name(self.on_each(lambda engine: engine.networks(label)))

    def subnets(self) -> list[str]:
        return [subnet for listed in self.on_each(lambda engine: engine.subnets()) for subnet in listed]

    # ── on the first ──────────────────────────────────────────────────────────────────────────

    def create_network(self, name: str, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        dynamic = f"{subnet.rpartition('.')[0]}.240/28"  # above the nodes: the swarm wants an address for each host
        self.hosts[0].there.create_overlay(name, subnet, gateway, dynamic, labels)

    def remove_network(self, name: str) -> None:
        self.hosts[0].there.remove_network(name)

    def close(self, *, end_service: bool = False) -> None:
        for host in self.present:
            host.there.close(end_service=end_service)


def _by_name(listed: list[list[Found]]) -> list[Found]:
    return list({found.name: found for one in listed for found in one}.values())
