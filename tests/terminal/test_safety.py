"""What docs/guides/safety.md promises, looked at from outside."""

from __future__ import annotations

import ipaddress
import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qnib import clusters, terminal
from qnib.terminal import login, record
from qnib.terminal.engines import CAPABILITIES, command_line
from tests.conftest import World
from tests.terminal.conftest import Lab
from tests.terminal.test_cluster import assert_nothing_of, engine_of, until

GUIDE = Path(__file__).parents[2] / "docs/guides/safety.md"
NUMBERS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7}

cluster_test = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_every_capability_has_its_reason_in_the_guide() -> None:
    told = re.findall(r"^\| `([A-Z_]+)` \| (.{20,}) \|$", GUIDE.read_text(), re.MULTILINE)
    assert sorted(name for name, _ in told) == sorted((*CAPABILITIES, *login.CAPABILITIES))
    assert sorted(NUMBERS) == sorted(CAPABILITIES), "and SYS_ADMIN is not among them"


class TestRights:
    pytestmark = cluster_test

    def test_no_process_of_any_container_has_more_than_the_list(self, lab: Lab) -> None:
        mask = sum(1 << NUMBERS[name] for name in CAPABILITIES)
        for name, pid in _containers(lab).items():
            space = Path(f"/proc/{pid}/ns/pid").readlink()
            mine = [one for one in Path("/proc").glob("[0-9]*") if _space(one) == space]
            assert mine, name
            for one in mine:
                try:
                    told = dict(re.findall(r"^(\w+):\s*(\S+)$", (one / "status").read_text(), re.MULTILINE))
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it ended meanwhile
                for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                    assert int(told[kind], 16) & ~mask == 0, f"{name} {told['Name']} {kind} {told[kind]}"
                assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2"), f"{name} {told['Name']}"

    def test_no_container_is_privileged_or_has_a_port_or_device_of_the_host(self, lab: Lab) -> None:
        for told in _inspected(lab):
            host = told["HostConfig"]
            assert host["Privileged"] is False
            assert not host["PortBindings"] and not host["Devices"]
            assert {host[kind] for kind in ("PidMode", "IpcMode", "UTSMode")} <= {"private", "shareable", ""}
            assert host["NetworkMode"] not in ("host", "none")
            writable = {one["Destination"] for one in told["Mounts"] if one.get("RW")}
            allowed = re.compile(r"/home|/run/fabric|/sys/fs/cgroup/.*")
            assert all(allowed.fullmatch(place) for place in writable), writable


class TestSecrets:
    pytestmark = cluster_test

    def test_only_their_owner_reads_them(self, lab: Lab) -> None:
        home = lab.settings.home
        cluster = clusters.load(lab.settings.clusters, lab.name)
        key = (record.folder(lab.settings, lab.name) / "etc/munge.key").read_bytes()
        found = set()
        for file in home.rglob("*"):
            if not stat.S_ISREG(file.lstat().st_mode):
                continue
            content = file.read_bytes()
            if cluster.ingest_token.encode() in content or key in content:
                found.add(file.name)
                assert file.stat().st_mode & 0o077 == 0, file
        assert {"cluster.json", "munge.key", "agent-controller.json", "agent-compute0.json"} <= found

    def test_no_command_line_environment_or_label_has_them(self, lab: Lab) -> None:
        token = clusters.load(lab.settings.clusters, lab.name).ingest_token
        assert token not in json.dumps(_inspected(lab))
        lines = b"".join(_octets(one / "cmdline") + _octets(one / "environ") for one in Path("/proc").glob("[0-9]*"))
        assert b"qnib" in lines and token.encode() not in lines

    def test_no_image_has_a_key(self, lab: Lab) -> None:
        told = lab.run("fabric", "sh", "-c", "ls /etc/munge; find /etc /root /home -name '*.key' -o -name '*token*'")
        assert "munge.key" not in told


class TestListeners:
    pytestmark = cluster_test

    def test_the_server_listens_on_loopback_and_the_clusters_network(self, world: World) -> None:
        server = json.loads((world.home / "run/server.json").read_text())
        gateway = clusters.load(world.home / "clusters", world.name).gateway
        heard = list(_listening(server["pid"]))
        assert {address for address, _ in heard} == {"127.0.0.1", gateway}, heard
        assert (world.home / "run/token").stat().st_mode & 0o077 == 0
        assert (world.home / "run").stat().st_mode & 0o077 == 0

    def test_nothing_else_of_a_cluster_listens_on_this_machine(self, lab: Lab) -> None:
        """Whatever listens on a cluster's addresses is there; the rest of the machine is as it was."""
        mine = {int(one.name) for one in Path("/proc").glob("[0-9]*") if lab.name.encode() in _octets(one / "cmdline")}
        assert mine
        here = Path("/proc/self/ns/net").readlink()
        for pid in mine:
            if _link(Path(f"/proc/{pid}/ns/net")) == str(here):  # else it is inside
                assert all(ipaddress.ip_address(address).is_loopback for address, _ in _listening(pid))


