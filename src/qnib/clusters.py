"""The clusters this machine knows: one small file each, written by the terminal, read by the server.

A real cluster is recorded the same way (`qnib cluster add`), so the server never knows the difference.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qnib.errors import NotFound, WrongUse
from qnib.nodes import unfold

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
RACK = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A rack's name is a segment of the paths under ``by_rack``."""
MOST_IN_RACK = 10_000


@dataclass(slots=True)
class Cluster:
    """What the server must know to listen for a cluster and to tell its senders from others."""

    name: str
    gateway: str = ""
    """Address on the cluster's own network where the server listens; empty: loopback only."""
    ingest_token: str = ""
    engine: str = ""
    created: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """The terminal's own notes: network, nodes, chosen rung of limits …"""

    @property
    def jobs_token(self) -> str:
        """Good for handing in finished jobs only: it stands in slurm.conf, which every user can read."""
        return hmac.digest(self.ingest_token.encode(), b"finished jobs", "sha256").hex()[:32]


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise WrongUse(
            f"{name!r} is no cluster name.",
            where="--name",
            try_next="use up to 31 of a-z, 0-9 and '-', starting with a letter.",
        )
    return name


def check_racks(told: Mapping[str, str]) -> dict[str, list[str]]:
    """Racks and the hosts in them, unfolded: ``{"r1": "compute[0-15]"}``. Raises ValueError naming what is wrong."""
    racks: dict[str, list[str]] = {}
    stands: dict[str, str] = {}
    for rack, folded in told.items():
        if not RACK.fullmatch(rack):
            raise ValueError(f"{rack!r} is no name of a rack: use up to 64 letters, digits, '-' and '_'")
        try:
            racks[rack] = unfold(folded, MOST_IN_RACK)
        except WrongUse as error:
            raise ValueError(f"in {rack}, of {folded[:100]!r}: {error.what} {error.try_next}") from error
        if not racks[rack]:
            raise ValueError(f"in {rack} stands no host")
        for host in racks[rack]:
            if (other := stands.setdefault(host, rack)) != rack:
                raise ValueError(f"{host} cannot stand in {other} and in {rack}")
    return racks


def save(folder: Path, cluster: Cluster) -> None:
    """Write the record so that a reader sees the old or the new one, never half of it."""
    home = folder / check_name(cluster.name)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = home / "cluster.json.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(asdict(cluster), out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    part.replace(home / "cluster.json")


def find(folder: Path, name: str) -> Cluster | None:
    file = folder / check_name(name) / "cluster.json"
    try:
        return Cluster(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None


def load(folder: Path, name: str) -> Cluster:
    """Raises NotFound, naming those that are there."""
    cluster = find(folder, name)
    if cluster is None:
        known = ", ".join(sorted(c.name for c in load_all(folder))) or "none"
        raise NotFound(
            f"There is no cluster {name!r} here (known: {known}).",
            where=str(folder),
            try_next=f"start it with `qnib up --name {name}`.",
        )
    return cluster


def load_all(folder: Path) -> list[Cluster]:
    if not folder.is_dir():
        return []
    return [Cluster(**json.loads(f.read_text())) for f in sorted(folder.glob("*/cluster.json"))]
