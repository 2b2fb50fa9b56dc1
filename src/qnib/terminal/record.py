"""A cluster's own folder: its record, the files its containers read, and the lock that keeps two commands apart."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import Conflict, WrongUse
from qnib.settings import Settings
from qnib.terminal import topology
from qnib.terminal.blueprint import Blueprint
from qnib.terminal.cgroups import DENSE, NODES_ONLY, V1, V1_JOINED, V2, Rung
from qnib.terminal.engines import Found
from qnib.terminal.plan import HOME_LABEL, LABEL, Plan
from qnib.terminal.slurm_conf import cgroup_conf, slurm_conf

ROLES = ("node", "controller", "fabric")
"""What an agent may be; on a service's host it is a node's."""

RUNGS = {rung.name: rung for rung in (V1, V1_JOINED, V2, NODES_ONLY, DENSE)}


def folder(settings: Settings, name: str) -> Path:
    return settings.clusters / clusters.check_name(name)


def fabric_folder(settings: Settings, name: str) -> Path:
    """Shared with the fabric's container: commands, routes and traffic."""
    return folder(settings, name) / "fabric"


def labels(settings: Settings, name: str) -> dict[str, str]:
    """What marks everything of one cluster in the engine."""
    return {LABEL: name, HOME_LABEL: str(settings.home.resolve())}


def ours(settings: Settings, found: Found) -> bool:
    return found.labels.get(HOME_LABEL) == str(settings.home.resolve())


def plan_of(cluster: Cluster) -> Plan:
    """What a running cluster was made from. Raises WrongUse for a real cluster that was only recorded."""
    if not cluster.engine:
        raise WrongUse(
            f"{cluster.name} is no virtual cluster.", where=f"cluster {cluster.name}",
            try_next="name one that `qnib up` started; `qnib cluster list` tells them apart.",
        )
    told = cluster.details
    return Plan(
        cluster.name, IPv4Network(told["subnet"]), Blueprint.model_validate(told["blueprint"]), told["first"]
    )


def rung_of(cluster: Cluster) -> Rung:
    return RUNGS[cluster.details["rung"]]


@contextmanager
def locked(settings: Settings, name: str, patience: float = 0) -> Iterator[None]:
    """One command at a time changes a cluster. Raises Conflict when another still does so after `patience` seconds."""
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = settings.run / f"{clusters.check_name(name)}.lock"
    deadline = time.monotonic() + patience
    with lock.open("w") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                raise Conflict(
                    f"Another command is changing cluster {name!r} right now.", where=str(lock),
                    try_next="wait until it has ended, then try again.",
                ) from None
        yield


JOBCOMP_PORT = 6811
"""On the controller's loopback inside/jobcomp.py takes finished jobs and passes them on to the server."""


def jobs_url(cluster: Cluster) -> str:
    """Where slurmctld pushes finished jobs; users can read it, so its token is good for nothing else."""
    return f"http://slurmctld:{cluster.jobs_token}@127.0.0.1:{JOBCOMP_PORT}/slurm/_doc"


def write_files(settings: Settings, plan: Plan, rung: Rung, nodes: int, jobs_url: str = "") -> None:
    """What the containers read: SLURM's configuration, the users, a new munge key, the fabric's wiring."""
    home = folder(settings, plan.name)
    # The server's record of the cluster lies beside it, where no container looks.
    etc = home / "etc"
    etc.mkdir(parents=True, exist_ok=True, mode=0o700)
    (etc / "slurm.conf").write_text(slurm_conf(plan, rung, jobs_url))
    (etc / "cgroup.conf").write_text(cgroup_conf(plan, rung))
    secret_file(etc / "munge.key", secrets.token_bytes(128))
    (etc / "passwd").write_text("".join(
        f"{user}:x:{gid + 1 + place}:{gid}::/home/{user}:/bin/bash\n"
        for gid, members in plan.groups.values() for place, user in enumerate(members)
    ))
    (etc / "group").write_text("".join(f"{group}:x:{gid}:\n" for group, (gid, _) in plan.groups.items()))
    if plan.has_fabric:
        fabric_folder(settings, plan.name).mkdir(exist_ok=True, mode=0o700)
        (etc / "fabric.topology").write_text(topology.topology(plan))
        start = topology.unplug(topology.absent(plan, nodes))
        (etc / "fabric.start").write_text("\n".join([*start, "Help"]) + "\n")


def write_agent(settings: Settings, cluster: Cluster, host: str, role: str, **more: Any) -> Path:
    """The agent's configuration of one host, with the cluster's ingest token; `more` is added to what all have."""
    config: dict[str, Any] = {
        "cluster": cluster.name, "host": host, "role": role if role in ROLES else "node", "server": cluster.gateway,
        "carbon_port": settings.carbon.port, "syslog_port": settings.syslog.port, "http_port": settings.http.port,
        "token": cluster.ingest_token, "interval": 5,
        "tail": [{"path": "/var/log/opensm.log", "app": "opensm"}] if role == "fabric" else [], **more,
    }
    file = folder(settings, cluster.name) / "etc" / f"agent-{host}.json"
    secret_file(file, json.dumps(config, indent=1).encode())
    return file


def forget(settings: Settings, name: str) -> None:
    """Remove the cluster's folder; what was injected on purpose stays, as ground truth for its history."""
    home = folder(settings, name)
    if not home.is_dir():
        return
    for entry in home.iterdir():
        if entry.name == "faults.jsonl":
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not any(home.iterdir()):
        home.rmdir()


def secret_file(file: Path, content: bytes) -> None:
    """Readable by its owner only, from the first octet on."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
