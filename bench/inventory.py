"""How long the inventory takes at the size of a large site.

    python bench/inventory.py [--json] [--quick]

A three-level fat tree of 10,000 hosts as `ibnetdiscover` text is taken in, then again with one cable moved; a graph of
100,000 entities and 1,000,000 relations is made from facts; hop counts between all hosts of a job of 1024; every
question of the library is asked of the fat tree's graph with jobs on it, and the slowest one counts. --quick: a tenth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qnib.clock import FrozenClock
from qnib.discovery import apply_capture
from qnib.domains.questions import library
from qnib.engine import Limits
from qnib.engine.chdb import open_engine
from qnib.inventory.asking import bind
from qnib.inventory.distance import hops
from qnib.inventory.facts import Facts
from qnib.inventory.graph import Graph, LiveGraph, open_graph
from qnib.model import Entity, Question, Ref, Relation, Snapshot
from qnib.monitoring.spool import Record
from qnib.settings import load

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLUSTER = "bench"


def fat_tree(hosts: int, radix: int = 36) -> dict[str, dict[int, tuple[str, int]]]:
    """Links of a three-level fat tree by device and port: pods of radix/2 leaves, each with radix/2 hosts."""
    half = radix // 2
    pods = -(-hosts // (half * half))
    links: dict[str, dict[int, tuple[str, int]]] = {}

    def join(a: str, a_port: int, b: str, b_port: int) -> None:
        links.setdefault(a, {})[a_port] = (b, b_port)
        links.setdefault(b, {})[b_port] = (a, a_port)

    for host in range(hosts):
        leaf, port = divmod(host, half)
        join(f"leaf{leaf}", port + 1, f"node{host}", 1)
    for pod in range(pods):
        for up in range(half):
            for down in range(half):
                if f"leaf{pod * half + down}" in links:
                    join(f"middle{pod * half + up}", down + 1, f"leaf{pod * half + down}", half + 1 + up)
            for core in range(half):
                join(f"core{up * half + core}", pod + 1, f"middle{pod * half + up}", half + 1 + core)
    return links


def ibnetdiscover(links: dict[str, dict[int, tuple[str, int]]], radix: int = 36) -> str:
    """The tool's text for these links."""
    number = {name: index + 1 for index, name in enumerate(links)}
    ident = {name: f"{'H' if name.startswith('node') else 'S'}-{number[name]:016x}" for name in links}
    parts = []
    for name, ports in links.items():
        host = name.startswith("node")
        kind, size = ("Ca", 1) if host else ("Switch", radix)
        told = f'{name} HCA-1' if host else name
        parts.append(f"vendid=0x2c9\ndevid=0x1011\nsysimgguid=0x{number[name]:x}")
        lid = "" if host else f" base port 0 lid {number[name]} lmc 0"
        parts.append(f'{"ca" if host else "switch"}guid=0x{number[name]:x}({number[name]:x})')
        parts.append(f'{kind}\t{size} "{ident[name]}"\t\t# "{told}"{lid}')
        for port, (other, other_port) in sorted(ports.items()):
            mine = f"({number[name]:x}) " if host else ""
            theirs = f"({number[other]:x}) " if other.startswith("node") else ""
            lid_told = f"lid {number[name]} lmc 0 " if host else ""
            peer = f'"{ident[other]}"[{other_port}]{theirs}'
            parts.append(f'[{port}]{mine}\t{peer}\t\t# {lid_told}"{other}" lid {number[other]} 4xEDR')
        parts.append("")
    return "\n".join(parts) + "\n"


def moved(links: dict[str, dict[int, tuple[str, int]]]) -> dict[str, dict[int, tuple[str, int]]]:
    """The same with node0's cable plugged into a free port of the last leaf."""
    other = {name: dict(ports) for name, ports in links.items()}
    leaf, port = other["node0"][1]
    del other[leaf][port]
    last = max((name for name in other if name.startswith("leaf")), key=lambda name: int(name[4:]))
    free = next(p for p in range(1, 37) if p not in other[last])
    other[last][free], other["node0"][1] = ("node0", 1), (last, free)
    return other


def capture(text: str, at: datetime) -> Record:
    head = json.dumps({"domain": "infiniband", "capture": "topology", "host": "fabric", "at": at.isoformat()})
    return Record(at, CLUSTER, "bench", "http", f"{head}\n{text}".encode())


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Any, Facts, LiveGraph, FrozenClock]]:
    clock, settings = FrozenClock(NOON), load(home=folder)
    engine = open_engine(settings, clock)
    facts = Facts(engine, clock)
    graph = open_graph(settings, facts, clock)
    yield engine, facts, graph, clock
    graph.close()
    engine.close()


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def jobs(hosts: int, size: int) -> Snapshot:
    """One job of `size` hosts and as many small jobs as fit beside it."""
    entities, ties = [], []
    number = 0
    host = 0
    while host < hosts:
        width = size if number == 0 else 4
        key = f"{number + 1}@{NOON.isoformat()}"
        entities.append(Entity("Job", key, {
            "id": number + 1, "name": "lbm", "user": f"u{number % 50}", "state": "RUNNING", "nodes": width,
        }, NOON))
        entities.append(Entity("User", f"u{number % 50}", {"name": f"u{number % 50}"}))
        ties.append(Relation("SUBMITTED", Ref("User", f"u{number % 50}"), Ref("Job", key)))
        ties += [
            Relation("JOBCLIENT", Ref("Job", key), Ref("Host", f"node{h}"), {"cpus": 64}, NOON)
            for h in range(host, min(hosts, host + width))
        ]
        host += width
        number += 1
    nodes = [Entity("Host", f"node{h}", {"name": f"node{h}"}) for h in range(hosts)]
    nodes += [Entity("Node", f"node{h}", {"name": f"node{h}", "state": "ALLOCATED"}) for h in range(hosts)]
    return Snapshot([*entities, *nodes], ties)


