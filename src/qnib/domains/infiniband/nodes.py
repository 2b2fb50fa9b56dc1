"""What every tool tells of a fabric, in one form: nodes with their ports and links. And what it means as facts.

Rules for what cannot be right:

- A link counts once. Told differently by its two ends, the lower width and speed hold.
- A link that only one end tells of, a peer nobody describes, a line cut short: the look is not whole. What it tells
  is taken, but nothing has ended because it is missing there.
- Two nodes of one name are told apart by their GUID, in the key.
- One GUID on two nodes: the first counts, the second is left out, both are named in `problem`, nothing ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qnib.domains.infiniband.rates import lower
from qnib.domains.paths import natural
from qnib.model import Entity, Ref, Relation, Scalar, Snapshot

KINDS = {"Switch": "SW", "Ca": "HCA", "Hca": "HCA", "Rt": "ROUTER", "SW": "SW", "CA": "HCA", "RT": "ROUTER"}
COMPLAINTS = ("src/", "ibwarn:", "ibpanic:", "ibsim")
"""How a line begins that tells of a query that timed out: some part is missing."""

End = tuple[str, int]
"""A port: the id of its node and its number."""

CONNECTED = frozenset({"LINK", "CONNECTION", "CONNECTS", "USES", "CABLE"})
"""What a whole look at the fabric lists exhaustively. An adapter that is missing lost its link or its power; that it
left its host nobody said."""


@dataclass(slots=True)
class Node:
    """One device. `identity` is ``S-`` or ``H-`` and a GUID, as ibnetdiscover writes it."""

    kind: str
    """SW, HCA or ROUTER."""
    identity: str
    name: str
    ports: int = 0
    """How many it has; 0 where the tool does not tell."""
    guid: str = ""
    vendor: str = ""
    device: str = ""
    links: dict[int, tuple[End, str, str]] = field(default_factory=dict)
    """By own port: the other port, width and speed."""
    guids: dict[int, str] = field(default_factory=dict)
    lids: dict[int, int] = field(default_factory=dict)
    """A switch has one, at port 0."""
    lmc: int = 0
    could: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Width and speed that a port and the one it is connected to can both do."""
    seen: set[int] = field(default_factory=set)
    """Ports told of, connected or not."""
    key: str = ""
    problem: str = ""


@dataclass(slots=True)
class Look:
    """Everything one answer tells."""

    nodes: dict[str, Node] = field(default_factory=dict)
    whole: bool = True

    def add(self, node: Node) -> Node:
        """Take in a node, once."""
        known = self.nodes.get(node.identity)
        if known is None:
            self.nodes[node.identity] = node
            return node
        known.problem = f"{node.name} has the same GUID"
        self.whole = False
        return node  # what follows about it goes nowhere

    def links(self) -> dict[tuple[End, End], tuple[str, str]]:
        """Each link once, by its ends in the order in which it is named: (width, speed)."""
        found: dict[tuple[End, End], tuple[str, str]] = {}
        told: set[tuple[End, End]] = set()
        place = self._places()
        for node in self.nodes.values():
            for number, (other, width, speed) in node.links.items():
                peer = self.nodes.get(other[0])
                if peer is None:
                    self.whole = False
                    continue
                own = (node.identity, number)
                told.add((own, other))
                turned = (place[other[0]], other[1]) < (place[node.identity], number)
                ends = (other, own) if turned else (own, other)
                before = found.setdefault(ends, (width, speed))
                if before != (width, speed):
                    found[ends] = lower(before, (width, speed))
        if any((b, a) not in told for a, b in told):
            self.whole = False
        return found

    def _places(self) -> dict[str, int]:
        """Where each node comes among all: switches first, then by name as people sort."""
        order = sorted(self.nodes.values(), key=lambda node: (node.kind != "SW", natural(node.key or node.name)))
        return {node.identity: place for place, node in enumerate(order)}

    def port(self, end: End) -> str:
        return f"{self.nodes[end[0]].key}/{end[1]}"

    def name(self) -> None:
        """Give every node its key: its name where that is its own."""
        uses: dict[tuple[str, str], int] = {}
        for node in self.nodes.values():
            uses[node.kind, node.name] = uses.get((node.kind, node.name), 0) + 1
        for node in self.nodes.values():
            node.key = node.name if uses[node.kind, node.name] == 1 else f"{node.name} {node.identity}"