@pytest.fixture(scope="module")
def other(lab: Lab) -> Iterator[str]:
    """A second cluster on this machine."""
    name = f"{lab.name}x"
    lab.qnib("up", "--name", name, "--nodes", "1")
    try:
        yield name
    finally:
        lab.qnib("down", "--name", name)


class TestTwoClusters:
    pytestmark = cluster_test

    def test_nodes_reach_no_host_of_the_other(self, lab: Lab, other: str) -> None:
        told = terminal.status(lab.settings, other)
        gateway = told["gateway"]
        with socket.create_server((gateway, 0)) as listening:
            port = listening.getsockname()[1]
            for address in [one["address"] for one in told["containers"]]:
                for number in (6817, 6818):
                    assert not _reached(lab, "compute0", address, number), f"{address}:{number}"
            assert not _reached(lab, "compute0", gateway, port)
            # The same knock is answered at home, so it is not the knocking.
            assert lab.qnib("exec", "--name", other, "compute0", "--", *_knock(gateway, port)).returncode == 0
        assert _reached(lab, "compute0", terminal.status(lab.settings, lab.name)["containers"][0]["address"], 6817)

    def test_keys_files_jobs_and_fabric_are_each_ones_own(self, lab: Lab, other: str) -> None:
        def there(host: str, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
            options = ["--user", user] if user else []
            return lab.qnib("exec", "--name", other, *options, host, "--", *command, check=False)

        credential = lab.run("compute0", "munge", "-s", "hello").strip()
        assert "hello" in lab.run("compute1", "sh", "-c", f"echo '{credential}' | unmunge")
        assert there("compute0", "sh", "-c", f"echo '{credential}' | unmunge").returncode != 0
        lab.run("compute0", "sh", "-c", "echo mine >only-here", user="alice")
        assert there("compute0", "ls", user="alice").stdout == ""
        job = lab.run("controller", "sbatch", "--parsable", "-J", "only-here", "--wrap", "sleep 60").strip()
        assert "only-here" not in there("controller", "squeue", "-h", "-t", "all", "-o", "%j").stdout
        lab.run("controller", "scancel", job)
        assert '"compute1"' not in there("fabric", "ibnetdiscover").stdout


class TestInterruptions:
    pytestmark = cluster_test

    def test_an_up_that_was_killed_is_repeated_and_so_is_a_down(self, lab: Lab) -> None:
        name = f"{lab.name}k"
        _kill_midway(lab, name, "up", "--nodes", "2")
        assert lab.qnib("up", "--name", name, "--nodes", "2", timeout=240).returncode == 0
        lab.qnib("exec", "--name", name, "controller", "--", "srun", "--mpi=none", "-N2", "true")
        _kill_midway(lab, name, "down")
        lab.qnib("down", "--name", name)
        assert_nothing_of(lab, name)
        assert "no cluster" in lab.qnib("down", "--name", name).stdout

    def test_a_killed_up_is_swept_by_down(self, lab: Lab) -> None:
        name = f"{lab.name}l"
        _kill_midway(lab, name, "up", "--nodes", "2")
        lab.qnib("down", "--name", name)
        assert_nothing_of(lab, name)


def _kill_midway(lab: Lab, name: str, *words: str) -> None:
    """Start a command and kill it hard as soon as it has changed something in the engine."""
    engine = engine_of(lab)
    try:
        before = len(engine.containers(f"qnib={name}"))
        begun = subprocess.Popen(
            [sys.executable, "-m", "qnib", words[0], "--name", name, *words[1:]], env=lab.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        assert until(lambda: len(engine.containers(f"qnib={name}")) != before, 60)
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    finally:
        engine.close()


def _containers(lab: Lab) -> dict[str, int]:
    engine = engine_of(lab)
    try:
        return {one.name: engine.pid(one.name) for one in engine.containers(f"qnib={lab.name}")}
    finally:
        engine.close()


def _inspected(lab: Lab) -> list[dict[str, Any]]:
    engine = clusters.load(lab.settings.clusters, lab.name).engine
    line = [*command_line(lab.settings, engine), "inspect", *_containers(lab)]
    found: list[dict[str, Any]] = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return found


def _knock(address: str, port: int) -> list[str]:
    return ["timeout", "2", "bash", "-c", f": </dev/tcp/{address}/{port}"]


def _reached(lab: Lab, host: str, address: str, port: int) -> bool:
    return lab.qnib("exec", host, "--", *_knock(address, port), check=False).returncode == 0


def _space(process: Path) -> Path | None:
    link = _link(process / "ns/pid")
    return Path(link) if link else None


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # it ended, or is no business of ours
        return ""


def _octets(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _listening(pid: int) -> Iterator[tuple[str, int]]:
    """(address, port) of each TCP and UDP socket on which a process waits for others."""
    inodes = {_link(one) for one in Path(f"/proc/{pid}/fd").iterdir()}
    for kind, waiting in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] != waiting or f"socket:[{words[9]}]" not in inodes:
                continue
            address, port = words[1].split(":")
            octets = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
            yield str(ipaddress.ip_address(octets)), int(port, 16)
