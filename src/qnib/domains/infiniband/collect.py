"""What to ask the fabric, and what its tools' answers mean: topology, and the counters of every port.

Only the ordinary infiniband-diags are used, so the same runs on a simulator and on a site's fabric.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qnib.domains.infiniband.happened import events
from qnib.domains.infiniband.identity import settle
from qnib.domains.paths import natural, segment
from qnib.model import Capture, Entity, Metric, Reading, Ref, Relation, Scalar, Snapshot

Points = Sequence[tuple[str, float]]

# ── topology ──────────────────────────────────────────────────────────────────────────────────

_NODE = re.compile(r'^(Switch|Ca|Rt)\s+(\d+)\s+"([^"]+)"\s*(?:#\s*"([^"]*)")?')
_PORT = re.compile(
    r'^\[(\d+)\](?:\[ext \d+\])?\s*(?:\(([0-9a-fA-F]+)\))?\s*"([^"]+)"\[(\d+)\](?:\[ext \d+\])?'
    r'(?:\(([0-9a-fA-F]+)\))?\s*(?:#\s*(.*))?$'
)
_SPEED = re.compile(r"\b(\d+x)([A-Z]+\d*)\s*$")
_FIELD = re.compile(r"^(vendid|devid|sysimgguid|switchguid|caguid|rtguid)=(0x[0-9a-fA-F]+)")


@dataclass(slots=True)
class _Node:
    kind: str
    name: str
    ports: int
    about: dict[str, str]
    links: dict[int, tuple[str, int, str, str]] = field(default_factory=dict)
    """Own port number: (id of the other node, its port, width, speed)."""
    guids: dict[int, str] = field(default_factory=dict)
    lids: dict[int, int] = field(default_factory=dict)
    key: str = ""


def _read_nodes(text: str) -> tuple[dict[str, _Node], bool]:
    """The nodes of an ibnetdiscover answer by their id, and whether it got all answers it waited for.

    Raises ValueError with the line that is none of its own.
    """
    nodes: dict[str, _Node] = {}
    whole = True
    about: dict[str, str] = {}
    node: _Node | None = None
    for line in text.splitlines():
        line = line.rstrip()  # noqa: PLW2901 - the line without its end is the line
        if not line:
            about, node = {}, None
        elif told := _FIELD.match(line):
            about[told[1]] = told[2]
        elif head := _NODE.match(line):
            kind = {"Switch": "SW", "Ca": "HCA", "Rt": "ROUTER"}[head[1]]
            node = nodes[head[3]] = _Node(kind, (head[4] or head[3]).strip(), int(head[2]), about)
            if kind == "SW" and (lid := re.search(r"\bbase port 0 lid (\d+)", line)):
                node.lids[0] = int(lid[1])
        elif port := _PORT.match(line):
            if node is None:
                raise ValueError(f"a port before any node: {line[:200]!r}")
            number, comment = int(port[1]), port[6] or ""
            rate = _SPEED.search(comment)
            node.links[number] = port[3], int(port[4]), rate[1] if rate else "", rate[2] if rate else ""
            if port[2]:
                node.guids[number] = _guid(port[2])
            if node.kind != "SW" and (lid := re.match(r"lid (\d+)", comment)):
                node.lids[number] = int(lid[1])
        elif line.startswith(("src/", "ibwarn:", "ibpanic:")):  # a query that timed out: some part is missing
            whole = False
        elif not line.startswith(("#", "DR path", "Chassis", "Non-Chassis", "\t")):
            raise ValueError(f"not a line of ibnetdiscover: {line[:200]!r}")
    return nodes, whole


def _guid(text: str) -> str:
    return f"0x{int(text, 16):016x}"


def parse_topology(text: str, at: datetime) -> Snapshot:
    """Adapters, switches, ports and links; cables and connections are settled against the record afterwards.

    An adapter that is missing here lost its link or its power; that it left its host nobody said, so only
    what is about being connected counts as complete, and nothing where the tool complained of missing answers.
    """
    nodes, whole = _read_nodes(text)
    if not nodes:
        raise ValueError("no node in the topology")
    uses: dict[tuple[str, str], int] = {}
    for node in nodes.values():
        uses[node.kind, node.name] = uses.get((node.kind, node.name), 0) + 1
    for identity, node in nodes.items():
        node.key = node.name if uses[node.kind, node.name] == 1 else f"{node.name} {identity}"
    entities: list[Entity] = []
    relations: list[Relation] = []
    for identity, node in nodes.items():
        if node.kind in ("SW", "HCA"):
            entities.extend(_device(identity, node))
            relations.extend(_belongings(node))
    relations.extend(_links(nodes))
    entities.extend(_names(nodes))
    own = frozenset({"LINK", "CONNECTION", "CONNECTS", "USES", "CABLE"})
    return Snapshot(entities, relations, own if whole else frozenset())


def _device(identity: str, node: _Node) -> Iterator[Entity]:
    about = node.about
    guid = about.get("switchguid") or about.get("caguid") or "0x" + identity.partition("-")[2]
    yield Entity(node.kind, node.key, {
        "name": node.key, "guid": _guid(guid), "ports": node.ports, "vendor": about.get("vendid", ""),
        "device": about.get("devid", ""),
    })
    for number in range(1, node.ports + 1):
        lid = node.lids.get(0) if node.kind == "SW" else node.lids.get(number)
        properties: dict[str, Scalar] = {"name": f"{node.key}/{number}", "number": number, "node": node.key}
        if node.kind == "HCA":  # a lid of an unplugged port is not told, which says nothing about it
            properties |= {"guid": node.guids.get(number, "")}
        yield Entity("PORT", f"{node.key}/{number}", properties | ({"lid": lid} if lid else {}))


def _belongings(node: _Node) -> Iterator[Relation]:
    for number in range(1, node.ports + 1):
        yield Relation("HAS_PORT", Ref(node.kind, node.key), Ref("PORT", f"{node.key}/{number}"))
    if node.kind == "HCA":
        host = Ref("Host", host_of(node.name))
        yield Relation("BELONGS_TO", Ref("HCA", node.key), host)
        yield Relation("ALIAS_OF", Ref("Alias", f"infiniband:{node.name}"), host)


def _names(nodes: dict[str, _Node]) -> Iterator[Entity]:
    for name in sorted({node.name for node in nodes.values() if node.kind == "HCA"}):
        yield Entity("Alias", f"infiniband:{name}", {"name": name, "kind": "infiniband"})


def host_of(description: str) -> str:
    """The host an adapter's NodeDescription names: ``compute0 HCA-1`` and ``compute0.site mlx5_0`` give compute0."""
    return (description.split() or [description])[0].split(".")[0]


