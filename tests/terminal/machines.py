"""Machines for tests of several hosts: each a real dockerd in namespaces of its own (network, mounts, processes), with
its own /run and /var/lib/docker, on one switch with this machine. All answer over SSH and over TLS.

The folder the tests keep their state in is empty on them: a path of this machine means nothing there, as between real
hosts. A machine whose plug is pulled loses its link and every process at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TOOLS = (
    "dockerd", "containerd", "docker", "runc", "sshd", "ssh", "ssh-keygen", "openssl", "ip", "nsenter", "unshare",
    "setpriv",
)
UNPACKED = Path(__file__).parents[2] / ".make/unpacked/usr"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:{UNPACKED}/bin:{UNPACKED}/sbin"
"""What is not installed, `tools/setup test` has unpacked."""

INSIDE = r"""
set -e
mount --make-rprivate /
mkdir -p /var/lib/docker
mount --bind "$DATA" /var/lib/docker
mount -t tmpfs -o mode=755 machine /run
mkdir -p /run/sshd /run/keys
cp "$KEYS"/* /run/keys/ && chmod 600 /run/keys/*
mount -t tmpfs hidden "$HIDE"
[ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc  # sshd's shells are of this machine's person else
ip link set lo up
cat >/run/sshd.conf <<END
ListenAddress $ADDRESS
HostKey /run/keys/host
AuthorizedKeysFile /run/keys/client.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
SetEnv PATH=$PATH
END
"$(command -v sshd)" -D -e -f /run/sshd.conf >/run/sshd.log 2>&1 &
ulimit -n 4096
exec dockerd --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$NAME" --default-ulimit nofile=1024:4096 \
    -H unix:///run/docker.sock -H tcp://$ADDRESS:2376 --tlsverify --tlscacert /run/keys/ca.pem \
    --tlscert /run/keys/server.pem --tlskey /run/keys/server.key --userland-proxy=false --bip 172.30.0.1/24
"""


def lacking() -> str:
    """Why machines cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "hosts of their own need root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]:
        return f"hosts of their own need {', '.join(missing)}: tools/setup test"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"no namespaces can be made: {tried.stderr.decode().strip()}"


@dataclass
class Machine:
    name: str
    address: str
    folder: Path
    namespace: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def run(self, *command: str, env: dict[str, str] | None = None, check: bool = True) -> str:
        """A command on this machine; what it printed."""
        enter = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid"]
        done = subprocess.run(
            [*enter, *command], capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": PATH, **(env or {})},
        )
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout


@dataclass
class Machines:
    """A switch, and machines at it. `close` ends every process and removes every link it made."""

    folder: Path
    hide: Path
    """What the machines must not see of this one."""
    token: str = field(default_factory=lambda: f"{os.getpid():06x}")
    machines: list[Machine] = field(default_factory=list)

    @property
    def here(self) -> str:
        return f"{self._net}.1"

    @property
    def certificates(self) -> Path:
        return self.folder / "client"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def open(self, count: int) -> None:
        _sweep()
        self._net = _free_net()
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        self._plug(f"qh{self.token}", "here", None)
        _ip("addr", "add", f"{self.here}/24", "dev", f"qh{self.token}")
        _ip("link", "set", f"qh{self.token}", "up")
        self._keys([f"{self._net}.{number + 2}" for number in range(count)])
        for number in range(count):
            name = f"qh{self.token}{chr(ord('a') + number)}"
            machine = Machine(name, f"{self._net}.{number + 2}", self.folder / name, name)
            self.machines.append(machine)
            _ip("netns", "add", name)
            self._plug("eth0", f"to{number}", name)
            _ip("-n", name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "route", "add", "default", "via", self.here)
            self.boot(machine)
        for machine in self.machines:
            self._await(machine)

    def boot(self, machine: Machine) -> None:
        data = machine.folder / "docker"
        data.mkdir(parents=True, exist_ok=True)
        (machine.folder / "inside.sh").write_text(INSIDE)
        with (machine.folder / "log").open("ab") as log:
            machine.process = subprocess.Popen(
                # They end with the tests, however these end.
                ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{machine.namespace}", "--",
                 "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                 "bash", str(machine.folder / "inside.sh")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": PATH, "HOME": "/root", "DATA": str(data), "KEYS": str(self.folder / "keys"),
                     "HIDE": str(self.hide), "ADDRESS": machine.address, "NAME": machine.name},
            )

    def pull_plug(self, machine: Machine) -> None:
        """It is gone at once: its link, its engine and everything that ran on it."""
        _ip("-n", machine.namespace, "link", "set", "eth0", "down")
        self.halt(machine)

    def halt(self, machine: Machine) -> None:
        if machine.process is not None:
            machine.process.kill()  # unshare ends its child, the first process, and that all others
            machine.process.wait()
            machine.process = None

    def plug_in(self, machine: Machine) -> None:
        _ip("-n", machine.namespace, "link", "set", "eth0", "up")
        _ip("-n", machine.namespace, "route", "replace", "default", "via", self.here)
        self.boot(machine)
        self._await(machine)

    def close(self) -> None:
        for machine in self.machines:
            self.halt(machine)
        for machine in self.machines:
            _ip("netns", "delete", machine.namespace, check=False)
            _prune("/sys/fs/cgroup", machine.name)
        _ip("link", "delete", f"qh{self.token}", check=False)
        _ip("netns", "delete", self._switch, check=False)
        for machine in self.machines:
            shutil.rmtree(machine.folder)

    @property
    def _switch(self) -> str:
        return f"qh{self.token}s"

    def _plug(self, device: str, port: str, namespace: str | None) -> None:
        """A cable from the switch's port to a device of a namespace (None: this machine's)."""
        _ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", device, "netns", namespace or "1")
        _ip("-n", self._switch, "link", "set", port, "master", "switch", "up")

    def _await(self, machine: Machine, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        ask = ["docker", "-H", f"tcp://{machine.address}:2376", "--tlsverify", "version"]
        env = {"PATH": PATH, "DOCKER_CERT_PATH": str(self.certificates), "HOME": "/root"}
        while subprocess.run(ask, capture_output=True, check=False, env=env).returncode:
            assert machine.process and machine.process.poll() is None, (machine.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (machine.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def _keys(self, addresses: Iterable[str]) -> None:
        """A certificate authority with a server's and a client's certificate, and SSH's keys."""
        keys, client = self.folder / "keys", self.certificates
        keys.mkdir()
        client.mkdir()
        make = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        names = ",".join(f"IP:{address}" for address in addresses)
        script = f"""
            set -e
            {make} -x509 -days 2 -subj /CN=test -keyout ca.key -out ca.pem
            {make} -subj /CN=engine -keyout server.key -out server.csr
            openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
                -extfile <(echo subjectAltName={names})
            {make} -subj /CN=client -keyout {client}/key.pem -out client.csr
            openssl x509 -req -days 2 -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {client}/cert.pem \
                -extfile <(echo extendedKeyUsage=clientAuth)
            cp ca.pem {client}/ca.pem
            ssh-keygen -q -t ed25519 -N '' -f host
            ssh-keygen -q -t ed25519 -N '' -f client
            mv client {client}/id
        """
        done = subprocess.run(["bash", "-c", script], cwd=keys, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        kind, key, *_ = (keys / "host.pub").read_text().split()
        known = self.folder / "known_hosts"
        known.write_text("".join(f"{address} {kind} {key}\n" for address in addresses))
        self.ssh_config.write_text(f"IdentityFile {client}/id\nIdentitiesOnly yes\nUserKnownHostsFile {known}\n")


def _sweep() -> None:
    """What tests that were killed left behind: links, namespaces, cgroups. Their processes ended with them."""
    for namespace in Path("/run/netns").glob("qh*"):
        found = re.fullmatch(r"qh([0-9a-f]{6})[a-z]", namespace.name)
        if found and not Path(f"/proc/{int(found[1], 16)}").exists():
            _ip("link", "delete", f"qh{found[1]}", check=False)
            _ip("netns", "delete", namespace.name, check=False)
            _prune("/sys/fs/cgroup", namespace.name)


def _free_net() -> str:
    """Three octets of a network nobody here has."""
    there = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    return next(net for net in (f"10.214.{n}" for n in range(1 + os.getpid() % 100, 250)) if net + "." not in there)


def _ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, env={"PATH": PATH})
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _prune(root: str, name: str, seconds: float = 10) -> None:
    """cgroups of a machine whose processes were killed; the last of them may be on their way yet."""
    deadline = time.monotonic() + seconds
    for top in [Path(root) / name, *(part / name for part in Path(root).iterdir())]:
        while top.is_dir():
            with contextlib.suppress(OSError):
                for folder, _, _ in os.walk(top, topdown=False):
                    Path(folder).rmdir()
            assert time.monotonic() < deadline, f"{top} is still in use"
            time.sleep(0.02)
