"""Neighbours by LLDP, from lldpd's tools: which switch port is each interface plugged into.

lldpd prints JSON in two shapes: ``json`` has an object where there is one of a thing and a list where there are more,
and takes a chassis' name as a key; ``json0`` has lists everywhere. Both are read as lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from qnib.model import HERE, Entity, Known, Ref, Relation, Snapshot

_LINE = re.compile(
    r"lldp\.(?P<name>[^=]+?)\.(?P<key>(?:via|rid|age|chassis|port|vlan|ppvid|pi|lldp-med|unknown-tlvs)\b[^=]*)=(?P<value>.*)"
)
_IDS = ("mac", "ifname", "local", "ip", "ifalias", "unhandled")
_SWITCHES = frozenset({"Bridge", "Router"})


@dataclass(slots=True)
class Neighbour:
    """What one interface heard from one device."""

    interface: str
    chassis: str = ""
    name: str = ""
    description: str = ""
    addresses: list[str] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    """Those that are switched on."""
    port: str = ""
    port_description: str = ""


def parse_lldp(text: str, at: datetime) -> Snapshot:
    """From ``lldpctl -f json``, ``json0`` or ``keyvalue``. Raises ValueError with what is wrong."""
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            told = json.loads(stripped)
        except ValueError as error:
            raise ValueError(f"no JSON of lldpctl: {stripped[:80]!r} ({error})") from error
        found = list(_from_json(told))
    elif stripped.startswith("lldp."):
        found = list(_from_lines(text))
    elif not stripped:  # keyvalue prints nothing when there is no neighbour
        found = []
    else:
        raise ValueError(f"nothing of lldpctl: {stripped.splitlines()[0][:120]!r}")
    return _snapshot(found)


# ── the two forms ─────────────────────────────────────────────────────────────────────────────


def _from_json(told: Any) -> Iterator[Neighbour]:
    if not isinstance(told, dict) or "lldp" not in told:
        raise ValueError("no member lldp in it")
    for top in _list(told["lldp"]):
        for entry in _list(top.get("interface")):
            pairs = [(str(entry["name"]), entry)] if isinstance(entry.get("name"), str) else list(entry.items())
            for name, one in pairs:
                yield _neighbour(name, one)


def _neighbour(name: str, one: Mapping[str, Any]) -> Neighbour:
    made = Neighbour(name)
    for told in _list(one.get("chassis")):
        named = "id" not in told and len(told) == 1  # its name is the key
        made.name, chassis = next(iter(told.items())) if named else ("", told)
        made.name = made.name or _value(chassis.get("name"))
        made.chassis = _value(chassis.get("id"))
        made.description = _value(chassis.get("descr"))
        made.addresses = [_text(address) for address in _list(chassis.get("mgmt-ip"))]
        made.capabilities = [
            str(can.get("type")) for can in _list(chassis.get("capability")) if can.get("enabled") is True
        ]
    for port in _list(one.get("port")):
        made.port = _value(port.get("id"))
        made.port_description = _value(port.get("descr"))
    return _checked(made, json.dumps(dict(one))[:120])


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _value(value: Any) -> str:
    return next((_text(one) for one in _list(value)), "")


def _text(value: Any) -> str:
    return str(value.get("value") or "") if isinstance(value, dict) else str(value)


def _from_lines(text: str) -> Iterator[Neighbour]:
    """Each neighbour begins with the line ``via``; an interface may hear several."""
    made: Neighbour | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if not match:
            if made is not None and not line.startswith("lldp."):  # a description may have several lines
                continue
            raise ValueError(f"line {number} is none of lldpctl's: {line[:120]!r}")
        name, key, value = match.group("name", "key", "value")
        if key == "via":
            if made is not None:
                yield _checked(made, f"before line {number}")
            made = Neighbour(name)
        if made is None or made.interface != name:
            raise ValueError(f"line {number} belongs to no neighbour: {line[:120]!r}")
        _take(made, key, value)
    if made is not None:
        yield _checked(made, "the last neighbour")


def _take(made: Neighbour, key: str, value: str) -> None:
    part, _, rest = key.partition(".")
    if part == "chassis" and rest in _IDS and not made.chassis:
        made.chassis = value
    elif part == "port" and rest in _IDS and not made.port:
        made.port = value
    elif key == "chassis.name":
        made.name = value
    elif key == "chassis.descr":
        made.description = value
    elif key == "chassis.mgmt-ip":
        made.addresses.append(value)
    elif key == "port.descr":
        made.port_description = value
    elif part == "chassis" and rest.endswith(".enabled") and value == "on":
        made.capabilities.append(rest.removesuffix(".enabled"))


def _checked(made: Neighbour, where: str) -> Neighbour:
    if not made.chassis or not made.port:
        raise ValueError(f"a neighbour of {made.interface} without chassis or port id: {where}")
    return made


# ── what it means ─────────────────────────────────────────────────────────────────────────────


def _snapshot(found: Sequence[Neighbour]) -> Snapshot:
    entities: dict[Ref, Entity] = {}
    relations: list[Relation] = []
    for one in found:
        interface = Ref("Interface", f"{HERE}/{one.interface}")
        if not _SWITCHES & set(one.capabilities):
            relations.append(Relation("FACES", interface, _interface(one.name or one.chassis, one)))
            continue
        switch = Entity("EthernetSwitch", one.chassis, {
            "name": one.name or one.chassis, "description": one.description,
            "addresses": " ".join(sorted(one.addresses)), "capabilities": " ".join(sorted(one.capabilities)),
        })
        port = Entity("EthernetPort", f"{one.chassis}/{one.port}", {
            "name": one.port, "description": one.port_description, "switch": one.chassis,
        })
        entities |= {switch.ref: switch, port.ref: port}
        relations.append(Relation("PORT_OF", port.ref, switch.ref))
        relations.append(Relation("PLUGGED_INTO", interface, port.ref))
    return Snapshot(list(entities.values()), relations, frozenset({"PLUGGED_INTO", "FACES"}))


def _interface(host: str, one: Neighbour) -> Ref:
    """The other host's interface. Its port id is a MAC address where lldpd is left as it is; then it says its name."""
    name = one.port_description if ":" in one.port and one.port_description else one.port
    return Ref("Interface", f"{host.split('.', maxsplit=1)[0]}/{name}")


def settle(snapshot: Snapshot, known: Known, at: datetime) -> Snapshot:
    """A neighbour with the name of a known host is that host, although it calls itself a router or a bridge."""
    switches = {one.ref: one for one in snapshot.entities if one.kind == "EthernetSwitch"}
    ports = {one.ref: one for one in snapshot.entities if one.kind == "EthernetPort"}
    hosts: dict[Ref, str] = {}
    for ref, switch in switches.items():
        name = str(switch.properties["name"]).split(".")[0]
        if any(host.key == name for host in known.find("Host", name)):
            hosts[ref] = name
    if not hosts:
        return snapshot
    relations: list[Relation] = []
    for tie in snapshot.relations:
        port = ports.get(tie.target)
        owner = hosts.get(Ref("EthernetSwitch", str(port.properties["switch"]))) if port is not None else None
        if port is not None and owner is not None:
            heard = Neighbour("", port=str(port.properties["name"]),
                              port_description=str(port.properties["description"]))
            relations.append(Relation("FACES", tie.source, _interface(owner, heard)))
        elif tie.target not in hosts:
            relations.append(tie)
    gone = {*hosts, *(ref for ref, port in ports.items()
                      if Ref("EthernetSwitch", str(port.properties["switch"])) in hosts)}
    return replace(snapshot, entities=[one for one in snapshot.entities if one.ref not in gone], relations=relations)
