"""What a node is as a machine: its system, its packages, the container it plays in, its network interfaces."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qnib.context.known import Sources, iso
from qnib.domains.paths import natural
from qnib.inventory.facts import Fact


def machine(sources: Sources, cluster: str, host: str) -> dict[str, Any]:
    """The machine as the UI's `Machine`; what nobody has told of is None or empty."""

    def held(kind: str) -> list[Fact]:
        return sources.facts.current(cluster, kind)

    own = next((fact.properties for fact in held("Host") if fact.key == host), {})
    inside = next((tie for tie in held("RUNS_IN") if tie.source and tie.source.key == host), None)
    key = inside.target.key if inside and inside.target else ""
    container = next((fact for fact in held("Container") if fact.key == key), None)
    stands = (tie for tie in held("STANDS_ON") if tie.source and tie.source.key == key)
    below = next((tie.target.key for tie in stands if tie.target), None)
    return {
        "kernel": own.get("kernel"), "os": own.get("os"),
        "packages": _software(held("HAS_SOFTWARE"), held("SoftwareSet"), host, "packages"),
        "modules": _software(held("HAS_SOFTWARE"), held("SoftwareSet"), host, "modules"),
        "container": None if container is None else {
            name: container.properties.get(name) for name in ("name", "engine", "image", "memory", "cpus", "state")
        } | {"machine": None if below == host else below},
        "containers": carried(sources, cluster).get(host, 0),
        "interfaces": _interfaces(held("Interface"), held("PLUGGED_INTO"), held("EthernetPort"), held("EthernetSwitch"),
                                  host),
    }  # fmt: skip


def carried(sources: Sources, cluster: str) -> Counter[str]:
    """How many containers stand on each machine, those that play its own host not counted."""
    plays = sources.facts.current(cluster, "RUNS_IN")
    own = {(tie.target.key, tie.source.key) for tie in plays if tie.source and tie.target}
    ties = sources.facts.current(cluster, "STANDS_ON")
    return Counter(
        tie.target.key for tie in ties if tie.source and tie.target and (tie.source.key, tie.target.key) not in own
    )


def _software(ties: list[Fact], sets: list[Fact], host: str, what: str) -> dict[str, Any] | None:
    """The host's set: how large, since when, and how many others have the very same."""
    same: dict[str, int] = {}
    mine: Fact | None = None
    for tie in ties:
        if tie.source and tie.target and tie.properties.get("what") == what:
            same[tie.target.key] = same.get(tie.target.key, 0) + 1
            mine = tie if tie.source.key == host else mine
    found = next((one for one in sets if mine and mine.target and one.key == mine.target.key), None)
    if mine is None or found is None:
        return None
    return {
        "key": found.key, "name": found.properties.get("name"), "size": found.properties.get("size"),
        "since": iso(mine.began), "alike": same[found.key] - 1, "hosts": sum(same.values()),
    }  # fmt: skip


def _interfaces(
    interfaces: list[Fact], plugged: list[Fact], ports: list[Fact], switches: list[Fact], host: str
) -> list[dict[str, Any]]:
    """The host's interfaces in order of their names, each with the switch port it is plugged into, if that is known."""
    into = {tie.source.key: tie.target.key for tie in plugged if tie.source and tie.target}
    port_of = {port.key: port.properties for port in ports}
    switch_of = {switch.key: switch.properties for switch in switches}
    rows = []
    for fact in sorted(interfaces, key=lambda one: natural(one.key)):
        if fact.properties.get("host") != host:
            continue
        port = port_of.get(into.get(fact.key, ""), {})
        switch = switch_of.get(str(port.get("switch") or ""), {})
        told = {name: fact.properties.get(name) for name in ("name", "state", "speed", "mtu", "mac", "addresses")}
        rows.append({**told, "switch": switch.get("name"), "port": port.get("name")})
    return rows
