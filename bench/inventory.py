"""How long the inventory takes at the size of a large site.

    python bench/inventory.py [--json] [--quick]

A three-level fat tree of 10,000 hosts as `ibnetdiscover` text is taken in, then again with one cable moved; hop counts
between all hosts of a job of 1024; routes between hosts by forwarding tables, the slowest of 200 counts; every
question of the library is asked of the fat tree's graph with jobs and newest values on it, and the slowest one counts;
a graph of 100,000 entities and 1,000,000 relations is made from facts. --quick: a tenth. Each row tells the wall time,
the CPU time of this process, and the most memory it ever had until then.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median_low as median
from typing import Any

import numpy as np

from qnib.clock import FrozenClock
from qnib.discovery import apply_capture
from qnib.domains.questions import library
from qnib.engine import Limits
from qnib.engine.chdb import open_engine
from qnib.inventory import forwarding
from qnib.inventory.asking import bind
from qnib.inventory.distance import hops
from qnib.inventory.facts import Facts
from qnib.inventory.graph import LiveGraph, open_graph
from qnib.inventory.net import Nets
from qnib.inventory.routes import Route, routes
from qnib.inventory.schema import instant
from qnib.inventory.store import Newest
from qnib.model import Entity, Question, Ref, Relation, Snapshot, Table
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


def tables(links: dict[str, dict[int, tuple[str, int]]], radix: int = 36) -> Iterator[Table]:
    """Linear forwarding tables for these links as a subnet manager writes them for a fat tree: down by the only port
    there is, up by the destination's number. LIDs are those that `ibnetdiscover` tells here."""
    half, names = radix // 2, list(links)
    hosts = [name for name in names if name.startswith("node")]
    lids = np.array([number for number, name in enumerate(names, 1) if name.startswith("node")])
    host = np.array([int(name[4:]) for name in hosts])
    leaf = np.array([int(links[name][1][0][4:]) for name in hosts])
    port = np.array([links[name][1][1] for name in hosts])
    for name in names:
        if name.startswith("leaf"):
            out = np.where(leaf == int(name[4:]), port, half + 1 + host % half)
        elif name.startswith("middle"):
            out = np.where(leaf // half == int(name[6:]) // half, leaf % half + 1, half + 1 + host // half % half)
        elif name.startswith("core"):
            out = leaf // half + 1
        else:
            continue
        ports = np.full(len(names) + 1, forwarding.NONE, np.uint8)
        ports[lids] = out
        yield Table(name, ports.tobytes())


def capture(text: str, at: datetime) -> Record:
    head = json.dumps({"domain": "infiniband", "capture": "topology", "host": "fabric", "at": at.isoformat()})
    return Record(at, CLUSTER, "bench", "http", f"{head}\n{text}".encode())


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Any, Facts, LiveGraph, FrozenClock]]:
    clock, settings = FrozenClock(NOON), load(home=folder)
    engine = open_engine(settings, clock)
    facts = Facts(engine, clock)
    graph = open_graph(settings, facts, clock, lambda at: newest(facts, at))
    yield engine, facts, graph, clock
    graph.close()
    engine.close()