def _links(nodes: dict[str, _Node]) -> Iterator[Relation]:
    seen: set[tuple[str, str]] = set()
    for node in nodes.values():
        for number, (other, other_port, width, speed) in node.links.items():
            peer = nodes.get(other)
            if peer is None or "ROUTER" in (node.kind, peer.kind):
                continue
            ends = sorted(
                ((node.kind != "SW", natural(node.key), number, node.key),
                 (peer.kind != "SW", natural(peer.key), other_port, peer.key))
            )
            first, second = (f"{key}/{port}" for _, _, port, key in ends)
            if (first, second) not in seen:
                seen.add((first, second))
                yield Relation("LINK", Ref("PORT", first), Ref("PORT", second), {"width": width, "speed": speed})


# ── counters ──────────────────────────────────────────────────────────────────────────────────

COUNTERS = {
    "PortXmitData": "xmit_data", "PortRcvData": "rcv_data", "PortXmitPkts": "xmit_packets",
    "PortRcvPkts": "rcv_packets", "PortXmitWait": "xmit_wait", "SymbolErrorCounter": "symbol_error",
    "LinkErrorRecoveryCounter": "link_error_recovery", "LinkDownedCounter": "link_downed",
    "PortRcvErrors": "rcv_errors", "PortXmitDiscards": "xmit_discards",
}
ERRORS = ("xmit_wait", "symbol_error", "link_error_recovery", "link_downed", "rcv_errors", "xmit_discards")
"""Counters that ibqueryerrors leaves out while they are 0."""

