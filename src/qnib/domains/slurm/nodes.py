"""One node or partition as any source tells it, and what that means in entities and relations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from qnib.model import Entity, Ref, Relation, Scalar, Snapshot

OWN = frozenset({"Node", "Cluster", "IS", "IN", "PART_OF", "Alias", "ALIAS_OF"})
"""What a list of all nodes is complete in."""


@dataclass(slots=True)
class Node:
    name: str
    told: dict[str, Scalar]
    """Properties as `entities.py` declares them; those the source does not tell are not there."""
    hostname: str = ""
    address: str = ""
    partitions: list[str] = field(default_factory=list)


def snapshot(nodes: Iterable[Node], cluster: str = "", complete: frozenset[str] = frozenset()) -> Snapshot:
    """Nodes, the hosts they are, their partitions and names, and the cluster where the source says which."""
    entities: dict[tuple[str, str], Entity] = {}
    if cluster:
        entities["Cluster", cluster] = Entity("Cluster", cluster, {"name": cluster})
    relations: dict[tuple[str, str, str], Relation] = {}  # by keys: the ends of a kind are of one kind each
    for node in nodes:
        ref, host = Ref("Node", node.name), Ref("Host", (node.hostname or node.name).split(".")[0])
        ties = [Relation("IN", ref, Ref("Cluster", cluster))] if cluster else []
        for kind, name in (("slurm", node.name), ("hostname", node.hostname), ("address", node.address)):
            if name and (kind == "slurm" or name != node.name):
                key = f"{kind}:{name}"
                entities["Alias", key] = Entity("Alias", key, {"name": name, "kind": kind})
                ties.append(Relation("ALIAS_OF", Ref("Alias", key), host))
        entities["Host", host.key] = Entity("Host", host.key, {"name": host.key})
        entities["Node", node.name] = Entity("Node", node.name, {"name": node.name, **node.told})
        ties.append(Relation("IS", ref, host))
        ties.extend(Relation("PART_OF", ref, Ref("Partition", name)) for name in node.partitions)
        for tie in ties:
            relations[tie.kind, tie.source.key, tie.target.key] = tie
    return Snapshot(list(entities.values()), list(relations.values()), complete)


def partitions(told: Iterable[dict[str, Scalar]], complete: frozenset[str] = frozenset()) -> Snapshot:
    """The partitions, each by its properties; `name` is the key."""
    return Snapshot([Entity("Partition", str(one["name"]), one) for one in told], complete=complete)