def newest(facts: Facts, at: datetime) -> Iterator[Newest]:
    """A value on every host and every port, another one each time."""
    time = instant(at)
    for number, port in enumerate(facts.current(CLUSTER, "PORT")):
        count = {"symbol_error": at.timestamp() + number, "symbol_error_hour": number % 50 - 25.0}
        yield CLUSTER, port.ref, {**count, "symbol_error_at": time}
    for number, host in enumerate(facts.current(CLUSTER, "Host")):
        yield CLUSTER, host.ref, {"cpu_used": number % 100 + 0.5, "cpu_used_at": time}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall, and of CPU in all threads."""
    began, used = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - began, time.process_time() - used


def jobs(hosts: int, size: int) -> Snapshot:
    """One job of `size` hosts and as many small jobs as fit beside it; half as many that ended, a tenth of them badly;
    and the nodes."""
    entities, ties = [], []
    host = 0
    wanted = [size, *[4] * (-(-(hosts - size) // 4))]
    for number, width in enumerate([*wanted, *[2] * (len(wanted) // 2)], 1):
        until = NOON if number > len(wanted) else None
        state = "RUNNING" if until is None else "FAILED" if number % 10 == 0 else "COMPLETED"
        key, since, user = f"{number}@{NOON.isoformat()}", NOON - timedelta(hours=1), f"u{number % 50}"
        told = {"id": number, "name": "lbm", "user": user, "state": state, "node_count": width}
        entities += [Entity("Job", key, told, since, until), Entity("User", user, {"name": user})]
        ties.append(Relation("SUBMITTED", Ref("User", user), Ref("Job", key)))
        ties.append(Relation("CHARGED_TO", Ref("Job", key), Ref("Account", f"a{number % 9}")))
        ties += [
            Relation("JOBCLIENT", Ref("Job", key), Ref("Host", f"node{h % hosts}"), {"cpus": 64}, since, until)
            for h in range(host, min(hosts, host + width) if until is None else host + width)
        ]
        host += width
    for name in (f"node{h}" for h in range(hosts)):
        node, machine = Entity("Node", name, {"name": name, "state": "ALLOCATED"}), Entity("Host", name, {"name": name})
        entities += [node, machine]
        ties += [Relation("IS", node.ref, machine.ref), Relation("PART_OF", node.ref, Ref("Partition", "all"))]
    return Snapshot(entities, ties)


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


def row(work: str, unit: str, ours: float, cpu: float, goal: float) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "work": work, "unit": unit, "ours": round(ours, 3), "peer": None, "peer_name": "none does it", "ratio": None,
        "goal": f"< {goal} {unit}", "met": ours < goal, "cpu": round(cpu, 3), "peak_rss_mib": round(peak),
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
        if (ended := sum(fact.kind == "CONNECTION" for fact in changes[0].ended)) != 1:
            raise SystemExit(f"one cable was moved, but {ended} connections ended")
        work = f"import ({first[0]:.1f} s) and diff ({second[0]:.1f} s) of a fat tree, {hosts} hosts"
        yield row(work, "s", first[0] + second[0], first[1] + second[1], 10)
        facts.apply(CLUSTER, "slurm", clock.now(), jobs(hosts, size))
        graph.rebuild()
        best = min(timed(lambda: hops(facts, CLUSTER, [f"node{h}" for h in range(size)], None)) for _ in range(3))
        yield row(f"hop counts of all pairs, job of {size} hosts", "s", *best, 1)
        forwarding.store(engine, CLUSTER, "infiniband.tables@x", NOON, clock.now(), list(tables(moved(links))))
        yield routed(Nets(engine, facts), hosts)
        yield slowest(facts, graph, clock, hosts)
    entities, relations = 100_000 // scale, 1_000_000 // scale
    with tempfile.TemporaryDirectory() as home, opened(Path(home)) as (_, facts, graph, clock):
        facts.apply(CLUSTER, "bench", NOON, mesh(entities, relations))
        yield row(f"rebuild of {entities} entities and {relations} relations", "s", *timed(graph.rebuild), 20)


def routed(nets: Nets, hosts: int) -> dict[str, Any]:
    """Routes between 200 pairs of hosts; the fabric has been made into arrays before, as it is once for each change."""
    nets.at(CLUSTER)
    chance = random.Random(7)
    taken = []
    found: list[Route] = []
    for _ in range(200):
        a, b = (f"node{host}" for host in chance.sample(range(hosts), 2))
        ask = partial(lambda a, b: found.extend(routes(nets, CLUSTER, a, b)), a, b)
        taken.append(min(timed(ask) for _ in range(3)))
    if bad := [route for route in found if not route.complete or route.by != "tables" or route.problem]:
        raise SystemExit(f"{bad[0].a} to {bad[0].b} by {bad[0].by}: {bad[0].problem or 'incomplete'}")
    wall, cpu = max(taken)
    work = f"route by forwarding tables, {hosts} hosts, slowest of 200 (median {1000 * median(taken)[0]:.2f} ms)"
    return row(work, "ms", 1000 * wall, 1000 * cpu, 50)


def slowest(facts: Facts, graph: LiveGraph, clock: FrozenClock, hosts: int) -> dict[str, Any]:
    """Every question of the library twice, the second time counts: the first one pays for planning, and those that
    mention values of metrics for putting them on, which is done every ten seconds at most and told beside."""

    def put() -> None:
        clock.advance(11)
        graph.cypher("MATCH (h:Host) WHERE h.cpu_used > 100 RETURN h.key")

    values = min(timed(put) for _ in range(3))
    times = {}
    for _, question in library().values():
        given = {one.name: EXAMPLES[one.name] for one in question.params}

        def ask(question: Question = question, given: dict[str, Any] = given) -> object:
            params = bind(question.cypher, given, facts=facts, cluster=CLUSTER, at=None, question=question)
            return graph.cypher(question.cypher, params, limits=Limits(seconds=60, rows=10_000))

        ask()
        times[question.name] = min(timed(ask) for _ in range(3))
    name = max(times, key=lambda one: times[one])
    beside = f"(newest values on all hosts and ports: {values[0]:.1f} s)"
    return row(f"slowest of {len(times)} questions at {hosts} hosts: {name} {beside}", "s", *times[name], 0.5)


EXAMPLES = {
    "host": "node0", "other": "node500", "switch": "leaf0", "job": 1, "port": "leaf0/1", "package": "openmpi",
    "library": "libmpi.so.40", "module": "openmpi",
}  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="a tenth of everything")
    given = arguments.parse_args()
    rows = []
    for found in measure(10 if given.quick else 1):
        rows.append(found)
        if not given.json:
            print(f"{found['work']}: {found['ours']} {found['unit']} (CPU {found['cpu']}), goal {found['goal']}: "
                  f"{'met' if found['met'] else 'missed'}; peak {found['peak_rss_mib']} MiB", flush=True)
    if given.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
