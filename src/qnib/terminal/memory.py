"""Whether this machine has the memory a cluster may take: said before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qnib.errors import Unavailable
from qnib.terminal.blueprint import Blueprint

IDLE_NODE = 30
"""MiB an idle node takes with its daemons and agent, as measured (17 to 30)."""
DENSE_NODE = 6
"""The same of a node that shares its container, without an agent."""
SERVICES = 120
"""MiB of controller and fabric together."""
BESIDE = {"accounting": 110, "rest": 20}
"""MiB of what may run beside them, as measured with a few jobs (60 to 105, 18)."""


def enough(blueprint: Blueprint, meminfo: str | None = None) -> list[str]:
    """Words of warning, if any. Raises Unavailable when a node's limit, or the idle cluster, is more than there is."""
    there = _kib(meminfo if meminfo is not None else Path("/proc/meminfo").read_text())
    total, free = there["MemTotal"] >> 10, there["MemAvailable"] >> 10
    largest = max(blueprint.nodes, key=lambda group: group.memory)
    if largest.memory > total:
        raise Unavailable(
            f"A node with {largest.memory} MiB of memory is larger than this machine ({total} MiB).",
            where="memory of the nodes", try_next="give the nodes less memory.",
        )
    beside = sum(size for name, size in BESIDE.items() if getattr(blueprint.services, name))
    idle = blueprint.count * (DENSE_NODE if blueprint.dense else IDLE_NODE) + SERVICES + beside
    if idle > free:
        raise Unavailable(
            f"{blueprint.count} nodes take about {idle} MiB before the first job; {free} MiB are free here.",
            where="memory of this machine", try_next="start fewer nodes, or end something else first.",
        )
    asked = sum(group.count * group.memory for group in blueprint.nodes)
    if asked > total:
        return [f"all nodes together may use {asked} MiB, more than the {total} MiB of this machine: jobs that fill "
                "them all will be ended by its kernel"]
    return []


def _kib(meminfo: str) -> Mapping[str, int]:
    lines = (line.split() for line in meminfo.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
