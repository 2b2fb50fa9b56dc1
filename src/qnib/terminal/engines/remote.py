"""A Docker engine at an address: this machine's, or another's over SSH or TLS.

SSH carries the engine's socket to a socket here, so that all ways look alike from then on. It also lets us run the
system's own tools on that machine; TLS does not.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException, NotFound
from docker.tls import TLSConfig
from docker.types import IPAMConfig, IPAMPool, Ulimit

from qnib.errors import NotAllowed, Unavailable
from qnib.settings import Settings
from qnib.terminal.addresses import Address
from qnib.terminal.counting import SYSTEM_PATH
from qnib.terminal.engines import ULIMITS, Container
from qnib.terminal.engines.socket import SocketEngine, client

SECONDS = 5
"""A host that does not answer a connection within this time is away."""
_PATIENCE = 30
SSH = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={SECONDS}")
_PREFIX = "qnib-ssh-"
_CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")


class Remote(SocketEngine):
    """Raises Unavailable or NotAllowed when made for an engine that cannot be reached."""

    def __init__(self, settings: Settings, address: Address) -> None:
        if not shutil.which("docker"):
            raise Unavailable(
                "docker's command line is not installed here.", where="PATH", try_next="apt-get install docker.io",
            )
        self.address = address
        self._tunnel: Tunnel | None = None
        way: tuple[str, TLSConfig | None]
        if address.kind == "ssh":
            self._tunnel = Tunnel(address, settings.terminal.ssh_config)
            way, line = (f"unix://{self._tunnel.socket}", None), ["-H", f"unix://{self._tunnel.socket}"]
        elif address.kind == "tcp":
            way, line = over_tls(settings, address)
        else:
            way, line = (f"unix://{address.path}", None), ["-H", f"unix://{address.path}"]
        try:
            super().__init__(lambda: _reach(address, *way), ["docker", *line])
        except BaseException:
            self._end_tunnel()
            raise

    def close(self, *, end_service: bool = False) -> None:
        super().close(end_service=end_service)
        self._end_tunnel()

    def _end_tunnel(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()

    def tool(self, words: Sequence[str], given: str = "") -> str:
        """What a program of the engine's machine printed. Raises Unavailable when it fails, or over TLS."""
        if self.address.kind == "tcp":
            raise Unavailable(
                "Over TLS only the engine answers, no tool of its machine.", where=self.address.text,
                try_next="reach it by ssh:// instead.",
            )
        command = ["env", f"PATH={SYSTEM_PATH}", *words]
        if self._tunnel is not None:
            command = self._tunnel.command(command)
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f"{words[0]} did not answer within {_PATIENCE} s.", where=self.address.text,
                try_next="what the shell there runs when it starts (.bashrc) may be waiting for something.",
            ) from error
        if done.returncode:
            told = (done.stderr or done.stdout).strip().splitlines()
            raise Unavailable(
                f"{told[-1] if told else f'status {done.returncode}'}.", where=f"{words[0]} on {self.address.text}",
                try_next="it needs root there, and nftables, iproute2 and util-linux.",
            )
        return done.stdout

    # ── what only clusters over several hosts need ────────────────────────────────────────────

    def info(self) -> Mapping[str, Any]:
        with self._told("asking for its state", self.address.text):
            found: Mapping[str, Any] = self._client.info()
        return found

    def api(self, doing: str, work: Callable[[Any], Any]) -> Any:
        """What `work` makes of the engine's own interface; its errors become ours."""
        with self._told(doing, self.address.text):
            return work(self._client.api)

    def create(self, container: Container) -> None:
        super().create(container)
        if container.files:
            self.put(container.name, packed((inside, source) for inside, source in container.files.items()))

    def put(self, name: str, archive: bytes) -> None:
        """Unpack a tar archive at the root of a container, running or not."""
        with self._told("copying files into a container", name):
            self._client.api.put_archive(name, "/", archive)

    def get(self, name: str, path: str, most: int = 64 << 20) -> str | None:
        """The text of a file in a container, at most so many octets; None when there is none."""
        with self._told("reading a file of a container", name):
            try:
                chunks, _ = self._client.api.get_archive(name, path)
            except NotFound:
                return None
            whole = bytearray()
            for chunk in chunks:
                whole += chunk
                if len(whole) > most + (1 << 16):
                    raise ValueError(f"{path} is larger than {most} octets")
        with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as tar:
            member = tar.next()
            content = tar.extractfile(member) if member is not None and member.isreg() else None
            if content is None:
                raise ValueError(f"{path} is no ordinary file")
            return content.read().decode(errors="replace")

    def create_overlay(self, name: str, subnet: str, gateway: str, dynamic: str, labels: Mapping[str, str]) -> None:
        """A network over all hosts of the swarm; addresses nobody asked for come from `dynamic`."""
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet, gateway=gateway, iprange=dynamic)])
        with self._told("making a network", name):
            self._client.networks.create(name, driver="overlay", attachable=True, ipam=pool, labels=dict(labels))

    def overlay_namespace(self, network: str) -> str:
        """Where this host's part of an overlay network is: the file of its network namespace, there.

        Raises Unavailable while no container of this host is in it, or where its files cannot be seen.
        """
        with self._told("looking at a network", network):
            found = self._client.api.inspect_network(network)
            inside = next((name for name in found.get("Containers") or {} if not name.startswith("lb-")), None)
            sandbox = self._client.api.inspect_container(inside)["NetworkSettings"]["SandboxKey"] if inside else ""
        if not sandbox:
            raise Unavailable("No container of this host is in the network.", where=network, try_next="start one.")
        # docker calls it <generation>-<the first ten of the network's identifier>.
        folder, wanted = str(Path(sandbox).parent), f"*-{found['Id'][:10]}"
        told = self.tool(["find", folder, "-name", wanted]).split()
        if not told:
            raise Unavailable("The network has no bridge on this host.", where=folder, try_next="`qnib status`")
        return str(told[-1])

    def load_image(self, chunks: Iterable[bytes]) -> None:
        with self._told("taking the image", self.address.text):
            for line in self._client.api.load_image(chunks):
                if "error" in line:
                    raise Unavailable(
                        f"docker did not take the image: {line['error']}.", where=self.address.text,
                        try_next="look for a full disk there.",
                    )

    def run_once(
        self, name: str, image: str, command: Sequence[str], volume: tuple[str, str], archive: bytes,
        labels: Mapping[str, str],
    ) -> None:
        """Fill a volume (name, path inside) with an archive and run a command over it, without a network."""
        api = self._client.api
        with self._told("filling a volume", name):
            host = api.create_host_config(
                binds=[f"{volume[0]}:{volume[1]}:rw"], network_mode="none", cap_drop=["ALL"],
                security_opt=["no-new-privileges"], ulimits=[Ulimit(name=n, soft=s, hard=h) for n, s, h in ULIMITS],
            )
            api.create_container(image, command=list(command), name=name, labels=dict(labels), host_config=host)
            try:
                api.put_archive(name, "/", archive)
                api.start(name)
                status, told = api.wait(name)["StatusCode"], api.logs(name, tail=3).decode(errors="replace").strip()
            finally:
                api.remove_container(name, force=True)
        if status:
            raise Unavailable(
                f"{command[0]} failed: {told or f'status {status}'}.", where=self.address.text,
                try_next="`docker info` there shows whether the engine is well.",
            )


