"""How long a virtual cluster takes to start and to grow, and what an idle node costs.

    python bench/terminal.py [--json] [--quick]
    python bench/terminal.py --nodes 16 --starts 20

Ready means that three `srun` over all nodes came back, each within a second where that many nodes can. Without --nodes:
clusters of 4, 64 and 200, the memory of an idle node, and twelve nodes more while a job runs. With it: that cluster
again and again, and the slowest counts. The image must be there (one `qnib up` builds it). No other product publishes
such figures, so there is no peer to compare with.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qnib import terminal
from qnib.settings import load

GOAL = {4: 5.0, 16: 10.0, 64: 30.0, 200: 120.0}
IDLE_GOAL = 10.0
GROW_GOAL = 10.0


def row(work: str, unit: str, ours: float, goal: float) -> dict[str, Any]:
    return {
        "work": work, "unit": unit, "ours": round(ours, 2), "peer": None, "peer_name": "none publishes one",
        "ratio": None, "goal": f"< {goal:g} {unit}", "met": ours < goal,
    }  # fmt: skip


def start(nodes: int, name: str) -> float:
    began = time.monotonic()
    terminal.up(load(), name=name, nodes=nodes)
    return time.monotonic() - began


def idle_node(name: str) -> float:
    """Mean MiB of an idle node's processes beside its agent: their own and their part of what is shared (PSS)."""
    found: dict[str, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = re.search(rf"qnib-{name}/(compute\d+)", (process / "cgroup").read_text())
            if where is None or b"qnib.agent" in (process / "cmdline").read_bytes():
                continue
            pss = re.search(r"^Pss:\s+(\d+)", (process / "smaps_rollup").read_text(), re.MULTILINE)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        found[where[1]] = found.get(where[1], 0) + int(pss[1] if pss else 0)
    if not found:
        raise SystemExit("nodes here have no cgroups of their own to be weighed by (docs/limits.md)")
    return sum(found.values()) / len(found) / 1024


def grow(name: str, by: int) -> float:
    """Seconds until `by` more nodes take work, while a job runs; raises SystemExit when the job was disturbed."""
    settings = load()
    job = ["sbatch", "--quiet", "-N4", "-J", "here", "--wrap", "srun sleep 600"]
    terminal.execute(settings, "controller", job, name=name)
    before = terminal.status(settings, name)["nodes"]
    began = time.monotonic()
    terminal.scale(settings, before + by, name=name)
    took = time.monotonic() - began
    running = "[ $(squeue -h -n here -t running -o %A | wc -l) = 1 ]"
    if terminal.execute(settings, "controller", ["sh", "-c", running], name=name):
        raise SystemExit("the job did not go on while the cluster grew")
    return took


def everything(name: str, quick: bool) -> Iterator[dict[str, Any]]:
    for nodes in (4,) if quick else (4, 64, 200):
        took = start(nodes, name)
        try:
            yield row(f"cluster of {nodes} nodes to three srun over all of them", "s", took, GOAL[nodes])
            yield row(f"idle node of {nodes}, beside its agent", "MiB", idle_node(name), IDLE_GOAL)
            if nodes == 4:
                yield row("twelve nodes more while a job runs, to a step on each", "s", grow(name, 12), GROW_GOAL)
        finally:
            terminal.down(load(), name=name)


def series(name: str, nodes: int, starts: int, say: bool) -> Iterator[dict[str, Any]]:
    times = []
    for number in range(1, starts + 1):
        took = start(nodes, name)
        ready = terminal.status(load(), name)["ready"]
        terminal.down(load(), name=name)
        times.append(took)
        if say:
            print(f"{number:3}  ready {took:6.2f} s  registered {ready['registered'] / 1000:6.2f} s  "
                  f"srun {' '.join(f'{ms:5}' for ms in ready['srun'])} ms", flush=True)
    times.sort()
    if say:
        print(f"median {times[len(times) // 2]:.2f} s")
    yield row(f"cluster of {nodes} nodes to three srun, slowest of {starts}", "s", times[-1], GOAL.get(nodes, 30.0))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--nodes", type=int, help="one size, again and again")
    arguments.add_argument("--starts", type=int, default=20)
    arguments.add_argument("--name", default="bench-terminal")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="four nodes only")
    given = arguments.parse_args()
    found = []
    measured = series(given.name, given.nodes, given.starts, not given.json) if given.nodes else everything(
        given.name, given.quick
    )
    for one in measured:
        found.append(one)
        if not given.json:
            print(f"{one['work']}: {one['ours']} {one['unit']}, goal {one['goal']}: "
                  f"{'met' if one['met'] else 'missed'}", flush=True)
    if given.json:
        print(json.dumps({"rows": found}))


if __name__ == "__main__":
    main()
