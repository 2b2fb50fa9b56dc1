"""The graph under kill -9, in either database: an engine of its own per round, so this is a file of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qnib.settings import Settings

pytestmark = pytest.mark.engine

KILLS = 20
WRITER = """
import sys
from pathlib import Path
from tests.inventory.expected import content, expected
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
found, wanted = content(graph), expected(facts)
print("same" if found == wanted else f"differs: {sorted(set(found) ^ set(wanted))[:4]}", end=" ")
print(len(wanted), "made again" if graph.rebuilt else "as it was", flush=True)
number = 0
while True:
    number += 1
    now = clock.now()
    hosts = [Entity("Host", f"h{i}", {"name": f"h{i}", "kernel": str(number)}) for i in range(number % 40)]
    ties = [Relation("ALIAS_OF", Ref("Alias", f"x:h{i}"), Ref("Host", f"h{i}")) for i in range(number % 30)]
    snapshot = Snapshot(hosts, ties, frozenset({"Host", "ALIAS_OF"}))
    graph.update(facts.apply("demo", "names", now, snapshot))
    if number % 5 == 0:  # now and then the graph has everything
        graph.cypher("RETURN 1")
    print(number, flush=True)
"""


@pytest.mark.timeout(900)  # a minute each on a machine of its own
def test_killed_while_writing(settings: Settings, tmp_path: Path, database: str) -> None:
    """kill -9 at any moment: opened as it is or made again, the graph then says exactly what the facts say."""
    chance = random.Random(database)
    told: list[str] = []
    graph = settings.graph
    env = os.environ | {
        "QNIB_GRAPH__URL": graph.url, "QNIB_GRAPH__USER": graph.user,
        "QNIB_GRAPH__PASSWORD": graph.password.get_secret_value(),
    }  # fmt: skip
    for _ in range(KILLS + 1):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert writer.stdout is not None
        told.append(writer.stdout.readline().strip())
        last = str(chance.randint(1, 25))
        for line in writer.stdout:
            if line.strip() == last:
                break
        time.sleep(chance.choice([0, 0.01, 0.02, 0.04]))  # in the middle of whatever comes next
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert [line for line in told if not line.startswith("same")] == [], "\n".join(told)
    assert int(told[-1].split()[1]) > int(told[1].split()[1]) > 0, "what was written is there"
    print("\n".join(told))