_HEAD = re.compile(r'^(?:Data Counters|Errors) for (0x[0-9a-fA-F]+) "([^"]*)"')
_LINE = re.compile(r"^\s+GUID 0x[0-9a-fA-F]+ port (\d+):")
_VALUE = re.compile(r"\[(\w+) == (\d+)")


def parse_counters(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """Counters by (node name, port) from ibqueryerrors, with --counters or without; raw values.

    The line of port ALL is a sum and left out. Raises ValueError when it is no such answer at all.
    """
    found: dict[tuple[str, int], dict[str, int]] = {}
    names: dict[str, str] = {}
    node, known = "", False
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name, guid = head[2].strip(), head[1]
            node = name if names.setdefault(name, guid) == guid else f"{name} {guid}"
            known = True
        elif port := _LINE.match(line):
            values = found.setdefault((node, int(port[1])), {})
            for counter, value in _VALUE.findall(line):
                if counter in COUNTERS:
                    values[COUNTERS[counter]] = int(value)
        elif line.startswith("## Summary"):
            known = True
    if not known:
        raise ValueError(f"not an answer of ibqueryerrors: {text[:200]!r}")
    return found


def start_counters(host: str) -> Callable[[], Points]:
    """Every port's counters at each call, by two passes of ibqueryerrors (15 ms each for 9 nodes)."""

    def read() -> Points:
        import subprocess  # only the fabric's agent needs it

        def ask(*options: str) -> dict[tuple[str, int], dict[str, int]]:
            # The exit status is 1 when there are errors to show, which is what it is asked for.
            done = subprocess.run(("ibqueryerrors", *options), capture_output=True, text=True, timeout=3, check=False)
            return parse_counters(done.stdout)

        ports = ask("--counters")
        errors = ask("--details")
        points = []
        for (node, port), values in ports.items():
            values.update({name: errors.get((node, port), {}).get(name, 0) for name in ERRORS})
            base = f"infiniband.{segment(node)}.{port}"
            points += [(f"{base}.{name}", float(value)) for name, value in values.items()]
        return points

    return read


_RULE = (
    "{size} A lower value than before is a reset (sum on from 0), not a negative rate. "
    "The raw value is stored; rates are differences made when reading."
)


def _counter(name: str, unit: str, description: str, size: str) -> Metric:
    path, text = f"infiniband.{{node}}.{{port}}.{name}", f"{description} {_RULE.format(size=size)}"
    return Metric(f"ib.{name}", path, unit, text, "counter", "ibqueryerrors")


_LONG = "64 bits where the port has extended counters, else 32 bits that stop at 4294967295 when full."
_STOPS32 = "32 bits that stop at 4294967295 when full."
_STOPS16 = "16 bits that stop at 65535 when full."
_STOPS8 = "8 bits that stop at 255 when full."

METRICS = (
    _counter("xmit_data", "words", "Data sent, in words of four octets: octets are four times this.", _LONG),
    _counter("rcv_data", "words", "Data received, in words of four octets: octets are four times this.", _LONG),
    _counter("xmit_packets", "packets", "Packets sent.", _LONG),
    _counter("rcv_packets", "packets", "Packets received.", _LONG),
    _counter("xmit_wait", "ticks", "Ticks in which data waited for credit of the other end: congestion.", _STOPS32),
    _counter("symbol_error", "errors", "Symbols received damaged: a bad cable or port.", _STOPS16),
    _counter("link_error_recovery", "recoveries", "Times the link retrained itself.", _STOPS8),
    _counter("link_downed", "times", "Times the link went down.", _STOPS8),
    _counter("rcv_errors", "packets", "Packets received with an error.", _STOPS16),
    _counter("xmit_discards", "packets", "Packets dropped because the port was down or congested.", _STOPS16),
)

READINGS = (Reading("counters", 4, "fabric", start_counters),)

CAPTURES = (
    Capture(
        "topology", ("ibnetdiscover",), parse_topology, 60, "fabric",
        (
            r"num:128 \(Link state change\)", r"drop_mgr_remove_port: Removed port", r"Discovered new port",
            r"\bSUBNET UP\b", r"num:144 \(",
        ),
        settle=settle, events=events,
    ),
)
