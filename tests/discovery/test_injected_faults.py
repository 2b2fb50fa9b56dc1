"""OpenSM's log and snapshots of its fabric while cables were pulled and put back: each is found, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.data import real
from tests.monitoring.conftest import Plant, edges_of_their_own

from qnib.agent.lines import from_file
from qnib.clock import FrozenClock
from qnib.discovery import apply_capture
from qnib.domains import all_domains
from qnib.domains.events import load_rules
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Facts
from qnib.inventory.graph import open_graph
from qnib.monitoring.events import search
from qnib.monitoring.spool import Record

pytestmark = pytest.mark.engine
FOLDER = "infiniband/osm_fattree208"
DOWN, UP = {"link.down", "fabric.removed"}, {"link.up", "fabric.discovered"}
SHOTS = {
    "ibnetdiscover.t0.txt": "infiniband/topology", "ibnetdiscover.hca2_down.txt": "infiniband/topology",
    "iblinkinfo.t1.txt": "infiniband/iblinkinfo",
}  # fmt: skip


@dataclass
class Fabric:
    plant: Plant
    facts: Facts

    def ports(self, refs: list[str], at: datetime) -> set[str]:
        """The ports an event is about; an adapter is about the ports it has at that time."""
        told = {ref.removeprefix("PORT:") for ref in refs if ref.startswith("PORT:")}
        hcas = {ref.removeprefix("HCA:") for ref in refs if ref.startswith("HCA:")}
        return told | {
            tie.target.key for fact in self.facts.relations("demo", "HAS_PORT", at)
            if (tie := fact.as_relation()).source.kind == "HCA" and tie.source.key in hcas
        }  # fmt: skip


@pytest.fixture
def fabric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fabric]:
    """All that was recorded, taken in: the log as the fabric's agent reads it, snapshots at their times."""
    monkeypatch.setenv("TZ", "UTC")
    truth = json.loads((real(FOLDER) / "ground_truth.json").read_text())
    clock = FrozenClock(datetime.fromtimestamp(truth[-1]["t"], UTC))
    settings = edges_of_their_own(tmp_path / "home")
    engine = open_engine(settings, clock)
    facts = Facts(engine, clock)
    graph = open_graph(settings, facts, clock)
    plant = Plant(settings, clock, engine, rules=[rule for domain in all_domains() for rule in load_rules(domain)])
    lines = (real(FOLDER) / "osm.log").read_bytes().splitlines()
    now = clock.now().timestamp()
    plant.send("syslog/tcp", b"".join(from_file(line, "fabric", "opensm", now)[0] for line in lines))
    for one in truth:
        if (kind := SHOTS.get(one.get("file", ""))) is not None:
            domain, name = kind.split("/")
            at = datetime.fromtimestamp(one["t"], UTC)
            head = {"domain": domain, "capture": name, "host": "fabric", "at": at.isoformat()}
            text = (real(FOLDER) / one["file"]).read_bytes()
            record = Record(clock.now(), "demo", "10.0.0.9", "http", json.dumps(head).encode() + b"\n" + text)
            apply_capture(engine, facts, graph, clock, record)
    yield Fabric(plant, facts)
    graph.close()
    engine.close()


def test_each_fault_on_its_port_within_ten_seconds_and_no_other(fabric: Fabric) -> None:
    truth = json.loads((real(FOLDER) / "ground_truth.json").read_text())
    injected = [
        (datetime.fromtimestamp(one["t"], UTC), DOWN if found[1] == "Unlink" else UP)
        for one in truth if (found := re.match(r'(Unlink|ReLink) "H-0000000001000004"\[1\]', one.get("command", "")))
    ]  # fmt: skip
    assert len(injected) == 2, "Hca2's cable out and in again; all else that was injected is no link fault"
    start, end = injected[0][0] - timedelta(minutes=1), injected[-1][0] + timedelta(minutes=1)
    told = search(fabric.plant.engine, "demo", start, end, kind=",".join(sorted(DOWN | UP)), limit=1000)["events"]
    seen = [(datetime.fromisoformat(e["time"]), e["kind"], fabric.ports(e["entities"], injected[0][0])) for e in told]
    for at, kinds in injected:
        after = {kind: (when - at).total_seconds() for when, kind, ports in seen if kind in kinds and "Hca2/1" in ports}
        print(f"{at:%H:%M:%S.%f} {sorted(kinds)}: " + ", ".join(f"{k} after {s:.3f} s" for k, s in after.items()))
        assert after and 0 <= min(after.values()) <= 10, after
    assert len(seen) == 4, "each told twice: by the log at once, by the next snapshot with its cable"
    assert all(ports <= {"Hca2/1", "Switch0/7"} for _, _, ports in seen), "and nothing of any other port"
    (pulled,) = [ports for _, kind, ports in seen if kind == "link.down"]
    assert pulled == {"Hca2/1", "Switch0/7"}


def test_none_of_the_log_is_lost(fabric: Fabric) -> None:
    rows = fabric.plant.rows(
        "SELECT countIf(listener != 'qnib') AS n, toString(min(time)) AS first FROM qnib.events WHERE app = 'opensm'"
    )
    assert rows == [{"n": 27, "first": "2026-11-20 21:35:38.665250"}]
    severities = fabric.plant.rows("SELECT DISTINCT said FROM qnib.events WHERE app = 'opensm' ORDER BY said")
    assert [row["said"] for row in severities] == ["info", "warning"]
