"""In a real cluster: what its layers do is in the one store, with whom it concerns, and found by one query."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import World

pytestmark = pytest.mark.cluster


def found(world: World, q: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = world.get("/api/events/search", q=q, limit=50, **{"from": "-2h"})["events"]
    return rows


def test_a_job_from_its_prolog_to_its_epilog(world: World) -> None:
    told = world.qnib("exec", "--name", world.name, "controller", "--", "sbatch", "--parsable", "-N2", "-J", "all-told",
                      "--wrap", "srun hostname; logger -p user.err -t kernel-like bare; sleep 1").stdout  # fmt: skip
    job = told.strip().splitlines()[-1]
    ended = world.until("the end of the job", lambda: found(world, f"job:{job} kind:job.ended"), 60)[0]
    assert f"Job:{job}@" in " ".join(ended["entities"])
    assert ended["message"].startswith(f"job {job} (all-told)")
    assert found(world, f"job:{job} kind:job.began")
    epilogs = world.until("both epilogs", lambda: [
        row for row in [found(world, f"job:{job} kind:job.epilog")] if len(row) >= 2], 30)[0]  # fmt: skip
    assert len({row["host"] for row in epilogs}) == 2
    assert all(row["around"]["jobs"][0]["id"] == int(job) for row in epilogs)

    # A line that names no job is that job's by host and time alone, and the fabric says where it was.
    bare = world.until("the bare line", lambda: found(world, f"job:{job} app:kernel-like"), 30)[0]
    assert int(job) in [one["id"] for one in bare["around"]["jobs"]], "a job of the demo may share the node"
    assert bare["around"]["switches"]
    around = world.get("/api/events/around", id=bare["id"], time=bare["time"])
    assert "all-told of " in around["sentence"]
    assert f"on {bare['host']}" in around["sentence"]


def test_a_partition_and_a_file_of_settings_that_change(world: World) -> None:
    world.qnib(
        "exec", "--name", world.name, "controller", "--", "scontrol", "update", "PartitionName=odd", "MaxTime=77"
    )
    world.qnib("exec", "--name", world.name, "controller", "--", "sh", "-c", "echo '# a note' >> /etc/slurm/slurm.conf;"
               " sed -i 's/^KillWait=.*/KillWait=7/' /etc/slurm/slurm.conf; scontrol reconfigure")  # fmt: skip
    told = world.until("the file", lambda: found(world, "kind:config.changed KillWait"), 90)[0]
    assert "KillWait 5 → 7" in told["message"]


def test_a_container_that_starts(world: World) -> None:
    assert world.until("containers", lambda: found(world, "kind:container.*"), 30) is not None
