"""Speaks to an engine through Docker's HTTP API, which podman serves, too. The two adapters differ in a few lines."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import IPAMConfig, IPAMPool, Ulimit

from qnib.errors import Unavailable
from qnib.terminal.engines import ULIMITS, Container, Found


class SocketEngine:
    """The protocol over one socket. Subclasses say how to find the socket."""

    name = "docker"
    join_with_name = False
    """Whether a container that joins another has to be told its host name; Docker takes the other's."""

    def __init__(self, connect: Callable[[], Any], command_line: Sequence[str]) -> None:
        self._client: Any = connect()
        self._command_line = list(command_line)

    # ── what differs between engines ──────────────────────────────────────────────────────────

    def close(self, *, end_service: bool = False) -> None:
        del end_service  # Docker's daemon is the system's, not ours
        self._client.close()

    # ── images ────────────────────────────────────────────────────────────────────────────────

    def cgroup_driver(self) -> str:
        with self._told("asking for its settings"):
            return str(self._client.info().get("CgroupDriver", ""))

    def has_image(self, tag: str) -> bool:
        with self._told("looking for an image", tag):
            try:
                self._client.images.get(tag)
            except NotFound:
                return False
            return True

    def import_image(self, archive: Path, tag: str) -> None:
        done = subprocess.run(
            [*self._command_line, "import", str(archive), tag], capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise Unavailable(
                f"{self.name} could not import the image: {_last(done.stderr)}.", where=tag,
                try_next=f"look for a full disk, then try again; `{self.name} info` shows where it keeps images.",
            )

    def images(self, prefix: str) -> list[str]:
        with self._told("listing images"):
            return sorted(tag for image in self._client.images.list() for tag in image.tags if prefix in tag)

    def remove_image(self, tag: str) -> None:
        with self._told("removing an image", tag):
            self._client.images.remove(tag, force=True)

    # ── networks and volumes ──────────────────────────────────────────────────────────────────

    def create_network(self, name: str, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet, gateway=gateway)])
        with self._told("making a network", name):
            self._client.networks.create(name, driver="bridge", ipam=pool, labels=dict(labels))

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        with self._told("making a volume", name):
            self._client.volumes.create(name, labels=dict(labels))

    def subnets(self) -> list[str]:
        with self._told("listing networks"):
            found = [network.attrs for network in self._client.networks.list()]
        return [c["Subnet"] for n in found for c in (n.get("IPAM", {}).get("Config") or []) if c.get("Subnet")]

    def image_size(self, tag: str) -> int:
        """Octets."""
        with self._told("looking at an image", tag):
            return int(self._client.api.inspect_image(tag)["Size"])

    def save_image(self, tag: str) -> Iterator[bytes]:
        """An image as a stream."""
        with self._told("handing an image out", tag):
            yield from self._client.api.get_image(tag)

    # ── containers ────────────────────────────────────────────────────────────────────────────

    def create(self, container: Container) -> None:
        api = self._client.api
        limits: dict[str, Any] = {}
        if container.memory:
            limits["mem_limit"] = container.memory
        if container.cpus:
            limits["nano_cpus"] = int(container.cpus * 1e9)
        if container.processes:
            limits["pids_limit"] = container.processes
        if container.scratch:
            limits["tmpfs"] = {"/tmp": f"size={container.scratch},mode=1777"}  # noqa: S108 - the container's own
        if container.join:
            limits["pid_mode"] = f"container:{container.join}"
        with self._told("making a container", container.name):
            host = api.create_host_config(
                binds=[f"{source}:{inside}:{mode}" for source, inside, mode in container.binds],
                cap_drop=["ALL"], cap_add=list(container.capabilities), security_opt=["no-new-privileges"],
                cgroup_parent=container.cgroup_parent or None,
                cgroupns=None if container.own_cgroup_namespace else "host",
                extra_hosts=dict(container.hosts) or None,
                ulimits=[Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in ULIMITS],
                network_mode=f"container:{container.join}" if container.join else container.network,
                port_bindings={inside: ("127.0.0.1", port) for port, inside in container.ports.items()}, **limits,
            )
            place = None if container.join else api.create_networking_config(
                {container.network: api.create_endpoint_config(ipv4_address=container.address)}
            )
            api.create_container(
                # Whatever an image would start, and as whom: not all of them are our own.
                container.image, entrypoint=[container.command[0]], command=list(container.command[1:]), user="0:0",
                name=container.name, hostname=container.hostname if not container.join or self.join_with_name else None,
                labels=dict(container.labels), environment=dict(container.environment), host_config=host,
                networking_config=place, ports=list(container.ports.values()), detach=True,
            )

    def start(self, name: str) -> None:
        with self._told("starting a container", name):
            self._client.api.start(name)

    def kill(self, name: str) -> None:
        with self._told("killing a container", name):
            self._client.api.kill(name)

    def run_inside(self, name: str, command: Sequence[str], *, user: str = "") -> tuple[int, str]:
        with self._told(f"running {command[0]!r} in a container", name):
            made = self._client.api.exec_create(name, list(command), user=user)
            output: bytes = self._client.api.exec_start(made["Id"])
            status = self._client.api.exec_inspect(made["Id"])["ExitCode"]
        return int(status or 0), (output or b"").decode(errors="replace")

    def pid(self, name: str) -> int:
        with self._told("looking for the process of a container", name):
            found = int(self._client.api.inspect_container(name)["State"].get("Pid") or 0)
        if not found:
            raise Unavailable("The container does not run.", where=name, try_next="`qnib status` shows what runs.")
        return found

    def logs(self, name: str, lines: int) -> str:
        with self._told("reading the log of a container", name):
            return bytes(self._client.api.logs(name, tail=lines)).decode(errors="replace")

    def containers(self, label: str) -> list[Found]:
        with self._told("listing containers"):
            found = self._client.api.containers(all=True, filters={"label": label})
        return [Found(c["Names"][0].lstrip("/"), c.get("Labels") or {}, c.get("State", "")) for c in found]

    def networks(self, label: str) -> list[Found]:
        with self._told("listing networks"):
            found = self._client.api.networks(filters={"label": label})
        return [Found(n["Name"], n.get("Labels") or {}) for n in found]

    def volumes(self, label: str) -> list[Found]:
        with self._told("listing volumes"):
            found = self._client.api.volumes(filters={"label": label}).get("Volumes") or []
        return [Found(v["Name"], v.get("Labels") or {}) for v in found]

    def remove_container(self, name: str) -> None:
        with self._told("removing a container", name), _absent_is_fine():
            self._client.api.remove_container(name, force=True, v=True)

    def remove_network(self, name: str) -> None:
        with self._told("removing a network", name), _absent_is_fine():
            self._client.api.remove_network(name)

    def remove_volume(self, name: str) -> None:
        with self._told("removing a volume", name), _absent_is_fine():
            self._client.api.remove_volume(name, force=True)

    @contextmanager
    def _told(self, doing: str, what: str = "") -> Iterator[None]:
        """Turns the engine's errors into ours."""
        try:
            yield
        except APIError as error:
            raise Unavailable(
                f"{self.name} failed {doing}: {_last(error.explanation or str(error))}.", where=what or self.name,
                try_next=f"if it is not clear from this, `{self.name} info` shows whether the engine is well.",
            ) from error
        except (DockerException, requests.RequestException) as error:
            raise Unavailable(
                f"{self.name} does not answer while {doing}: {_last(str(error))}.", where=what or self.name,
                try_next="check that the engine runs, then try again.",
            ) from error


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    """Removing what is gone already is success: `down` may be run twice."""
    try:
        yield
    except NotFound:
        return


def client(url: str, tls: Any = None) -> Any:
    """A docker client with patience for sixteen containers at once on two cores."""
    made = docker.DockerClient(base_url=url, version="1.41", timeout=120, max_pool_size=32, tls=tls)
    # REQUESTS_CA_BUNDLE would win over the authority that was asked for, and a proxy leads to no engine.
    made.api.trust_env = False
    return made


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else "no reason given"
