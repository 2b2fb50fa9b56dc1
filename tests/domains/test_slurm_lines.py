"""What the virtual cluster's two versions of SLURM really answer: as JSON and as text they mean the same.

Recorded on four nodes with an array, a job over two nodes, one that shares a node, one that failed, one cancelled, one
that waits, one for later and a heterogeneous one (see tests/assets/slurm).
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qnib.domains.slurm import rest
from qnib.domains.slurm.show import parse_show
from qnib.model import Snapshot

AT = datetime(2026, 11, 26, 22, 20, tzinfo=UTC)
ASSETS = Path(__file__).parents[1] / "assets/slurm"
STATES = {
    "22.05": {"RUNNING": 6, "PENDING": 3, "COMPLETED": 3, "FAILED": 1, "CANCELLED": 1},
    "24.11": {"RUNNING": 5, "PENDING": 4, "COMPLETED": 3, "FAILED": 1, "CANCELLED": 1},
}
LINES = list(STATES)
WORDED_OTHERWISE = {"array_task", "reason", "tres"}
"""An array's empty task, reasons that scontrol writes out in full, and what a job had that has no node any more."""


def told(name: str) -> str:
    return (ASSETS / name).read_text()


def entities(seen: Snapshot, kind: str) -> dict[str, dict[str, Any]]:
    return {entity.key: dict(entity.properties) for entity in seen.entities if entity.kind == kind}


@pytest.mark.parametrize("line", LINES)
def test_jobs_as_json_and_as_text_are_the_same(line: str) -> None:
    as_json = entities(rest.parse_jobs(told(f"squeue.{line}.json"), AT), "Job")
    as_text = entities(parse_show(told(f"scontrol.jobs.{line}.txt"), AT), "Job")
    assert as_json.keys() == as_text.keys() and len(as_json) == 14
    assert Counter(job["state"] for job in as_json.values()) == STATES[line]
    for key, job in as_json.items():
        both = (job.keys() & as_text[key].keys()) - WORDED_OTHERWISE
        assert {name: job[name] for name in both} == {name: as_text[key][name] for name in both}
        assert {"id", "user", "state", "partition", "submit", "cpus"} <= both
    failed = next(job for job in as_json.values() if job["name"] == "bad")
    assert (failed["state"], failed["exit_code"]) == ("FAILED", 3)


@pytest.mark.parametrize("line", LINES)
def test_nodes_as_json_and_as_text_are_the_same(line: str) -> None:
    as_json = entities(rest.parse_nodes(told(f"sinfo.{line}.json"), AT), "Node")
    as_text = entities(parse_show(told(f"scontrol.nodes.{line}.txt"), AT), "Node")
    assert as_json.keys() == as_text.keys() == {f"compute{number}" for number in range(4)}
    for key, node in as_json.items():
        both = node.keys() & as_text[key].keys()
        assert {"cpus", "memory", "features"} <= both
        # sinfo of 24.11 tells the features of a group's first node.
        alike = both - {"state"} - ({"features"} if line == "24.11" else set())
        assert {name: node[name] for name in alike} == {name: as_text[key][name] for name in alike}
        assert set(node["state"].split("+")) == set(as_text[key]["state"].split("+"))
