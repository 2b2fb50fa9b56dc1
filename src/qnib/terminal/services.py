"""What runs beside a cluster when its blueprint asks for it: accounting, and slurmrestd. The cluster waits for neither.

    controller ── slurmctld, accounting.py ──6819──► database: slurmdbd ──socket──► MariaDB, data on a volume
         ▲
         └────6817── rest: slurmrestd as nobody ◄──6820── a port of this machine's loopback ◄── people, with a token

slurmrestd has a container of its own because it is the one part that talks to strangers: there it holds no key,
neither munge's nor the one tokens are signed with, and what it takes too much is not taken from slurmctld.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qnib import clusters
from qnib.errors import NotFound, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import accounts, record
from qnib.terminal.access import check_user
from qnib.terminal.cgroups import Rung
from qnib.terminal.hosts import engine_of
from qnib.terminal.plan import LABEL, Plan
from qnib.terminal.slurm_conf import slurm_conf, slurmdbd_conf
from qnib.terminal.systems import SYSTEMS

HOSTS = ("database", "rest")
REST_PORT = 6820
CAPABILITIES = ("SETUID", "SETGID", "KILL")
"""slurmrestd only has to become nobody, and be ended when it does not answer."""
LONGEST = 10 * 365 * 86400
"""Seconds a token may hold."""
_LARGEST = 64 << 10


def folder(settings: Settings, name: str) -> Path:
    """Shared with the controller's container: that the cluster is ready, and how far its accounting is."""
    return record.folder(settings, name) / "services"


def prepare(settings: Settings, plan: Plan, rung: Rung, jobs_url: str = "") -> dict[str, Any]:
    """Make the files of the services asked for; what belongs into the cluster's record."""
    etc, told = record.folder(settings, plan.name) / "etc", plan.blueprint
    if told.services.accounting:
        folder(settings, plan.name).mkdir(exist_ok=True, mode=0o700)
        (etc / "accounting.conf").write_text(slurm_conf(plan, rung, jobs_url, accounting=True))
        (etc / "slurmdbd.conf").write_text(slurmdbd_conf(plan))
        groups = {group.name: group.users for group in told.groups}
        kept = accounts.commands(plan.name, told.accounts or accounts.by_groups(groups), told.qos, groups)
        (etc / "accounts.json").write_text(json.dumps(list(kept), indent=1))
    if not told.services.rest:
        return {}
    record.secret_file(etc / "jwt.key", secrets.token_bytes(32))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return {"rest_port": held.getsockname()[1]}


def begin(settings: Settings, plan: Plan) -> None:
    """Tell the controller that the cluster is ready: from now on it may begin to keep accounts."""
    if plan.blueprint.services.accounting:
        (folder(settings, plan.name) / "begin").touch()


def binds(settings: Settings, plan: Plan, host: str) -> list[tuple[str, str, str]]:
    """What a host mounts for the services."""
    told, home = plan.blueprint.services, record.folder(settings, plan.name)
    names: list[str] = []
    found: list[tuple[str, str, str]] = []
    if host == "database":
        names = ["munge.key", "passwd", "group", "slurmdbd.conf"]
        found = [(plan.database_volume, "/var/lib/mysql", "rw")]
    if host == "rest":
        # It looks up the names of the users it tells of.
        names = ["passwd", "group", "accounting.conf" if told.accounting else "slurm.conf"]
    if host == "controller" and told.accounting:
        names = ["accounting.conf", "accounts.json"]
        found = [(str(folder(settings, plan.name)), "/run/services", "rw")]
    if host not in HOSTS and host not in ("controller", "fabric") and told.accounting:
        # What asks there is to know that accounting is kept, as soon as it is.
        names = ["accounting.conf"]
        found = [(str(folder(settings, plan.name)), "/run/services", "ro")]
    if host in ("controller", "database") and told.rest:
        names.append("jwt.key")
    return [*((str(home / "etc" / name), f"/etc/qnib/{name}", "ro") for name in names), *found]


