"""On a real controller: what the captures cost, counted by itself, and that they and its other tools say the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from tests.conftest import World
from tests.domains.test_slurm_scale import LIVE, REQUESTS

from qnib.domains.slurm import rest
from qnib.domains.slurm.show import parse_show
from qnib.domains.slurm.tables import parse_sinfo, parse_squeue
from qnib.model import Snapshot

pytestmark = pytest.mark.cluster
NOBODY = "4242"
"""A user who does nothing else there: sdiag counts by user, and the cluster's own agent asks as root meanwhile."""


def run(world: World, *command: str) -> str:
    own = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    return world.qnib("exec", "--name", world.name, "controller", "--", *own, *command).stdout


def asked(world: World) -> int:
    """Requests of ours that slurmctld has counted; those of sdiag itself are another user's."""
    told = world.qnib("exec", "--name", world.name, "controller", "--", "sdiag").stdout
    found = re.search(rf"\(\s*{NOBODY}\)\s+count:(\d+)", told)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("name", sorted(LIVE))
def test_what_a_capture_costs_slurmctld(world: World, name: str) -> None:
    run(world, *LIVE[name].command)
    before = asked(world)
    for _ in range(3):
        assert run(world, *LIVE[name].command)
    print(f"{name}: {asked(world) - before} requests for three runs")
    assert asked(world) - before == 3 * REQUESTS[name]


def keys(seen: Snapshot, kind: str) -> set[str]:
    return {entity.key for entity in seen.entities if entity.kind == kind}


def test_every_tool_tells_of_the_same_nodes_and_partitions(world: World) -> None:
    now = datetime.now(UTC)
    live = LIVE["nodes"].parse(run(world, *LIVE["nodes"].command), now)
    nodes = keys(live, "Node")
    assert len(nodes) == 4
    assert keys(live, "Cluster") == {world.name}
    for told in (
        rest.parse_nodes(run(world, "scontrol", "show", "nodes", "--json"), now),
        rest.parse_nodes(run(world, "sinfo", "--json"), now), parse_show(run(world, "scontrol", "show", "nodes"), now),
        parse_sinfo(run(world, "sinfo", "-a"), now),
    ):  # fmt: skip
        assert keys(told, "Node") == nodes
    partitions = LIVE["partitions"].parse(run(world, *LIVE["partitions"].command), now)
    told = rest.parse_partitions(run(world, "scontrol", "show", "partitions", "--json"), now)
    own = {entity.key: dict(entity.properties) for entity in partitions.entities}
    assert set(own) == {"all", "odd", "even"}
    for entity in told.entities:
        assert {name: own[entity.key][name] for name in entity.properties} == entity.properties


def test_every_tool_tells_of_the_same_jobs(world: World) -> None:
    """Jobs come and go between two looks: those are compared that are there before and after."""

    def look() -> Snapshot:
        return LIVE["jobs"].parse(run(world, *LIVE["jobs"].command), datetime.now(UTC))

    def held(seen: Snapshot) -> dict[str, tuple[object, ...]]:
        names = ("user", "nodes", "cpus", "limit", "attempt", "start", "name")
        return {e.key: tuple(e.properties[n] for n in names) for e in seen.entities if e.kind == "Job"}

    now = datetime.now(UTC)
    first = look()
    others = [
        rest.parse_jobs(run(world, "squeue", "--all", "--states=all", "--json"), now),
        parse_show(run(world, "env", "TZ=UTC", "scontrol", "-a", "-d", "show", "jobs"), now),
    ]
    table = run(world, "env", "TZ=UTC", "squeue", "-a", "-r", "-t", "all", "-o", "%A|%V|%T|%u|%N")
    others_keys = keys(parse_squeue(table, now), "Job")
    last = look()
    same = {key: told for key, told in held(first).items() if held(last).get(key) == told}
    assert same, "the demo's jobs"
    for seen in others:
        told = held(seen)
        assert {key: told.get(key) for key in same} == same
    assert set(same) <= others_keys
