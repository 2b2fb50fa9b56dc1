"""The join, on the real thing: a cable pulled during an MPI job is seen in every layer, and so is putting it back."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SOON = 10.0
"""Seconds within which a pulled cable must be seen everywhere."""


def running_job(world: World) -> dict[str, Any]:
    """A job of several nodes that has just begun, so that it outlives the test."""

    def young() -> Any:
        jobs = world.get("/api/jobs", state="running")["jobs"]
        return next((j for j in jobs if j["node_count"] >= 2 and (j["limit"] or 0) > 0 and j["elapsed"] < 40), None)

    return world.until("a running job of several nodes", young, 240)


def link_of(world: World, host: str) -> dict[str, Any]:
    links = world.get("/api/fabric")["links"]
    found = [link for link in links if host in (link["a"], link["b"])]
    assert len(found) == 1, f"{host} has one cable: {links}"
    return found[0]


def connections(world: World, at: datetime | None = None) -> set[str]:
    """Keys of the connections the graph knows to hold, now or at a time."""
    query = "MATCH (c:CONNECTION) WHERE c.cluster = $cluster AND c.until IS NULL RETURN c.key"
    words = ["graph", "cypher", query, "--json", "--cluster", world.name]
    answer = json.loads(world.qnib(*words, *(["--at", at.isoformat()] if at else [])).stdout)
    rows = answer["rows"] if isinstance(answer, dict) else answer
    return {row[0] if isinstance(row, list) else next(iter(row.values())) for row in rows}


def test_a_pulled_cable_is_seen_in_every_layer(world: World) -> None:
    job = running_job(world)
    host = world.get(f"/api/jobs/{job['key']}")["placement"]["switches"][0]["nodes"].split("[")[0]
    hosts = world.get("/api/nodes")["nodes"]
    host = next(node["name"] for node in hosts if job["key"] in node["jobs"])
    link = link_of(world, host)
    switch, port = (link["a"], link["a_port"]) if link["b"] == host else (link["b"], link["b_port"])
    wired = connections(world)
    before = datetime.now(UTC)
    time.sleep(0.01)  # so that "before" is truly before

    world.qnib("fault", "cable-out", f"{switch}/{port}", "--name", world.name)
    pulled = time.monotonic()
    try:

        def down_event(job_only: bool = False) -> Any:
            params = {"kind": "link.down", "from": before.isoformat(), **({"job": job["key"]} if job_only else {})}
            events = world.get("/api/events", **params)["events"]
            return next((e for e in events if f"PORT:{switch}/{port}" in e["entities"]), None)

        event = world.until("an event on the right port", down_event, SOON)
        assert event["lane"] == "fabric"
        world.until("the link down on the fabric page", lambda: link_of(world, host)["state"] == "down", SOON)
        world.until("the event over the job's charts", lambda: down_event(job_only=True), SOON)
        gone = world.until("the end of the connection in the graph", lambda: wired - connections(world), SOON)
        assert len(gone) == 1, gone
        assert time.monotonic() - pulled < SOON, "every layer within ten seconds"
        assert gone <= connections(world, before), "before the fault the old wiring holds"
    finally:
        world.qnib("fault", "clear", "--name", world.name)

    cleared = datetime.now(UTC)
    world.until("the link up on the fabric page", lambda: link_of(world, host)["state"] == "up", SOON)
    world.until(
        "an event that it is back",
        lambda: [
            e
            for e in world.get("/api/events", kind="link.up", **{"from": cleared.isoformat()})["events"]
            if f"PORT:{switch}/{port}" in e["entities"]
        ],
        SOON,
    )
    world.until("a connection again in the graph", lambda: len(connections(world)) == len(wired), SOON)


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
