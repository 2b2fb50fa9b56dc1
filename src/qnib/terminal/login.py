"""The login node from outside: its keys, its port on this machine, and `qnib ssh`.

Each cluster has a host key and one key pair for all of its users, made when it starts and kept in its folder for the
owner of the state directory alone. They are in no image and end with the cluster.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import record
from qnib.terminal.access import check_running, check_user
from qnib.terminal.plan import Plan

PORT = 2222
PACKAGES = ("openssh-server", "openssh-client")
CAPABILITIES = ("SYS_CHROOT",)
"""What sshd needs beside the five of every container: the process that reads what strangers send before they have
shown a key is shut into an empty directory."""

_FAILED = 255
"""Status of ssh for its own errors."""


def folder(settings: Settings, name: str) -> Path:
    return record.folder(settings, name) / "ssh"


def check_tools() -> None:
    if not all(shutil.which(tool) for tool in ("ssh", "ssh-keygen")):
        raise Unavailable(
            "There is no ssh on this machine to reach the login node with.", where="PATH",
            try_next="apt-get install openssh-client",
        )


def prepare(settings: Settings, plan: Plan) -> int:
    """Make the keys; the port its sshd is to be reached at. Raises Unavailable when somebody listens there already."""
    check_tools()
    made = folder(settings, plan.name)
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("host_key", "user_key"):
        for old in (made / name, made / f"{name}.pub"):
            old.unlink(missing_ok=True)
        done = subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"qnib-{plan.name}", "-f", str(made / name)],
            capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise Unavailable(
                f"No key could be made: {done.stderr.strip() or 'no reason was given'}.", where=str(made / name),
                try_next="look for a full disk, then `qnib up` again.",
            )
    (made / "known_hosts").write_text(f"{plan.network} {(made / 'host_key.pub').read_text()}")
    return _port(plan.blueprint.services.ssh_port)


def _port(wanted: int) -> int:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise Unavailable(
                f"Port {wanted} cannot be the login node's: {error.strerror}.", where=f"127.0.0.1:{wanted}",
                try_next="leave `ssh_port` out of the blueprint, and one that is free is taken.",
            ) from error
        return int(held.getsockname()[1])


def binds(settings: Settings, name: str) -> list[tuple[str, str, str]]:
    made = folder(settings, name)
    return [
        (str(made / "host_key"), "/etc/qnib/ssh/host_key", "ro"),
        (str(made / "user_key.pub"), "/etc/qnib/ssh/authorized_keys", "ro"),
    ]


def command_line(settings: Settings, cluster: Cluster, user: str) -> list[str]:
    """The start of an ssh command line: nothing of the caller's own configuration, keys or known hosts is used."""
    made = folder(settings, cluster.name)
    return [
        "ssh", "-F", "none", "-p", str(cluster.details["ssh_port"]), "-i", str(made / "user_key"),
        "-o", "IdentitiesOnly=yes", "-o", "PreferredAuthentications=publickey", "-o", "StrictHostKeyChecking=yes",
        "-o", f"UserKnownHostsFile={made / 'known_hosts'}", "-o", f"HostKeyAlias={record.plan_of(cluster).network}",
        "-o", "LogLevel=ERROR", f"{user}@127.0.0.1",
    ]


def ssh(settings: Settings, user: str = "", command: Sequence[str] = (), *, name: str | None = None) -> int:
    """A session of `user` (default: the first of the cluster's) on the login node, or a command there; its status.

    As with ssh itself the words of a command are joined and read by the user's shell. Raises NotFound without the
    cluster, the user or the node, WrongUse for a cluster without a login node.
    """
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    plan = record.plan_of(cluster)
    if not plan.blueprint.services.login:
        raise WrongUse(
            f"Cluster {cluster.name!r} has no login node.", where=cluster.name,
            try_next="start it with `qnib up --login`; `qnib shell` opens a shell on its controller.",
        )
    check_user(plan, user)
    check_tools()
    terminal = ["-t"] if not command and sys.stdin.isatty() else []
    line = command_line(settings, cluster, user or plan.users[0])
    status = subprocess.run([*line[:-1], *terminal, line[-1], *command], check=False).returncode
    if status == _FAILED:  # perhaps the command's own; perhaps nobody is there
        check_running(settings, cluster, "login")
    return status