def mesh(entities: int, relations: int) -> Snapshot:
    """Hosts with aliases and allocations: nothing but bulk."""
    hosts = [Entity("Host", f"h{i}", {"name": f"h{i}", "kernel": "6.12"}) for i in range(entities // 2)]
    half = entities // 2
    found = [Entity("Job", f"j{i}", {"id": i, "user": f"u{i % 97}", "state": "COMPLETED"}) for i in range(half)]
    each = relations // half
    ties = [
        Relation("JOBCLIENT", Ref("Job", f"j{i}"), Ref("Host", f"h{(i * 31 + n * 7919) % half}"), {"cpus": 4})
        for i in range(half) for n in range(each)
    ]  # fmt: skip
    return Snapshot([*hosts, *found], ties)


def row(work: str, unit: str, ours: float, goal: float) -> dict[str, Any]:
    return {
        "work": work, "unit": unit, "ours": round(ours, 3), "peer": None, "peer_name": "none does it", "ratio": None,
        "goal": f"< {goal} {unit}", "met": ours < goal,
    }  # fmt: skip


def measure(scale: int) -> Iterator[dict[str, Any]]:
    hosts, size = 10_000 // scale, 1024 // scale
    links = fat_tree(hosts)
    before, after = ibnetdiscover(links), ibnetdiscover(moved(links))
    with tempfile.TemporaryDirectory() as home, opened(Path(home)) as (engine, facts, graph, clock):
        first = timed(lambda: apply_capture(engine, facts, graph, clock, capture(before, NOON)))
        clock.advance(60)
        changes: list[Any] = []
        second = timed(lambda: changes.append(
            apply_capture(engine, facts, graph, clock, capture(after, NOON + timedelta(minutes=1)))
        ))
        ended = [fact for fact in changes[0].ended if fact.kind == "CONNECTION"]
        if len(ended) != 1:
            raise SystemExit(f"one cable was moved, but {len(ended)} connections ended")
        work = f"import ({first:.1f} s) and diff ({second:.1f} s) of a fat tree, {hosts} hosts"
        yield row(work, "s", first + second, 10)
        facts.apply(CLUSTER, "slurm", clock.now(), jobs(hosts, size))
        graph.rebuild()
        names = [f"node{h}" for h in range(size)]
        yield row(f"hop counts of all pairs, job of {size} hosts", "s", min(
            timed(lambda: hops(facts, CLUSTER, names, None)) for _ in range(3)
        ), 1)
        yield slowest(facts, graph, hosts)
    entities, relations = 100_000 // scale, 1_000_000 // scale
    with tempfile.TemporaryDirectory() as home, opened(Path(home)) as (_, facts, graph, clock):
        facts.apply(CLUSTER, "bench", NOON, mesh(entities, relations))
        yield row(f"rebuild of {entities} entities and {relations} relations", "s", timed(graph.rebuild), 20)


def slowest(facts: Facts, graph: Graph, hosts: int) -> dict[str, Any]:
    """Every question of the library twice, the second time counts: the first one pays for planning."""
    times = {}
    for _, question in library().values():
        given = {one.name: EXAMPLES[one.name] for one in question.params}

        def ask(question: Question = question, given: dict[str, Any] = given) -> object:
            params = bind(question.cypher, given, facts=facts, cluster=CLUSTER, at=None, question=question)
            return graph.cypher(question.cypher, params, limits=Limits(seconds=60, rows=10_000))

        ask()
        times[question.name] = timed(ask)
    name = max(times, key=lambda one: times[one])
    return row(f"slowest of {len(times)} questions at {hosts} hosts: {name}", "s", times[name], 0.5)


EXAMPLES = {"host": "node0", "other": "node500", "switch": "leaf0", "job": 1, "port": "leaf0/1"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="a tenth of everything")
    given = arguments.parse_args()
    rows = []
    for found in measure(10 if given.quick else 1):
        rows.append(found)
        if not given.json:
            print(f"{found['work']}: {found['ours']} {found['unit']}, goal {found['goal']}: "
                  f"{'met' if found['met'] else 'missed'}", flush=True)
    if given.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
