"""A real site's jobs replayed on a real cluster: the inventory tells of them as the site's accounting did."""

from __future__ import annotations

import json

import pytest

from qnib.terminal.replay import read
from tests.conftest import World
from tests.data import real

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_the_inventory_tells_what_the_trace_told(world: World) -> None:
    file = real("slurm/sonar_sacct_2024.txt")
    traced = read(file).jobs
    told = json.loads(world.qnib("replay", str(file), "--speedup", "1000", "--json", timeout=300).stdout)
    assert told["refused"] == {} and len(told["submitted"]) == len(traced) == 29
    print(f"late: {told['drift']}")

    def known() -> dict[str, dict[str, object]] | None:
        jobs = [job for job in world.get("/api/jobs", limit=500)["jobs"] if job["name"].startswith("replay-")]
        found = {job["name"].removeprefix("replay-"): job for job in jobs}
        ended = {number for number, job in found.items() if job["end"]}
        return found if {job.number for job in traced} <= ended else None

    found = world.until("all of the trace in the inventory", known, 60)
    assert {job.number: found[job.number]["state"] for job in traced} == {job.number: job.outcome for job in traced}
    failed = [job for job in traced if job.outcome == "FAILED"]
    assert [found[job.number]["exit_code"] for job in failed] == [max(1, job.exit_code) for job in failed]
    order = sorted(traced, key=lambda job: int(str(found[job.number]["id"])))
    assert order == traced, "submitted in the order of the trace"
    assert len({found[job.number]["user"] for job in traced}) > 3
