"""Pure parsers of what tools tell about who is connected to whom: text to `Look`, and on to facts.

``ibnetdiscover`` with and without ``-p``, OpenSM's ``opensm-subnet.lst``, topology files of ibsim. All raise ValueError
with the line that is none of theirs.
"""

from __future__ import annotations

import re
from datetime import datetime

from qnib.domains.infiniband.nodes import COMPLAINTS, KINDS, Look, Node, facts, guid, identity, lines_of
from qnib.domains.infiniband.rates import speed_name
from qnib.model import Snapshot

_NODE = re.compile(r'^(Switch|Ca|Hca|Rt)\s+(\d+)\s+"([^"]+)"\s*(?:#\s*"([^"]*)")?')
_PORT = re.compile(
    r'^\[(\d+)\](?:\[ext \d+\])?\s*(?:\(([0-9a-fA-F]+)\))?\s*"([^"]+)"\s*\[(\d+)\](?:\[ext \d+\])?'
    r"(?:\(([0-9a-fA-F]+)\))?\s*(?:(?:w=(?P<lanes>\d+)\s*)?(?:s=\d+\s*)?#?\s*(.*))?$"
)
_RATE = re.compile(r"\b(\d+x)([A-Z]+\d*)\s*$")
_FIELD = re.compile(r"^(vendid|devid|sysimgguid|switchguid|caguid|rtguid)=(0x[0-9a-fA-F]+)")
_LISTED = re.compile(
    r"^(SW|CA|RT)\s+(\d+)\s+(\d+)\s+0x([0-9a-fA-F]+)\s+(\d+x)\s+(\S+)"
    r"(?:\s+-\s+(SW|CA|RT)\s+(\d+)\s+(\d+)\s+0x([0-9a-fA-F]+)\s+\(\s*'(.*)'\s+-\s+'(.*)'\s*\)|\s+'?(.*?)'?)\s*$"
)

# ── ibnetdiscover ─────────────────────────────────────────────────────────────────────────────


def read_ibnetdiscover(text: str) -> Look:
    """An answer of ibnetdiscover in either form, or a topology file of ibsim."""
    if re.search(r"^(?:SW|CA|RT)\s+\d+\s+\d+\s+0x", text, re.MULTILINE):
        return _read_ports(text)
    look = Look()
    about: dict[str, str] = {}
    node: Node | None = None
    for line in lines_of(text, look):
        if not line:
            about, node = {}, None
        elif told := _FIELD.match(line):
            about[told[1]] = told[2]
        elif head := _NODE.match(line):
            kind = KINDS[head[1]]
            own = about.get("switchguid") or about.get("caguid") or about.get("rtguid") or _hex(head[3])
            node = look.add(Node(
                kind, head[3], (head[4] or head[3]).strip(), int(head[2]), guid(own) if own else "",
                about.get("vendid", ""), about.get("devid", ""),
            ))
            if kind == "SW" and (lid := re.search(r"\bport 0 lid (\d+)(?: lmc (\d+))?", line)):
                node.lids[0], node.lmc = int(lid[1]), int(lid[2] or 0)
        elif port := _PORT.match(line):
            if node is None:
                raise ValueError(f"a port before any node: {line[:200]!r}")
            _take_port(node, port)
        elif line.startswith(COMPLAINTS):
            look.whole = False
        elif not line.startswith(("#", "DR path", "Chassis", "Non-Chassis", "\t")):
            raise ValueError(f"not a line of ibnetdiscover: {line[:200]!r}")
    return look


def _take_port(node: Node, port: re.Match[str]) -> None:
    number, comment = int(port[1]), port[7] or ""
    rate = _RATE.search(comment)
    width = rate[1] if rate else f"{port['lanes']}x" if port["lanes"] else ""
    node.links[number] = (port[3], int(port[4])), width, rate[2] if rate else ""
    if port[2]:
        node.guids[number] = guid(port[2])
    if node.kind != "SW" and (lid := re.match(r"lid (\d+)(?: lmc (\d+))?", comment)):
        node.lids[number], node.lmc = int(lid[1]), int(lid[2] or 0)


def _hex(told: str) -> str:
    """The GUID in an id like ``S-0002c902…``; a name in a file written by hand has none."""
    digits = told.partition("-")[2]
    return digits if re.fullmatch(r"[0-9a-fA-F]{16}", digits) else ""


