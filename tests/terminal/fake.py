"""A container engine in memory: remembers what was asked of it, and fails where it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from qnib.terminal import attendant, counting, hosts, neighbours, package, starting, stopping
from qnib.terminal.engines import Container, Found


class FakeEngine:
    name = "podman"

    def __init__(self) -> None:
        self.images_there: set[str] = set()
        self.there: dict[str, Found] = {}
        self.networks_there: dict[str, tuple[str, Mapping[str, str]]] = {}
        self.volumes_there: dict[str, Mapping[str, str]] = {}
        self.made: list[Container] = []
        self.ran: list[tuple[str, Sequence[str]]] = []
        self.answer: Callable[[str, Sequence[str]], tuple[int, str]] = lambda name, command: (0, "")
        self.before: Callable[[str, str], None] = lambda what, name: None
        self.closed = 0

    def cgroup_driver(self) -> str:
        return "systemd"  # the rung that touches nothing of the host

    def has_image(self, tag: str) -> bool:
        return tag in self.images_there

    def import_image(self, archive: Path, tag: str) -> None:
        self.images_there.add(tag)

    def images(self, prefix: str) -> list[str]:
        return sorted(tag for tag in self.images_there if prefix in tag)

    def remove_image(self, tag: str) -> None:
        self.images_there.remove(tag)

    def create_network(self, name: str, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        self.before("network", name)
        self.networks_there[name] = (subnet, labels)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.before("volume", name)
        self.volumes_there[name] = labels

    def create(self, container: Container) -> None:
        self.before("create", container.name)
        self.made.append(container)
        self.there[container.name] = Found(container.name, container.labels, "created")

    def start(self, name: str) -> None:
        self.before("start", name)
        self.there[name] = Found(name, self.there[name].labels, "running")

    def kill(self, name: str) -> None:
        self.there[name] = Found(name, self.there[name].labels, "exited")

    def run_inside(self, name: str, command: Sequence[str], *, user: str = "") -> tuple[int, str]:
        self.ran.append((name, command))
        return self.answer(name, command)

    def pid(self, name: str) -> int:
        return 1

    def logs(self, name: str, lines: int) -> str:
        return f"{name} says its last word\n"

    def containers(self, label: str) -> list[Found]:
        return [found for found in self.there.values() if _carries(found.labels, label)]

    def networks(self, label: str) -> list[Found]:
        return [Found(n, labels) for n, (_, labels) in self.networks_there.items() if _carries(labels, label)]

    def volumes(self, label: str) -> list[Found]:
        return [Found(n, labels) for n, labels in self.volumes_there.items() if _carries(labels, label)]

    def subnets(self) -> list[str]:
        return [subnet for subnet, _ in self.networks_there.values()]

    def remove_container(self, name: str) -> None:
        del self.there[name]

    def remove_network(self, name: str) -> None:
        del self.networks_there[name]

    def remove_volume(self, name: str) -> None:
        del self.volumes_there[name]

    def close(self, *, end_service: bool = False) -> None:
        self.closed += 1


def _carries(labels: Mapping[str, str], label: str) -> bool:
    name, equals, value = label.partition("=")
    return labels.get(name) == value if equals else name in labels


def in_place(made: FakeEngine, monkeypatch: pytest.MonkeyPatch, folder: Path) -> FakeEngine:
    """The only engine there is; nothing of this machine (its kernel's tables, its processes) is touched."""
    for module in (starting, stopping, hosts):
        monkeypatch.setattr(module, "open_engine", lambda settings, wanted=None: made)
    monkeypatch.setattr(stopping, "installed", lambda name: name == "podman")
    monkeypatch.setattr(attendant, "start", lambda settings, name: None)
    monkeypatch.setattr(counting, "start", lambda plan: None)
    monkeypatch.setattr(neighbours, "make_room", lambda hosts: "")
    monkeypatch.setattr(neighbours, "restore", lambda: None)
    monkeypatch.setattr(package, "ensure", lambda settings, engine, tag, toolbox: folder / "package")
    return made
