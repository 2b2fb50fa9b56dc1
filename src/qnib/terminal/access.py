"""Runs commands inside a cluster: `qnib exec` and `qnib shell`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import NotFound
from qnib.settings import Settings
from qnib.terminal import hosts, record
from qnib.terminal.engines import command_line
from qnib.terminal.plan import LABEL, Plan, node_names

_ENGINE_FAILED = {"podman": (125, 255), "docker": (1, 125)}
"""Statuses with which `exec` of an engine says that the container does not run."""


def execute(
    settings: Settings, host: str, command: Sequence[str], *, name: str | None = None, user: str = "",
    terminal: bool = False,
) -> int:
    """Run `command` on a host with this process's own input and output; its exit status.

    `user` is one of the cluster's users (default root), `terminal` gives it a terminal. Raises NotFound for
    a cluster, host or user that is not there.
    """
    more = ["--tty", "--env", "TERM=xterm-256color"] if terminal else []
    cluster, whole = _line(settings, host, command, name, user, more)
    status = subprocess.run(whole, check=False).returncode
    if status in _ENGINE_FAILED[cluster.engine]:
        # Perhaps the command's own status, perhaps the container is gone: only now it is worth asking.
        check_running(settings, cluster, host)
    return status


def ask(
    settings: Settings, host: str, command: Sequence[str], *, name: str | None = None, user: str = "",
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """The same with `given` as its input, and what it says kept."""
    cluster, whole = _line(settings, host, command, name, user, [])
    done = subprocess.run(whole, input=given, capture_output=True, text=True, check=False)
    if done.returncode in _ENGINE_FAILED[cluster.engine]:
        check_running(settings, cluster, host)
    return done


def line(settings: Settings, host: str, command: Sequence[str], *, name: str | None = None) -> list[str]:
    """What to start to run `command` there, for who wants to talk to it while it runs."""
    return _line(settings, host, command, name, "", [])[1]


def _line(
    settings: Settings, host: str, command: Sequence[str], name: str | None, user: str, more: Sequence[str],
) -> tuple[Cluster, list[str]]:
    """What to start to run a command there. Raises NotFound for a cluster, host or user that is not there."""
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    plan = record.plan_of(cluster)
    _check_host(cluster, plan, host)
    check_user(plan, user)
    arguments = ["exec", "--interactive", *more]
    # From its home everyone can write, and SLURM finds the same folder on every node.
    home = f"/home/{user}" if user else "/root"
    if host not in ("fabric", *plan.beside) or not user:
        arguments += ["--workdir", home]
    arguments += ["--env", f"HOME={home}", "--env", f"USER={user or 'root'}"]
    if user:
        arguments += ["--user", user]
    words = [*arguments, plan.container(host), *command]
    if cluster.details.get("hosts"):
        return cluster, hosts.docker(settings, hosts.address_of(cluster, host), words)
    return cluster, [*command_line(settings, cluster.engine), *words]


def shell(settings: Settings, host: str, *, name: str | None = None, user: str = "") -> int:
    """An interactive login shell on a host; its exit status."""
    return execute(settings, host, ["/bin/bash", "-l"], name=name, user=user, terminal=sys.stdin.isatty())


def _check_host(cluster: Cluster, plan: Plan, host: str) -> None:
    nodes = cluster.details["nodes"]
    places = plan.places(nodes) if plan.dense else []
    known = [*plan.services, *plan.beside, *places, *node_names(nodes)]
    if host not in known:
        raise NotFound(
            f"Cluster {cluster.name!r} has no host {host!r}.", where=cluster.name,
            try_next=f"use {', '.join([*plan.services, *plan.beside])}, or compute0 … {known[-1]}.",
        )


def check_running(settings: Settings, cluster: Cluster, host: str) -> None:
    container = record.plan_of(cluster).container(host)
    engine = hosts.engine_of(settings, cluster)
    try:
        state = next((c.state for c in engine.containers(f"{LABEL}={cluster.name}") if c.name == container), "absent")
    finally:
        engine.close()
    if state != "running":
        raise NotFound(
            f"{host} is not running, its container is {state}.", where=container,
            try_next=f"`qnib down --name {cluster.name}`, then `qnib up --name {cluster.name}`.",
        )


def check_user(plan: Plan, user: str) -> None:
    known = plan.users
    if user and user not in known:
        raise NotFound(
            f"There is no user {user!r} on the cluster.", where="--user", try_next=f"use one of {', '.join(known)}.",
        )