def environment(plan: Plan, host: str) -> dict[str, str]:
    if host != "rest":
        return {}
    version, old = SYSTEMS[plan.blueprint.system].rest, SYSTEMS[plan.blueprint.system].slurm < (23, 11)
    # Without accounting the part that asks slurmdbd would not let it start.
    names = ["slurmctld", *(["slurmdbd"] if plan.blueprint.services.accounting else [])]
    names = [f"openapi/{'db' if name == 'slurmdbd' else ''}{version}" if old else name for name in names]
    return {"QNIB_OPENAPI": ",".join(names), "QNIB_PARSER": "" if old else version}


# ── what they do ──────────────────────────────────────────────────────────────────────────────


def state(settings: Settings, cluster: clusters.Cluster, plan: Plan, containers: Mapping[str, str]) -> dict[str, Any]:
    """The services asked for, by name. `containers` are their states.

    ``accounting``: state (``starting``, ``ready``, or ``away`` when slurmdbd does not answer; slurmctld then keeps the
    records), seconds (from the cluster's being ready to that of accounting), trouble (a sentence, or empty).
    ``rest``: url, version (of the interface), state of its container.
    """
    told, found = plan.blueprint.services, {}
    if told.accounting:
        known = {"state": "starting", "seconds": None, "trouble": "", **accounting(settings, plan.name)}
        if containers.get("database") != "running" and known["state"] == "ready":
            known |= {"state": "away", "trouble": "the database's container does not run"}
        found["accounting"] = known
    if told.rest:
        url = f"http://127.0.0.1:{cluster.details['rest_port']}"
        version = SYSTEMS[plan.blueprint.system].rest
        found["rest"] = {"url": url, "version": version, "state": containers.get("rest", "absent")}
    return found


def accounting(settings: Settings, name: str) -> dict[str, Any]:
    """What the controller last said of accounting; empty before it said anything sensible."""
    try:
        found = json.loads(record.read_from_container(folder(settings, name) / "accounting.json", _LARGEST))
    except (OSError, ValueError):
        return {}
    return {key: found.get(key) for key in ("state", "seconds", "trouble")} if isinstance(found, dict) else {}


def revive(settings: Settings, cluster: clusters.Cluster) -> None:
    """Start the database's container again when it has ended: slurmctld has kept the records and wants to hand them
    over. Engines are asked only while the controller says that nobody answers there."""
    if accounting(settings, cluster.name).get("state") != "away":
        return
    engine = engine_of(settings, cluster)
    try:
        name = record.plan_of(cluster).container("database")
        there = engine.containers(f"{LABEL}={cluster.name}")
        if any(found.name == name and found.state != "running" for found in there):
            engine.start(name)
    finally:
        engine.close()


def token(settings: Settings, user: str, *, lifespan: int = 3600, name: str | None = None) -> str:
    """A token with which slurmrestd takes its bearer for `user`, for `lifespan` seconds.

    Raises NotFound for a user who is not there, WrongUse for a cluster without slurmrestd or a lifespan that is none,
    Unavailable when slurmctld makes none.
    """
    cluster = clusters.load(settings.clusters, name or settings.cluster)
    plan = record.plan_of(cluster)
    if not plan.blueprint.services.rest:
        raise WrongUse(
            f"Cluster {cluster.name!r} has no slurmrestd to show a token to.", where=cluster.name,
            try_next="start it with `qnib up --rest`, or `rest = true` below [services] in its blueprint.",
        )
    if not user:
        raise NotFound("A token is for a user.", where="USER", try_next=f"use one of {', '.join(plan.users)}.")
    check_user(plan, user)
    if not 1 <= lifespan <= LONGEST:
        raise WrongUse(f"A token holds for 1 to {LONGEST} seconds.", where="--lifespan", try_next="choose another.")
    engine = engine_of(settings, cluster)
    try:
        status, told = engine.run_inside(
            plan.container("controller"), ["scontrol", "token", f"username={user}", f"lifespan={lifespan}"],
        )
    finally:
        engine.close()
    made = told.strip().removeprefix("SLURM_JWT=")
    if status or made.count(".") != 2:
        raise Unavailable(
            f"slurmctld made no token: {told.strip() or 'no reason was given'}.", where=plan.container("controller"),
            try_next="`qnib status` shows whether the controller runs.",
        )
    return made