def packed(files: Iterable[tuple[str, Path]]) -> bytes:
    """A tar archive of files, each at a path inside; all are root's. Scripts may be run, whatever their mode here."""

    def roots(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        if member.name.endswith(".sh"):  # slurmd starts prolog.sh itself
            member.mode = 0o755
        elif member.mode & 0o044:
            member.mode = 0o644
        return member

    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for inside, source in files:
            tar.add(source, inside.lstrip("/"), filter=roots)
    return whole.getvalue()


def packed_text(inside: str, text: str) -> bytes:
    """The same of one file with this text, readable by root only."""
    whole = io.BytesIO()
    content = text.encode()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        member = tarfile.TarInfo(inside.lstrip("/"))
        member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
        tar.addfile(member, io.BytesIO(content))
    return whole.getvalue()


def over_tls(settings: Settings, address: Address) -> tuple[tuple[str, TLSConfig], list[str]]:
    """The URL with what proves who both sides are, and the same as options of docker's command line."""
    told = settings.terminal.certificates or os.environ.get("DOCKER_CERT_PATH", "")
    folder = Path(told) if told else Path.home() / ".docker"
    ca, cert, key = (folder / name for name in _CERTIFICATES)
    for file in (ca, cert, key):
        if not file.is_file():
            raise Unavailable(
                f"{address.text} is reached over TLS, and the client's {file.name} is missing.", where=str(file),
                try_next="put ca.pem, cert.pem and key.pem into a folder and name it: QNIB_TERMINAL__CERTIFICATES=…",
            )
    url = f"tcp://{address.host}:{address.port}"
    line = ["-H", url, "--tlsverify", f"--tlscacert={ca}", f"--tlscert={cert}", f"--tlskey={key}"]
    return (url, TLSConfig(client_cert=(str(cert), str(key)), ca_cert=str(ca), verify=True)), line


def _reach(address: Address, url: str, tls: TLSConfig | None) -> Any:
    try:
        if address.kind == "tcp":
            socket.create_connection((address.host, address.port), SECONDS).close()
        found = client(url, tls=tls)
        found.ping()
    except (DockerException, requests.RequestException, OSError) as error:
        if "Permission denied" in str(error):
            raise NotAllowed(
                "docker's socket is not yours to use.", where=address.text, try_next="run the same command with sudo.",
            ) from error
        hint = {
            "unix": "start it: systemctl start docker",
            "ssh": "see that docker runs there, and that the user may use its socket (the group docker).",
            "tcp": "see that docker listens there with --tlsverify, and that the certificates are of one authority.",
        }[address.kind]
        told = str(error.__cause__ or error).strip().splitlines()
        raise Unavailable(
            f"docker does not answer: {told[-1] if told else 'no reason given'}.", where=address.text, try_next=hint,
        ) from error
    return found


def _sweep() -> None:
    """Remove the folders of processes that were killed; what was in them ended by itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(FileNotFoundError):
            if not Path(f"/proc/{pid}").exists() and folder.lstat().st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)


def ssh_to(address: Address, config: str) -> list[str]:
    """What ssh is told of where to go."""
    port = ["-p", str(address.port)] if address.port else []
    return [*(["-F", config] if config else []), *port,
            f"{address.user}@{address.host}" if address.user else address.host]


class Tunnel:
    """An SSH connection that carries the engine's socket, and commands beside it. It ends with this process."""

    def __init__(self, address: Address, config: str) -> None:
        _sweep()
        # Short: a socket's path has at most 107 octets.
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.socket = self._folder / "engine"
        self._control = self._folder / "control"
        self._to = ssh_to(address, config)
        options = [
            "ServerAliveInterval=5", "ServerAliveCountMax=2", "ExitOnForwardFailure=yes", "ControlMaster=yes",
            f"ControlPath={self._control}",
        ]
        self._log = self._folder / "log"
        with self._log.open("wb") as log:
            # `cat` ends when its input does, which is when this process is gone, however it went.
            self._process = subprocess.Popen(
                ["ssh", *SSH, *(word for option in options for word in ("-o", option)),
                 "-L", f"{self.socket}:{address.path}", *self._to, "cat"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
            )
        deadline = time.monotonic() + 3 * SECONDS
        while not (self.socket.exists() and self._control.exists()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                told = self._log.read_text(errors="replace").strip().splitlines()
                self.close()
                raise Unavailable(
                    f"SSH does not get there: {told[-1].strip().rstrip('.') if told else 'no answer'}.",
                    where=address.text, try_next=f"`ssh {' '.join(self._to)} true` must work without a question.",
                )
            time.sleep(0.02)

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs `words` over there, on the same connection."""
        return ["ssh", "-o", "BatchMode=yes", "-S", str(self._control), *self._to, "--", shlex.join(words)]

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
