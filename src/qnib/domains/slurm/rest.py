"""JSON: answers of slurmrestd, and what squeue, scontrol, sinfo and sacct print with ``--json``.

The version is read from the answer, each record is lifted to the newest shape (`versions.py`), and one reader makes
jobs, nodes and partitions of that. An answer may be of one job or of all, which it does not say: none of them
proves that what it leaves out has ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from qnib.domains.slurm import jobs, newest, nodes
from qnib.domains.slurm.nodes import Node
from qnib.domains.slurm.sacct import gather
from qnib.domains.slurm.values import expand, moment
from qnib.domains.slurm.versions import NEWEST, OLDEST, RELEASES, Record, lift
from qnib.model import Entity, Ref, Relation, Snapshot

_VERSION = re.compile(r"v0\.0\.(\d+)")


def parse_jobs(text: str, at: datetime) -> Snapshot:
    """``/slurm/v…/jobs`` and ``/job/N``, ``squeue --json``, ``scontrol show job --json``."""
    told, version = answer(text, ("jobs",))
    return jobs.snapshot(newest.job(_record(one, "job", version)) for one in told)


def parse_past(text: str, at: datetime) -> Snapshot:
    """``/slurmdb/v…/jobs`` and ``/job/N``, ``sacct --json``: jobs with their steps, from accounting."""
    told, version = answer(text, ("jobs",))
    return jobs.snapshot(gather([newest.past(_record(one, "past", version)) for one in told]))


def parse_nodes(text: str, at: datetime) -> Snapshot:
    """``/slurm/v…/nodes`` and ``/node/N``, ``scontrol show node --json``, ``sinfo --json`` of any release."""
    told, version = answer(text, ("nodes", "sinfo"))
    cluster = str((json.loads(text).get("meta", {}).get("slurm") or {}).get("cluster") or "")
    found: dict[str, Node] = {}
    for one in told:
        for node in newest.groups(one) if "node" in one else [newest.node(_record(one, "node", version))]:
            if node.name in found:
                found[node.name].partitions.extend(p for p in node.partitions if p not in found[node.name].partitions)
            else:
                found[node.name] = node
    return nodes.snapshot(found.values(), cluster)


def parse_partitions(text: str, at: datetime) -> Snapshot:
    """``/slurm/v…/partitions`` and ``/partition/N``, ``scontrol show partition --json``."""
    told, version = answer(text, ("partitions",))
    return nodes.partitions(newest.partition(_record(one, "partition", version)) for one in told)


def parse_reservations(text: str, at: datetime) -> Snapshot:
    """``/slurm/v…/reservations``, ``scontrol show reservation --json``; what is over at `at` has ended."""
    told, version = answer(text, ("reservations",))
    entities: list[Entity] = []
    ties: list[Relation] = []
    for one in told:
        facts = newest.reservation(_record(one, "reservation", version))
        ref = Ref("Reservation", f"{facts['name']}@{facts['start']}")
        start, end = moment(str(facts["start"] or "")), moment(str(facts["end"] or ""))
        since, until = start if start and start <= at else None, end if end and end <= at else None
        entities.append(Entity(ref.kind, ref.key, facts, since=since, until=until))
        hosts = expand(str(facts["nodes"]))
        ties += [Relation("RESERVES", ref, Ref("Host", host), since=since, until=until) for host in hosts]
    return Snapshot(entities, ties)


def parse_qos(text: str, at: datetime) -> Snapshot:
    """``/slurmdb/v…/qos``, ``sacctmgr show qos --json``."""
    told, version = answer(text, ("qos", "QOS"))  # 22.05 writes it in capitals
    found = [newest.qos(_record(one, "qos", version)) for one in told]
    return Snapshot([Entity("QOS", str(facts["name"]), facts) for facts in found])


# ── the answer ────────────────────────────────────────────────────────────────────────────────


def answer(text: str, names: Sequence[str]) -> tuple[list[Record], int]:
    """The records under one of `names`, and the version of their shape. Raises ValueError in words."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not a whole JSON document ({error}): it begins with {text[:60]!r}") from error
    if not isinstance(document, dict):
        raise ValueError(f"a JSON {type(document).__name__}, not an answer of SLURM's")
    name = next((name for name in names if isinstance(document.get(name), list)), None)
    told: list[Record] = document[name] if name else []
    errors = [_words(error) for error in document.get("errors") or []]
    if errors and not told:
        raise ValueError(f"SLURM answered with an error: {'; '.join(errors)}")
    if name is None:
        raise ValueError(f"no {' or '.join(names)} in it, only {', '.join(sorted(document)) or 'nothing'}")
    return told, version_of(document)


def version_of(document: Record) -> int:
    """Which shape the answer has: 41 for v0.0.41. Raises ValueError for one that is not known here."""
    meta = document.get("meta") or {}
    plugin = meta.get("plugin") or {}
    named = _VERSION.search(f"{plugin.get('data_parser', '')} {plugin.get('type', '')} {plugin.get('name', '')}")
    release = str((meta.get("slurm") or meta.get("Slurm") or {}).get("release") or "")
    if named:
        version = int(named[1])
    elif (major := ".".join(release.split(".")[:2])) in RELEASES:
        version = RELEASES[major]
    else:
        raise ValueError("the answer names neither its data parser nor a known release in meta")
    if not OLDEST <= version <= NEWEST:
        raise ValueError(
            f"v0.0.{version} is not known here, v0.0.{OLDEST} to v0.0.{NEWEST} are: "
            f"ask for one of those (`--json=v0.0.{NEWEST}`, or its path of slurmrestd)"
        )
    return version


def _record(one: Any, kind: str, version: int) -> Record:
    if not isinstance(one, dict):
        raise ValueError(f"not a {kind}: {str(one)[:200]!r}")
    return lift(kind, one, version)


def _words(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return str(error.get("description") or error.get("error") or error)
