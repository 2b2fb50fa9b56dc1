"""The demo's jobs: always one in each lane, never two of them on a node at once."""

from __future__ import annotations

import random
import subprocess
from typing import Any

import pytest

from qnib.terminal.workloads import loop

NODES = [f"compute{n}" for n in range(16)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16])
def test_lanes_share_no_node(count: int) -> None:
    lanes = loop.lanes(NODES[:count])
    taken = [node for lane in lanes for node in lane]
    assert len(taken) == len(set(taken)) <= 4
    assert all(lane for lane in lanes)


def test_every_kind_of_job_comes_and_the_same_seed_gives_the_same_jobs() -> None:
    def some(seed: int) -> list[loop.Job]:
        dice = random.Random(seed)
        return [loop.choose(dice, ["compute2", "compute3"], "compute3", ["alice", "john"], n) for n in range(40)]

    assert some(1) == some(1) != some(2)
    assert {job.kind for job in some(1)} == {"gemm", "pingpong", "failing"}
    assert {job.user for job in some(1)} == {"alice", "john"}


def test_a_job_fails_only_where_it_can() -> None:
    dice = random.Random(1)
    assert all(loop.choose(dice, ["compute0"], "compute3", ["alice"], n).kind == "gemm" for n in range(20))


def test_jobs_are_handed_over_as_their_user_and_wait_for_their_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Entry:
        pw_uid, pw_gid = 2001, 2000

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.update(command=command, **options)
        return subprocess.CompletedProcess(command, 0, "17;demo\n", "")

    monkeypatch.setattr(loop.pwd, "getpwnam", lambda name: Entry)
    monkeypatch.setattr(loop.subprocess, "run", run)
    job = loop.Job("gemm", "alice", ("compute0", "compute1"), "gemm.py --iterations 10 --rate 4")
    assert loop.submit(job, [15, 16], "all") == 17
    assert "--reuid=2001" in seen["command"]
    assert "--dependency=afterany:15,afterany:16" in seen["command"]
    assert "--ntasks-per-node=1" in seen["command"]
    assert "srun --mpi=pmix python3" in seen["input"] and "gemm.py --iterations 10" in seen["input"]
