"""Interfaces of a machine, and who it knows on its networks, from what iproute2 and the kernel print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from qnib.model import HERE, Entity, Ref, Relation, Scalar, Snapshot

LOCAL = re.compile(r"docker|podman|cni|virbr|br-|veth|vnet|lxc|flannel|cali|tap|tun|kube|nodelocal")
"""Names of interfaces whose addresses mean another machine on every host: bridges of containers and virtual ones."""
SPEED = re.compile(r"(?:/sys/class/net/)?(?P<name>[^/\s]+)/speed:(?P<speed>-?\d+)")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5,19}")
_NEIGHBOUR = re.compile(
    r"(?P<dst>\S+)(?: dev (?P<dev>\S+))(?: lladdr (?P<lladdr>\S+))?(?: (?:router|proxy|extern_learn))*"
    r" (?P<state>[A-Z]+)\s*"
)
_GONE = frozenset({"FAILED", "INCOMPLETE", "NOARP", "NONE"})


def parse_interfaces(text: str, at: datetime) -> Snapshot:
    """From ``ip -j addr`` or ``ip -j link`` (also with -d, -p, -s), and lines ``/sys/class/net/NAME/speed:MBITS`` after
    it. Raises ValueError for another text, and with the line for another line.

    Loopback and interfaces without a MAC address are left out. Speeds are in Mb/s; what is not known is not told.
    """
    told, rest = _json(text)
    speeds: dict[str, int] = {}
    for line in rest.splitlines():
        if not line.strip():
            continue
        match = SPEED.fullmatch(line.strip())
        if not match:
            raise ValueError(f"no speed of an interface: {line[:120]!r}")
        speeds[match["name"]] = int(match["speed"])
    host = Ref("Host", HERE)
    entities: list[Entity] = []
    relations: list[Relation] = []
    names: dict[str, str] = {}
    for one in told:
        made, addresses = _interface(one, speeds)
        if made is None:
            continue
        entities.append(made)
        relations.append(Relation("HAS_INTERFACE", host, made.ref))
        if not LOCAL.match(str(made.properties["name"])):
            names |= {f"address:{address}": "address" for address in addresses}
            names |= {f"mac:{made.properties['mac']}": "mac"}
    entities += [Entity("Alias", key, {"name": key[len(kind) + 1:], "kind": kind}) for key, kind in names.items()]
    relations += [Relation("ALIAS_OF", Ref("Alias", key), host) for key in names]
    return Snapshot(entities, relations, frozenset({"Interface", "HAS_INTERFACE", "Alias", "ALIAS_OF"}))


def _json(text: str) -> tuple[list[Mapping[str, Any]], str]:
    """The list a tool of iproute2 printed, and what stands after it."""
    try:
        told, end = json.JSONDecoder().raw_decode(text.lstrip())
    except ValueError as error:
        line = (text.strip().splitlines() or [""])[0]
        raise ValueError(f"no JSON of ip: {line[:120]!r} ({error})") from error
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise ValueError(f"ip prints a list of objects, not {text[:80]!r}")
    return told, text.lstrip()[end:]


def _interface(one: Mapping[str, Any], speeds: Mapping[str, int]) -> tuple[Entity | None, list[str]]:
    """An interface and its global addresses."""
    if not one:  # iproute2 prints an empty object for what a filter left out
        return None, []
    name, mac = str(one.get("ifname") or ""), str(one.get("address") or "").lower()
    if not name:
        raise ValueError(f"an interface without a name: {json.dumps(dict(one))[:120]}")
    if one.get("link_type") == "loopback" or not _MAC.fullmatch(mac):
        return None, []
    properties: dict[str, Scalar] = {
        "name": name, "host": HERE, "mac": mac, "mtu": _whole(one, "mtu"), "state": _state(one),
        "kind": str(one.get("linkinfo", {}).get("info_kind") or one.get("link_type") or ""),
    }
    found = [
        (str(told.get("local") or ""), told.get("prefixlen")) for told in one.get("addr_info", ())
        if told.get("scope") == "global" and not told.get("temporary")
    ]
    if "addr_info" in one:
        properties["addresses"] = " ".join(f"{address}/{length}" for address, length in sorted(found))
    if (speed := speeds.get(name, 0)) > 0:
        properties["speed"] = speed
    return Entity("Interface", f"{HERE}/{name}", properties), [address for address, _ in found]


def _state(one: Mapping[str, Any]) -> str:
    """up, down, or the kernel's other words; an interface that cannot tell is up when it has a carrier."""
    told, flags = str(one.get("operstate") or "").lower(), one.get("flags") or ()
    return ("up" if "LOWER_UP" in flags else "down") if told in {"unknown", ""} else told


def _whole(one: Mapping[str, Any], name: str) -> int:
    value = one.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{one.get('ifname')} has no {name}: {value!r}")
    return value


def parse_neighbours(text: str, at: datetime) -> Snapshot:
    """From ``ip -j neigh``, ``ip neigh`` or /proc/net/arp: MAC addresses an interface knows, and their addresses.

    Those that did not answer are left out. Raises ValueError with the line.
    """
    if text.lstrip().startswith("["):
        told, rest = _json(text)
        if rest.strip():
            raise ValueError(f"more than a list of neighbours: {rest.strip()[:120]!r}")
        rows = [
            (str(one.get("dev") or ""), str(one.get("dst") or ""), str(one.get("lladdr") or ""), one.get("state") or ())
            for one in told if one
        ]
    elif text.startswith("IP address"):
        rows = [_arp(number, line) for number, line in enumerate(text.splitlines(), 1) if number > 1 and line.strip()]
    else:
        rows = [_neigh(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return _seen(rows)


def _arp(number: int, line: str) -> tuple[str, str, str, Iterable[str]]:
    fields = line.split()
    if len(fields) != 6 or not fields[2].startswith("0x"):
        raise ValueError(f"line {number} is none of /proc/net/arp: {line[:120]!r}")
    return fields[5], fields[0], fields[3], () if int(fields[2], 16) & 2 else ("INCOMPLETE",)


def _neigh(number: int, line: str) -> tuple[str, str, str, Iterable[str]]:
    match = _NEIGHBOUR.fullmatch(line)
    if not match:
        raise ValueError(f"line {number} is no neighbour of ip's: {line[:120]!r}")
    return match["dev"], match["dst"], match["lladdr"] or "", (match["state"],)


def _seen(rows: Iterable[tuple[str, str, str, Iterable[str]]]) -> Snapshot:
    found: dict[tuple[str, str], set[str]] = {}
    for dev, address, lladdr, states in rows:
        mac = lladdr.lower()
        if dev and _MAC.fullmatch(mac) and not _GONE & set(states) and mac.strip("0:"):
            found.setdefault((dev, mac), set()).add(address)
    entities = {mac: Entity("Alias", f"mac:{mac}", {"name": mac, "kind": "mac"}) for _, mac in found}
    relations = []
    for (dev, mac), known in sorted(found.items()):
        addresses = sorted(known, key=lambda address: (":" in address, address))
        told: dict[str, Scalar] = {"address": addresses[0], "addresses": " ".join(addresses)}
        relations.append(Relation("SEES", Ref("Interface", f"{HERE}/{dev}"), entities[mac].ref, told))
    return Snapshot(list(entities.values()), relations, frozenset({"SEES"}))
