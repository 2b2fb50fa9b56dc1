"""Fabrics for tests: captures taken in as the server takes them in, and trees of any size made here."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from qnib.domains import all_domains
from qnib.engine import Engine
from qnib.inventory import forwarding
from qnib.inventory.earlier import known_at
from qnib.inventory.facts import Changes, Facts
from qnib.model import Entity, Ref, Relation, Snapshot, Table

ASSETS = Path(__file__).parents[1] / "assets/infiniband"
CAPTURES = {capture.name: capture for domain in all_domains() for capture in domain.captures}


def take(engine: Engine, facts: Facts, kind: str, text: str, at: datetime, cluster: str = "lab") -> Changes:
    """Take in a capture's text as of `at`."""
    capture = CAPTURES[kind]
    seen = capture.parse(text, at)
    if capture.settle is not None:
        seen = capture.settle(seen, known_at(facts, engine, cluster, at), at)
    changes = facts.apply(cluster, f"infiniband.{capture.source or kind}@fabric", at, seen)
    if seen.tables:
        forwarding.store(engine, cluster, f"infiniband.{kind}@fabric", at, facts.now(), seen.tables)
    return changes


def own(name: str) -> str:
    return (ASSETS / name).read_text()


def jobs(facts: Facts, at: datetime, cluster: str = "lab", **hosts: str) -> None:
    """Jobs by their key's number and folded hosts, all running since `at`: ``j7="n[00-03]"``."""
    from ClusterShell.NodeSet import NodeSet

    entities = [
        Entity("Job", f"{name[1:]}@1", {"id": int(name[1:]), "name": name, "user": "alice"}) for name in hosts
    ]
    ties = [
        Relation("JOBCLIENT", Ref("Job", f"{name[1:]}@1"), Ref("Host", str(host)))
        for name, folded in hosts.items() for host in NodeSet(folded)
    ]  # fmt: skip
    facts.apply(cluster, "slurm.jobs@controller", at, Snapshot(entities, ties, frozenset({"Job", "JOBCLIENT"})))


def tree(pods: int, leaves: int, hosts: int, cores: int) -> tuple[str, list[Table]]:
    """A three-level tree as ibnetdiscover prints it, and its forwarding tables by destination modulo.

    `pods` times `leaves` leaf switches of `hosts` hosts each; a pod has `cores` middle switches, each joined to all its
    leaves and to `cores` cores of its own. LIDs count devices from 1, switches first.
    """
    ends: dict[str, list[tuple[int, str, int]]] = {}
    places: dict[str, tuple[int, int]] = {}

    def join(a: str, p: int, b: str, q: int) -> None:
        ends.setdefault(a, []).append((p, b, q))
        ends.setdefault(b, []).append((q, a, p))

    for pod in range(pods):
        for leaf in range(leaves):
            places[f"leaf{pod}.{leaf}"] = pod, leaf
            for mid in range(cores):
                join(f"leaf{pod}.{leaf}", hosts + 1 + mid, f"mid{pod}.{mid}", 1 + leaf)
            for host in range(hosts):
                join(f"leaf{pod}.{leaf}", 1 + host, f"n{(pod * leaves + leaf) * hosts + host}", 1)
        for mid in range(cores):
            places[f"mid{pod}.{mid}"] = pod, mid
            for core in range(cores):
                places[f"core{mid}.{core}"] = mid, core
                join(f"mid{pod}.{mid}", leaves + 1 + core, f"core{mid}.{core}", 1 + pod)
    nodes = [f"n{number}" for number in range(pods * leaves * hosts)]
    lid = {name: number for number, name in enumerate([*places, *nodes], 1)}
    tables = []
    for name, (first, second) in places.items():
        ports = bytearray([255]) * (len(lid) + 1)
        for index, node in enumerate(nodes):
            pod, leaf, host = index // (leaves * hosts), index // hosts % leaves, index % hosts
            if name.startswith("leaf"):
                out = 1 + host if (first, second) == (pod, leaf) else hosts + 1 + index % cores
            elif name.startswith("mid"):
                out = 1 + leaf if first == pod else leaves + 1 + index // cores % cores
            else:
                out = 1 + pod
            ports[lid[node]] = out
        tables.append(Table(name, bytes(ports)))
    return "\n\n".join(_block(name, lid, ends[name]) for name in lid) + "\n", tables


def _block(name: str, lid: dict[str, int], ends: list[tuple[int, str, int]]) -> str:
    def ident(of: str) -> str:
        return f"{'H' if of[0] == 'n' else 'S'}-{lid[of]:016x}"

    if name[0] == "n":
        rows = [
            f'[{p}]({lid[name] + 0x100000:x}) "{ident(b)}"[{q}] # lid {lid[name]} lmc 0 "{b}" lid {lid[b]} 4xEDR'
            for p, b, q in ends
        ]
        return "\n".join([f'caguid=0x{lid[name]:x}', f'Ca 1 "{ident(name)}" # "{name}"', *rows])
    rows = [f'[{p}] "{ident(b)}"[{q}] # "{b}" lid {lid[b]} 4xEDR' for p, b, q in sorted(ends)]
    head = f'Switch {len(ends)} "{ident(name)}" # "{name}" base port 0 lid {lid[name]} lmc 0'
    return "\n".join([f"switchguid=0x{lid[name]:x}", head, *rows])
