"""The same graph in Kuzu and in Neo4j, beside each other.

    QNIB_GRAPH__URL=bolt://HOST:7687 QNIB_GRAPH__PASSWORD=… python bench/graphs.py [--json] [--quick]

A fat tree of 10,000 hosts with jobs on it is recorded once; then each database is filled from the facts, made again
though nothing differs, told of one moved cable, asked every question of the library, and asked about another time.
What it leaves in the Neo4j it takes out again. --quick: a tenth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from inventory import CLUSTER, EXAMPLES, NOON, capture, fat_tree, ibnetdiscover, jobs, moved, timed
from qnib.clock import FrozenClock
from qnib.discovery import apply_capture
from qnib.domains.questions import library
from qnib.engine import Limits
from qnib.engine.chdb import open_engine
from qnib.errors import Unavailable
from qnib.inventory.asking import bind
from qnib.inventory.facts import Facts
from qnib.inventory.graph import Graph, open_graph
from qnib.settings import load

HOSTS = "MATCH (h:Host) WHERE h.until IS NULL RETURN count(h.key)"


def filled(graph: Graph) -> None:
    """Wait until it can be asked: a Neo4j is filled while the server runs."""
    while True:
        try:
            graph.cypher(HOSTS)
            return
        except Unavailable as error:
            if "made again" not in error.what:
                raise
            time.sleep(0.1)


def measure(scale: int, url: str, seconds: dict[str, dict[str, float]], name: str) -> None:
    """Fill `seconds`, by kind of work and database."""
    links = fat_tree(10_000 // scale)
    with tempfile.TemporaryDirectory() as home:
        settings = load(home=Path(home), graph=load().graph.model_copy(update={"url": url}))
        clock = FrozenClock(NOON)
        engine = open_engine(settings, clock)
        facts = Facts(engine, clock)
        nothing = open_graph(settings.model_copy(update={"graph": load(graph={"url": ""}).graph}), facts, clock)
        apply_capture(engine, facts, nothing, clock, capture(ibnetdiscover(links), NOON))
        clock.advance(60)
        facts.apply(CLUSTER, "slurm", clock.now(), jobs(10_000 // scale, 1024 // scale))
        nothing.close()
        told = len(facts.everything(NOON - timedelta(days=1)))

        def note(work: str, took: float) -> None:
            seconds.setdefault(work, {})[name] = took

        began = time.monotonic()
        graph = open_graph(settings.model_copy(update={"home": Path(home) / name}), facts, clock)
        filled(graph)
        note(f"filled from {told} facts", time.monotonic() - began)
        note("made again, nothing differs", timed(graph.rebuild))
        for wires in (moved(links), links):  # out and back; the first time pays for planning
            clock.advance(60)
            apply_capture(engine, facts, graph, clock, capture(ibnetdiscover(wires), clock.now()))
            note("one moved cable, written and asked for", timed(lambda: graph.cypher(HOSTS)))
        confirmed = "MATCH (h:Host) RETURN max(h.confirmed)"
        note("every confirmed time brought up to date", timed(lambda: graph.cypher(confirmed)))
        times = dict(asked(graph, facts))
        note(f"questions: median of {len(times)}", statistics.median(times.values()))
        slowest = max(times, key=lambda one: times[one])
        note("questions: the slowest", times[slowest])
        print(f"{name}: the slowest question is {slowest}", flush=True)
        note("first question about another time", timed(lambda: graph.cypher(HOSTS, at=NOON + timedelta(seconds=90))))
        if url:
            store: Any = graph._store  # type: ignore[attr-defined]
            for own in ("()-[x {qnib: $id}]->()", "(x:QNIB {qnib: $id})"):
                gone = f"MATCH {own} WITH x LIMIT 10000 DELETE x RETURN count(*)"
                while store.bolt.rows(gone, id=store.graph) != [[0]]:
                    pass
            store.bolt.rows("MATCH (g:QNIB_GRAPH {id: $id}) DELETE g", id=store.graph)
        graph.close()
        engine.close()


def asked(graph: Graph, facts: Facts) -> Iterator[tuple[str, float]]:
    """Every question twice, the second time counts: the first one pays for planning."""
    for _, question in library().values():
        given = {one.name: EXAMPLES[one.name] for one in question.params}
        params = bind(question.cypher, given, facts=facts, cluster=CLUSTER, at=None, question=question)

        def ask(query: str = question.cypher, params: dict[str, Any] = params) -> object:
            return graph.cypher(query, params, limits=Limits(seconds=60, rows=10_000))

        ask()
        yield question.name, timed(ask)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="a tenth of everything")
    given = arguments.parse_args()
    scale, url = 10 if given.quick else 1, load().graph.url
    seconds: dict[str, dict[str, float]] = {}
    measure(scale, "", seconds, "Kuzu")
    if url:
        measure(scale, url, seconds, "Neo4j")
    rows = [
        {
            "work": work, "unit": "s", "ours": round(took["Kuzu"], 3), "peer": round(took["Neo4j"], 3) if url else None,
            "peer_name": "Neo4j", "ratio": round(took["Neo4j"] / took["Kuzu"], 2) if url else None,
            "goal": "none", "met": True,
        }
        for work, took in seconds.items()
    ]  # fmt: skip
    if given.json:
        print(json.dumps({"rows": rows}))
        return
    for row in rows:
        beside = f"Neo4j {row['peer']} s" if url else "no Neo4j: QNIB_GRAPH__URL is not set"
        print(f"{row['work']}: Kuzu {row['ours']} s, {beside}")


if __name__ == "__main__":
    main()
