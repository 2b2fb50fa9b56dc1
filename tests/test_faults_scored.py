"""Over forty seeded faults on a real cluster, and what QNIB said of them: the scoreboard of diagnosis."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from qnib.terminal.faults.score import CAUSES
from tests.conftest import World, container_engine, served, skip

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

NODES = 8
UPLINKS = ("SW1/1", "SW1/2", "SW2/1", "SW2/2")
PORTS = {f"compute{number}": f"SW{1 + number // 4}/{3 + number % 4}" for number in range(NODES)}
AT_ONCE = 5
PATIENCE = 60
"""Seconds a batch of faults is left to be found."""
HUNG = 110
"""… and one with a hanging daemon: SLURM waits for a minute before it says so."""

WELL = 300
"""… and until all is well again: SLURM does not ping a node that it set down, but asks one node after the other, every
20 s, to register: the last of eight after nearly three minutes."""

ON_PORTS = ("cable-out", "link-width", "cable-move")

Planned = tuple[str, str, str]
"""Kind, target, value."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if reason := container_engine():
        skip(reason)
    with served(tmp_path_factory.mktemp("scored"), f"s{os.getpid()}", "--nodes", str(NODES)) as running:
        yield running


def value(kind: str, port: str) -> str:
    """What a fault of that kind is given; a cable is moved to the first spare port of its switch."""
    return {"memory-leak": "64MB/s", "cable-move": f"{port.partition('/')[0]}/7"}.get(kind, "")


def plan(dice: random.Random) -> list[list[Planned]]:
    """Batches of faults that do not concern each other. A port's errors count for an hour, so each has them once."""
    nodes = list(PORTS)
    with_errors = [*UPLINKS, *dice.sample(list(PORTS.values()), 6)]
    dice.shuffle(with_errors)
    batches: list[list[Planned]] = [
        [(dice.choice(("cable-bad", "port-bad")), port, "20") for port in with_errors[start : start + AT_ONCE]]
        for start in (0, AT_ONCE)
    ]
    alike = ("cable-out", "link-width", "node-down", "disk-full", "memory-leak", "clock-skew", "cable-move")
    for number in range(6):
        # Each kind comes up as often as the others. The same at the same place twice in a row would be one to any
        # observer: its finding is not over in between.
        kinds = [alike[(number + place) % len(alike)] for place in range(AT_ONCE)]
        batch = batches[-1]
        while set(batch) & set(batches[-1]):
            batch = [
                (kind, PORTS[node] if kind in ON_PORTS else node, value(kind, PORTS[node]))
                for kind, node in zip(kinds, dice.sample(nodes, AT_ONCE), strict=True)
            ]
        batches.append(batch)
    hung = dice.sample(nodes, 2)
    return [*batches, [("daemon-stop", hung[0], "slurmd"), ("daemon-stop", hung[1], "agent")]]


def test_what_was_injected_is_found(lab: World) -> None:
    """Every kind that can be recognised, by its right entity; the table is printed."""
    well(lab)
    batches = plan(random.Random(2014))
    injected = 0
    for batch in batches:
        first = injected + 1
        for kind, target, value in batch:
            lab.qnib("fault", kind, target, *([value] if value else []))
            injected += 1
        patience = HUNG if batch[0][0] == "daemon-stop" else PATIENCE
        with contextlib.suppress(AssertionError):  # the score says what was missed
            lab.until("the batch found", lambda first=first: not scored(lab, first)["missed"], patience)
        lab.qnib("fault", "clear")
        well(lab)
    assert injected >= 40
    told = scored(lab, 1)
    print("\n" + lab.qnib("fault", "score").stdout)
    assert {row["kind"] for row in told["kinds"]} >= CAUSES.keys()
    found = sum(row["found"] for row in told["kinds"])
    rightly = sum(row["right entity"] for row in told["kinds"])
    # On a busy machine a fault may be over before anybody looked.
    assert found >= 0.9 * injected, told["missed"]
    assert rightly >= 0.9 * found, told["kinds"]
    assert len(told["false_alarms"]) <= 0.1 * injected, told["false_alarms"]


def scored(lab: World, first: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.qnib("fault", "score", "--since", str(first), "--json").stdout)
    return found


def ailing(lab: World) -> list[str]:
    """Nodes that take no jobs, and links that are missing."""
    nodes = lab.get("/api/nodes")["nodes"]
    links = lab.get("/api/fabric")["links"]
    found = [f"{node['name']} is {node['state']}" for node in nodes if not node["state"].startswith("IDLE")]
    found += [f"{node['name']} is {node['state']}" for node in nodes if "NOT_RESPONDING" in node["state"]]
    found += [f"{link['id']} is down" for link in links if link["state"] == "down"]
    return found + ([] if len(nodes) == NODES and len(links) > NODES + len(UPLINKS) else [f"{len(links)} links"])


def well(lab: World) -> None:
    """Wait until all is as it was."""
    try:
        lab.until("all well", lambda: not ailing(lab), WELL)
    except AssertionError as error:
        raise AssertionError(f"still not well: {ailing(lab)}") from error
