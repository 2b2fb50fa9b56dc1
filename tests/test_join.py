"""The join, on the real thing: a cable pulled during an MPI job is seen in every layer, and so is putting it back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qnib.nodes import unfold
from tests.conftest import World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SOON = 10.0
"""Seconds within which a pulled cable must be seen everywhere."""


def running_job(world: World) -> dict[str, Any]:
    """A job of several nodes that has just begun, so that it outlives the test."""

    def young() -> Any:
        jobs = world.get("/api/jobs", state="running")["jobs"]
        return next((j for j in jobs if j["name"] == "gemm" and j["node_count"] >= 2 and j["elapsed"] < 40), None)

    return world.until("a running job of several nodes", young, 240)


def link_of(world: World, host: str) -> dict[str, Any]:
    links = world.get("/api/fabric")["links"]
    found = [link for link in links if host in (link["a"], link["b"])]
    assert len(found) == 1, f"{host} has one cable: {links}"
    return found[0]


CONNECTIONS = "MATCH (c:CONNECTION) WHERE c.cluster = $cluster AND c.until IS NULL RETURN c.key"


def connections(world: World) -> set[str]:
    """Keys of the connections the graph knows to hold now."""
    return {row[0] for row in world.post("/api/graph/cypher", query=CONNECTIONS, cluster=world.name)["rows"]}


def connections_at(world: World, at: datetime) -> set[str]:
    """The same about a time, asked as a person would."""
    words = ["graph", "cypher", CONNECTIONS, "--at", at.isoformat(), "--json", "--cluster", world.name]
    answer = json.loads(world.qnib(*words).stdout)
    rows = answer["rows"] if isinstance(answer, dict) else answer
    return {row[0] if isinstance(row, list) else next(iter(row.values())) for row in rows}


def seen_within(layers: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Seconds until each layer showed it; fails with all of them when one did not in time."""
    began, seen = time.monotonic(), {}
    while len(seen) < len(layers):
        for name, look in layers.items():
            if name not in seen and look():
                seen[name] = round(time.monotonic() - began, 2)
        assert time.monotonic() - began < seconds, f"seen {seen}, not {sorted(set(layers) - set(seen))}"
        time.sleep(0.1)
    return seen


def test_a_pulled_cable_is_seen_in_every_layer(world: World) -> None:
    job = running_job(world)
    host = unfold(job["nodes"])[0]
    link = link_of(world, host)
    switch, port = (link["a"], link["a_port"]) if link["b"] == host else (link["b"], link["b_port"])
    wired = connections(world)
    before = datetime.now(UTC)

    def told(kind: str, since: datetime, **more: str) -> bool:
        events = world.get("/api/events", kind=kind, **{"from": since.isoformat()}, **more)["events"]
        return any(f"PORT:{switch}/{port}" in event["entities"] and event["lane"] == "fabric" for event in events)

    world.qnib("fault", "cable-out", f"{switch}/{port}", "--name", world.name)
    try:
        pulled = seen_within(
            {
                "an event on the right port": lambda: told("link.down", before),
                "a lane over the job's charts": lambda: told("link.down", before, job=job["key"]),
                "the fabric page": lambda: link_of(world, host)["state"] == "down",
                "the end of the connection in the graph": lambda: len(wired - connections(world)) == 1,
            },
            SOON,
        )
        gone = wired - connections(world)
        assert gone <= connections_at(world, before), "before the fault the old wiring holds"
    finally:
        world.qnib("fault", "clear", "--name", world.name)

    cleared = datetime.now(UTC) - timedelta(seconds=5)
    put_back = seen_within(
        {
            "an event on the right port": lambda: told("link.up", cleared),
            "a lane over the job's charts": lambda: told("link.up", cleared, job=job["key"]),
            "the fabric page": lambda: link_of(world, host)["state"] == "up",
            "a new connection in the graph": lambda: len(connections(world)) == len(wired),
        },
        SOON,
    )
    print(f"seconds until seen: pulled {pulled}, put back {put_back}")


def test_a_newcomers_job_starts_within_ten_seconds(world: World) -> None:
    started = time.monotonic()
    done = world.qnib("exec", "--name", world.name, "controller", "--", "srun", "-N4", "hostname", timeout=60)
    assert time.monotonic() - started < SOON
    assert sorted(done.stdout.split()) == [f"compute{n}" for n in range(4)]


def test_numbers_agree_with_the_scheduler(world: World) -> None:
    """Jobs are counted once: what the page says is what SLURM says (the originals counted each at least twice)."""

    def agree() -> bool:
        told = world.qnib(
            "exec", "--name", world.name, "controller", "--", "squeue", "-h", "-t", "RUNNING", "-o", "%A"
        ).stdout
        shown = {job["id"] for job in world.get("/api/jobs", state="running")["jobs"]}
        return {int(line) for line in told.split()} == shown

    world.until("the page and squeue agree", agree, 30)


def test_node_metrics_and_job_samples_arrive(world: World) -> None:
    answer = world.until(
        "cpu.used of all nodes",
        lambda: (a := world.get("/api/series", metric="cpu.used", **{"from": "-2m"})) and len(a["series"]) >= 4 and a,
        60,
    )
    assert answer["unit"]
    assert answer["source"]
    job = running_job(world)
    world.until(
        "samples of the job",
        lambda: world.get("/api/series", metric="job.cpu", job=job["key"], **{"from": "-5m"})["series"],
        60,
    )
