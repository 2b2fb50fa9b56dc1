"""``iblinkinfo``: links and their rates, and what width and speed both ends could do. Pure parsers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from qnib.domains.infiniband.nodes import COMPLAINTS, KINDS, Look, Node, facts, guid, identity, lines_of, mend
from qnib.domains.infiniband.rates import lanes, speed_name
from qnib.model import Entity, Known, Snapshot

_OWNER = re.compile(r"^(Switch|CA|RT):\s*(?:0x([0-9a-fA-F]+)\s+)?(.*):$")
_STATE = r"(?P<number>\d+)\[\s*\]\s+==\(\s*(?P<state>.*?)\)==>\s+"
_OTHER = r'(?:0x(?P<peer>[0-9a-fA-F]+)\s+)?(?P<lid>\d+)\s+(?P<port>\d+)\[\s*\]\s+"(?P<name>[^"]*)"\s*\((?P<could>.*)\)'
_ROW = re.compile(rf"^\s+(?:0x(?P<own>[0-9a-fA-F]+)\s+)?(?P<own_lid>\d+)\s+{_STATE}(?:{_OTHER}|.*)$")
_FLAT = re.compile(rf'^0x(?P<own>[0-9a-fA-F]+)\s+"\s*(?P<who>[^"]*)"\s+(?P<own_lid>\d+)\s+{_STATE}(?:{_OTHER}|.*)$')
_ACTIVE = re.compile(r"^(\d+)X\s+([\d.]+)\s+Gbps(?:\s*\((FDR10)\))?")
_COULD = re.compile(r"Could be (\d+)X|Could be (FDR10|[\d.]+)")


@dataclass(slots=True)
class _Reading:
    look: Look = field(default_factory=Look)
    lids: dict[int, set[str]] = field(default_factory=dict)
    """Nodes by LID: without ``-l`` the other end is told by its LID only."""
    owners: dict[str, str] = field(default_factory=dict)
    """Nodes by the GUID they are told by; an adapter by each port's."""


def read_iblinkinfo(text: str) -> Look:
    """An answer of iblinkinfo, with or without ``-l``. Raises ValueError with the line that is none of its own.

    With ``-l`` a row does not say whether it is a switch's: who has more than one row with one GUID is one.
    """
    reading = _Reading()
    look = reading.look
    lines = lines_of(text, look)
    rows = Counter(row["own"] for line in lines if (row := _FLAT.match(line)))
    node: Node | None = None
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line.startswith(COMPLAINTS):
            look.whole = False
        elif owner := _OWNER.match(line):
            node = Node(KINDS[owner[1]], "", owner[3].strip())
            if owner[2]:
                node.identity, node.guid = identity(node.kind, owner[2]), guid(owner[2])
                look.add(node)
        elif row := _FLAT.match(line):
            _take_row(_owner(look, row, rows[row["own"]] > 1), row, reading)
        elif (row := _ROW.match(line)) and node is not None:
            if not node.identity:
                _name_adapter(look, node, row, line)
            _take_row(node, row, reading)
        else:
            raise ValueError(f"not a line of iblinkinfo: {line[:200]!r}")
    for one in look.nodes.values():
        for number, ((other, port), width, speed) in one.links.items():
            if other.startswith("guid "):
                one.links[number] = (reading.owners.get(other.removeprefix("guid "), ""), port), width, speed
    mend(look, reading.lids)
    return look


def _owner(look: Look, row: re.Match[str], switch: bool) -> Node:
    kind = "SW" if switch else "HCA"
    made = Node(kind, identity(kind, row["own"]), row["who"].strip(), guid=guid(row["own"]) if switch else "")
    return look.nodes.setdefault(made.identity, made)


def _name_adapter(look: Look, node: Node, row: re.Match[str], line: str) -> None:
    """An adapter is told by the GUID of its first port."""
    if not row["own"]:
        raise ValueError(f"a port without its GUID: {line[:200]!r}")
    node.identity = identity(node.kind, row["own"])
    look.add(node)


def _take_row(node: Node, row: re.Match[str], reading: _Reading) -> None:
    number, lid = int(row["number"]), int(row["own_lid"])
    node.seen.add(number)
    node.lids[0 if node.kind == "SW" else number] = lid
    reading.lids.setdefault(lid, set()).add(node.identity)
    reading.owners[guid(row["own"]) if row["own"] else node.guid] = node.identity
    if node.kind != "SW" and row["own"]:
        node.guids[number] = guid(row["own"])
    active = _ACTIVE.match(row["state"])
    if active is None or row["lid"] is None:
        return
    width, speed = f"{active[1]}x", active[3] or speed_name(active[2])
    peer = f"guid {guid(row['peer'])}" if row["peer"] else f"lid {row['lid']} {row['name'].strip()}"
    node.links[number] = (peer, int(row["port"])), width, speed
    could_width, could_speed = width, speed
    for more in _COULD.finditer(row["could"]):
        if more[1]:
            could_width = f"{more[1]}x"
        else:
            could_speed = speed_name(more[2]) or could_speed
    node.could[number] = could_width, could_speed


def parse_iblinkinfo(text: str, at: datetime) -> Snapshot:
    return facts(read_iblinkinfo(text))


def parse_capability(text: str, at: datetime) -> Snapshot:
    """Only what links could be, as properties of their ports: who is connected to whom is for the topology to say,
    and to end."""
    told = facts(read_iblinkinfo(text))
    wanted = ("name", "number", "node", "guid", "could_width", "could_speed")
    return Snapshot([
        Entity("PORT", port.key, {name: port.properties[name] for name in wanted if name in port.properties})
        for port in told.entities if port.kind == "PORT" and lanes(str(port.properties.get("could_width", "")))
    ])


def settle_capability(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """Ports by the keys the record has for them: iblinkinfo names an adapter by a port's GUID, not by its own."""
    keys = {str(port.properties["guid"]): port.key for port in known.open("PORT") if port.properties.get("guid")}
    entities = []
    for port in seen.entities:
        key = keys.get(str(port.properties.get("guid", "")), port.key)
        node = {"name": key, "node": key.rpartition("/")[0]}
        entities.append(Entity("PORT", key, {**port.properties, **node}))
    return Snapshot(entities)