def lines_of(text: str, look: Look) -> list[str]:
    """The lines; one without its end was cut short and is not told."""
    lines = text.split("\n")
    if lines[-1].strip():
        look.whole = False
    return [line.rstrip() for line in lines[:-1]]


def guid(text: str) -> str:
    """A GUID with all its digits."""
    return f"0x{int(text, 16):016x}"


def identity(kind: str, told: str) -> str:
    """``S-`` or ``H-`` and the GUID: what tells nodes of one name apart."""
    return f"{'S' if kind == 'SW' else 'R' if kind == 'ROUTER' else 'H'}-{int(told, 16):016x}"


def host_of(description: str) -> str:
    """The host an adapter's NodeDescription names: ``compute0 HCA-1`` and ``compute0.site mlx5_0`` give compute0."""
    return (description.split() or [description])[0].split(".")[0]


def facts(look: Look) -> Snapshot:
    """Adapters, switches, ports and links; cables and connections are settled against the record afterwards.

    Raises ValueError when there is no node at all.
    """
    if not look.nodes:
        raise ValueError("no node in the topology")
    look.name()
    links = look.links()
    entities: list[Entity] = []
    relations: list[Relation] = []
    for node in look.nodes.values():
        if node.kind in ("SW", "HCA"):
            entities.extend(_device(node))
            relations.extend(_belongings(node))
    for (first, second), (width, speed) in links.items():
        if "ROUTER" not in (look.nodes[first[0]].kind, look.nodes[second[0]].kind):
            ends = Ref("PORT", look.port(first)), Ref("PORT", look.port(second))
            relations.append(Relation("LINK", *ends, {"width": width, "speed": speed}))
    for name in sorted({node.name for node in look.nodes.values() if node.kind == "HCA"}):
        entities.append(Entity("Alias", f"infiniband:{name}", {"name": name, "kind": "infiniband"}))
    return Snapshot(entities, relations, CONNECTED if look.whole else frozenset())


def _device(node: Node) -> Iterator[Entity]:
    told: dict[str, Scalar] = {"name": node.key, "problem": node.problem}
    if node.guid:
        told["guid"] = node.guid
    if node.ports:
        told |= {"ports": node.ports, "vendor": node.vendor, "device": node.device}
    yield Entity(node.kind, node.key, told)
    for number in _ports(node):
        lid = node.lids.get(0) if node.kind == "SW" else node.lids.get(number)
        properties: dict[str, Scalar] = {"name": f"{node.key}/{number}", "number": number, "node": node.key}
        if node.kind == "HCA" and (node.ports or number in node.guids):
            properties["guid"] = node.guids.get(number, "")
        if lid:  # a lid of an unplugged port is not told, which says nothing about it
            properties["lid"] = lid
            if node.lmc:
                properties["lmc"] = node.lmc
        if number in node.could:
            properties["could_width"], properties["could_speed"] = node.could[number]
        yield Entity("PORT", f"{node.key}/{number}", properties)


def _ports(node: Node) -> list[int]:
    return sorted({*range(1, node.ports + 1), *node.links, *node.seen} - {0})


def _belongings(node: Node) -> Iterator[Relation]:
    for number in _ports(node):
        yield Relation("HAS_PORT", Ref(node.kind, node.key), Ref("PORT", f"{node.key}/{number}"))
    if node.kind == "HCA":
        host = Ref("Host", host_of(node.name))
        yield Relation("BELONGS_TO", Ref("HCA", node.key), host)
        yield Relation("ALIAS_OF", Ref("Alias", f"infiniband:{node.name}"), host)


def mend(look: Look, names: Mapping[int, set[str]]) -> None:
    """Peers told by their lid alone become ids; `names` are the ids that have a lid. One that cannot be told makes
    the look not whole."""
    for node in look.nodes.values():
        for number, ((other, port), width, speed) in list(node.links.items()):
            if not other.startswith("lid "):
                continue
            lid, _, name = other.removeprefix("lid ").partition(" ")
            found = names.get(int(lid), set()) if int(lid) else set()
            if len(found) != 1:  # no subnet manager has given lids: by the name, where that is unique
                found = {one.identity for one in look.nodes.values() if one.name == name}
            if len(found) == 1:
                node.links[number] = (found.pop(), port), width, speed
            else:
                del node.links[number]
                look.whole = False
