"""The projection under kill -9: an engine of its own per round, so this is a file of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.inventory.test_graph import content

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Facts
from qnib.inventory.graph import open_graph
from qnib.settings import load

pytestmark = pytest.mark.engine

WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from qnib.clock import SystemClock
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Facts
from qnib.inventory.graph import open_graph
from qnib.model import Entity, Ref, Relation, Snapshot
from qnib.settings import load

settings, clock = load(home=Path(sys.argv[1])), SystemClock()
engine = open_engine(settings, clock)
facts = Facts(engine, clock)
graph = open_graph(settings, facts, clock)
print("open", flush=True)
number = 0
while True:
    number += 1
    now = clock.now()
    hosts = [Entity("Host", f"h{i}", {"name": f"h{i}", "kernel": str(number)}) for i in range(number % 40)]
    ties = [Relation("ALIAS_OF", Ref("Alias", f"x:h{i}"), Ref("Host", f"h{i}")) for i in range(number % 30)]
    snapshot = Snapshot(hosts, ties, frozenset({"Host", "ALIAS_OF"}))
    graph.update(facts.apply("demo", "names", now, snapshot))
    print(number, flush=True)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    """kill -9 at any moment: the graph says what the facts say, opened as it is or made again."""
    settings = load(home=tmp_path)
    for kill in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for line in writer.stdout:
            if line.strip() == str(7 + 5 * kill):
                break
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        clock = FrozenClock(datetime.now(UTC))
        engine = open_engine(settings, clock)
        facts = Facts(engine, clock)
        assert facts.everything(datetime.fromtimestamp(0, UTC)), "what was written is there"
        graph = open_graph(settings, facts, clock)
        found = content(graph)
        graph.rebuild()
        assert content(graph) == found
        held = {fact.key for fact in facts.current("demo", "Host")}
        named = {row[0] for row in graph.cypher("MATCH (h:Host) WHERE h.until IS NULL RETURN h.key").rows}
        assert held <= named
        graph.close()
        engine.close()
