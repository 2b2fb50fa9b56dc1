"""Containers as the engines list them: `podman ps --format json`, `podman inspect`, and docker's of the same.

A list says which there are, `inspect` what each is limited to; a text may hold both, one after the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from qnib.model import HERE, Entity, Known, Ref, Relation, Scalar, Snapshot

_TIME = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)")
RUNNING = frozenset({"running", "paused", "up"})


def parse_engine(text: str, at: datetime, engine: str) -> Snapshot:
    """From ``ps --all --format json`` and ``inspect``: JSON lists or objects. Raises ValueError with what is wrong.

    Only where there is a list is it known that there are no others.
    """
    found: dict[str, dict[str, Scalar]] = {}
    listed = False
    for value in _values(text):
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict) or not (identity := str(one.get("Id") or one.get("ID") or "")):
                raise ValueError(f"no container: {json.dumps(one)[:120]}")
            inspected = "HostConfig" in one
            listed = listed or not inspected
            told = _inspected(one) if inspected else _listed(one)
            found[identity[:12]] = {**found.get(identity[:12], {}), **told, "engine": engine}
        listed = listed or value == []
    entities = [Entity("Container", key, told) for key, told in found.items()]
    here = Ref("Host", HERE)
    relations = [Relation("STANDS_ON", one.ref, here) for one in entities]
    relations += [
        Relation("RUNS_IN", Ref("Host", str(one.properties["hostname"])), one.ref) for one in entities
        if one.properties.get("hostname") and one.properties.get("state") in RUNNING
    ]
    complete = frozenset({"Container", "STANDS_ON", "RUNS_IN"}) if listed else frozenset[str]()
    return Snapshot(entities, relations, complete, partial=not listed)


def parse_podman(text: str, at: datetime) -> Snapshot:
    return parse_engine(text, at, "podman")


def parse_docker(text: str, at: datetime) -> Snapshot:
    return parse_engine(text, at, "docker")


def settle(snapshot: Snapshot, known: Known, at: datetime) -> Snapshot:
    """Only containers whose host name is a known host's play one; most are no hosts at all."""
    names = {tie.source.key for tie in snapshot.relations if tie.kind == "RUNS_IN"}
    hosts = {name for name in names if any(host.key == name for host in known.find("Host", name))}
    relations = [tie for tie in snapshot.relations if tie.kind != "RUNS_IN" or tie.source.key in hosts]
    return replace(snapshot, relations=relations)


def _values(text: str) -> Iterator[Any]:
    """The JSON values of a text, one after the other: engines print lists, or an object a line."""
    decoder, rest = json.JSONDecoder(), text.strip()
    if not rest:
        raise ValueError("nothing of an engine")
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError as error:
            raise ValueError(f"no JSON of an engine: {rest.splitlines()[0][:120]!r} ({error})") from error
        yield value
        rest = rest[end:].lstrip()


def _listed(one: Mapping[str, Any]) -> dict[str, Scalar]:
    names = one.get("Names") or one.get("Name") or ""
    state = str(one.get("State") or "").lower()
    told: dict[str, Scalar] = {"name": _name(names[0] if isinstance(names, list) else names), "state": state}
    if image := str(one.get("Image") or ""):
        told["image"] = image
    if isinstance(created := one.get("Created"), int) and created > 0:
        told["created"] = datetime.fromtimestamp(created, UTC).isoformat()
    return told


def _inspected(one: Mapping[str, Any]) -> dict[str, Scalar]:
    """Limits that are not set are not told: 0 is no limit of zero, and a cgroup above may hold the container, as it
    knows itself."""
    config, limits, state = (one.get(name) or {} for name in ("Config", "HostConfig", "State"))
    told: dict[str, Scalar] = {
        "name": _name(one.get("Name")), "state": str(state.get("Status") or "").lower(),
        "image": str(one.get("ImageName") or config.get("Image") or ""),
        "image_id": str(one.get("Image") or "").removeprefix("sha256:")[:12],
        "hostname": str(config.get("Hostname") or ""),
    }
    set_here = {"memory": limits.get("Memory"), "cpus": _cpus(limits), "processes": limits.get("PidsLimit")}
    told |= {name: value for name, value in set_here.items() if value and value > 0}
    if isinstance(created := one.get("Created"), str) and created:
        told["created"] = _time(created)
    return told


def _name(name: object) -> str:
    return str(name or "").lstrip("/")


def _cpus(limits: Mapping[str, Any]) -> float | None:
    if nano := limits.get("NanoCpus"):
        return float(nano) / 1e9
    quota, period = limits.get("CpuQuota") or 0, limits.get("CpuPeriod") or 100_000
    return quota / period if quota > 0 else None


def _time(text: str) -> str:
    """An engine's time to the second: `inspect` tells nanoseconds, a list does not."""
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"no time of an engine: {text!r}")
    zone = "+00:00" if match["zone"] == "Z" else match["zone"]
    return datetime.fromisoformat(match["time"] + zone).astimezone(UTC).isoformat()