def _read_ports(text: str) -> Look:
    """``ibnetdiscover -p``: a line per port. An adapter is told by its ports' GUIDs only: ports of one name and
    different numbers belong to one adapter."""
    look = Look()
    by_name: dict[str, list[Node]] = {}

    def node(kind: str, lid: str, number: int, own: str, name: str) -> Node:
        kind, name = KINDS[kind], name.strip()
        found = look.nodes.get(identity(kind, own))
        if kind != "SW" and found is None:
            same = by_name.setdefault(name, [])
            found = next((one for one in same if one.guids.get(number) in (None, guid(own))), None)
        if found is None:
            found = look.nodes[identity(kind, own)] = Node(
                kind, identity(kind, own), name, guid=guid(own) if kind == "SW" else ""
            )
            by_name.setdefault(name, []).append(found)
        found.seen.add(number)
        found.lids[0 if kind == "SW" else number] = int(lid)
        if kind != "SW":
            found.guids[number] = guid(own)
        return found

    for line in lines_of(text, look):
        if not line:
            continue
        if line.startswith(COMPLAINTS):
            look.whole = False
            continue
        told = _LISTED.match(line)
        if told is None:
            raise ValueError(f"not a line of ibnetdiscover -p: {line[:200]!r}")
        one = node(told[1], told[2], int(told[3]), told[4], told[11] if told[7] else told[13])
        if told[7]:
            other = node(told[7], told[8], int(told[9]), told[10], told[12])
            one.links[int(told[3])] = (other.identity, int(told[9])), told[5], speed_name(told[6])
    return look


# ── OpenSM ────────────────────────────────────────────────────────────────────────────────────

_HEX = "[0-9A-Fa-f]+"
_SIDE = (
    rf"\{{ (?P<{{n}}kind>CA|SW|RT)(?:-SM)? Ports:(?P<{{n}}ports>{_HEX}) SystemGUID:{_HEX}"
    rf" NodeGUID:(?P<{{n}}node>{_HEX}) PortGUID:(?P<{{n}}guid>{_HEX}) VenID:(?P<{{n}}vendor>{_HEX})"
    rf" DevID:(?P<{{n}}device>{_HEX}) Rev:{_HEX}"
    rf" \{{(?P<{{n}}name>.*?)\}} LID:(?P<{{n}}lid>{_HEX}) PN:(?P<{{n}}number>{_HEX}) \}}"
)
_SUBNET = re.compile(
    f"^{_SIDE.replace('{n}', 'a')} {_SIDE.replace('{n}', 'b')}"
    r" PHY=(?P<width>\d+x) LOG=(?P<state>\w+) SPD=(?P<speed>\S+)$"
)


def read_subnet(text: str) -> Look:
    """OpenSM's subnet list: a line for each direction of each link."""
    look = Look()
    for line in lines_of(text, look):
        if not line:
            continue
        told = _SUBNET.match(line)
        if told is None:
            raise ValueError(f"not a line of opensm-subnet.lst: {line[:200]!r}")
        ends = []
        for side in "ab":
            kind = KINDS[told[f"{side}kind"]]
            own = identity(kind, told[f"{side}node"])
            node = look.nodes.setdefault(own, Node(
                kind, own, told[f"{side}name"].strip(), int(told[f"{side}ports"], 16), guid(told[f"{side}node"]),
                hex(int(told[f"{side}vendor"], 16)), hex(int(told[f"{side}device"], 16)),
            ))
            number, lid = int(told[f"{side}number"], 16), int(told[f"{side}lid"], 16)
            node.lids[0 if kind == "SW" else number] = lid
            if kind != "SW":
                node.guids[number] = guid(told[f"{side}guid"])
            ends.append((own, number))
        look.nodes[ends[0][0]].links[ends[0][1]] = ends[1], told["width"], speed_name(told["speed"])
    return look


# ── as facts ──────────────────────────────────────────────────────────────────────────────────


def parse_topology(text: str, at: datetime) -> Snapshot:
    """`ibnetdiscover` in either form, or ibsim's topology file."""
    return facts(read_ibnetdiscover(text))


def parse_subnet(text: str, at: datetime) -> Snapshot:
    return facts(read_subnet(text))
