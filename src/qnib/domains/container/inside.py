"""A container as it sees itself: its engine, its id, what it was told of its image, and its limits by its cgroup."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from qnib.domains.host import cgroup
from qnib.model import HERE, Entity, Ref, Relation, Scalar, Snapshot

EVERY, AGAIN = 60.0, 3600.0
"""Seconds between two looks, and after which the same is told again."""
TOLD = {"name": "QNIB_CONTAINER", "image": "QNIB_IMAGE", "rung": "QNIB_RUNG"}
"""Variables by which whoever starts a container may tell it what it cannot know of itself."""
_ID = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf|\.containerenv) ")
_WORDS = {"engine", "id", "name", "image", "rung"}
_NUMBERS = {"memory": int, "cpus": float, "processes": int}


def parse_inside(text: str, at: datetime) -> Snapshot:
    """From the agent: ``WORD<tab>VALUE`` a line. Raises ValueError with the line."""
    told: dict[str, Scalar] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word, _, value = line.partition("\t")
        try:
            if word not in _WORDS | _NUMBERS.keys() or not value:
                raise ValueError(word)
            told[word] = _NUMBERS[word](value) if word in _NUMBERS else value
        except ValueError as error:
            raise ValueError(f"line {number} says nothing of a container: {line[:120]!r}") from error
    if "engine" not in told:
        raise ValueError(f"no engine in {text[:80]!r}")
    key = str(told.pop("id", ""))[:12] or f"{HERE}/{told['engine']}"
    made = Entity("Container", key, {**told, "hostname": HERE, "state": "running"})
    return Snapshot([made], [Relation("RUNS_IN", Ref("Host", HERE), made.ref)], frozenset({"Container", "RUNS_IN"}))


# ── in the agent ──────────────────────────────────────────────────────────────────────────────


def start_inside(host: str) -> Callable[[], str | None]:
    """The text of `parse_inside` when it is another than before, or after an hour; nothing outside of a container."""
    last: list[tuple[str, float]] = [("", 0.0)]

    def read() -> str | None:
        text, now = look(cgroup.text("/proc/self/mountinfo"), os.environ), time.monotonic()
        if not text or (text == last[0][0] and now - last[0][1] < AGAIN):
            return None
        last[0] = text, now
        return text

    return read


def look(mountinfo: str, environment: Mapping[str, str]) -> str:
    """What there is to tell; empty outside of a container."""
    engine = environment.get("container", "") or ("docker" if Path("/.dockerenv").exists() else "")
    if not engine:
        return ""
    lines = [f"engine\t{engine}"]
    if match := _ID.search(mountinfo):
        lines.append(f"id\t{match[1]}")
    told = {word: " ".join(environment.get(name, "").split()) for word, name in TOLD.items()}
    lines += [f"{word}\t{value}" for word, value in told.items() if value]
    lines += [f"{word}\t{value:.15g}" for word, value in limits(cgroup.mounts(mountinfo)).items()]
    return "\n".join(lines) + "\n"


def limits(mounts: dict[str, str]) -> dict[str, float]:
    """What the visible cgroup is limited to: octets of memory, cores, processes; what has no limit is not there."""
    unified = mounts.get("unified", "")
    memory = cgroup.memory_v1(mounts["memory"]) if "memory" in mounts else cgroup.memory_v2(unified)
    found = {"memory": memory["limit"]} if "limit" in memory else {}
    if "cpu" in mounts:
        quota, period = (cgroup.text(f"{mounts['cpu']}/cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    else:
        quota, _, period = cgroup.text(f"{unified}/cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        found["cpus"] = int(quota) / int(period)
    pids = cgroup.number(cgroup.text(f"{mounts.get('pids', unified)}/pids.max"))
    if pids is not None:
        found["processes"] = pids
    return found
