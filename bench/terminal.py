"""How long a virtual cluster takes to start and to grow, and what an idle node costs.

    python bench/terminal.py [--json] [--quick]
    python bench/terminal.py --nodes 16 --starts 20
    python bench/terminal.py --only dense      # or 4, 64, 200

Ready means that three `srun` over all nodes came back, each within a second where that many nodes can. Without --nodes:
clusters of 4, 64 and 200, the memory of an idle node, twelve nodes more while a job runs and twelve fewer, and 1000
nodes of which fifty share a container (ready: three `srun` over sixty of them). With it: that cluster again and again,
and the slowest counts. The image must be there (one `qnib up` builds it). No other product publishes
such figures, so there is no peer to compare with.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qnib import terminal
from qnib.settings import load
from qnib.terminal.engines import open_engine

GOAL = {4: 5.0, 16: 10.0, 64: 30.0, 200: 120.0}
DENSE, DENSE_GOAL, STEP_GOAL = 1000, 60.0, 60.0
PARTS = ("4", "64", "200", "dense")
IDLE_GOAL = 10.0
GROW_GOAL = 10.0


def row(work: str, unit: str, ours: float, goal: float) -> dict[str, Any]:
    return {
        "work": work, "unit": unit, "ours": round(ours, 2), "peer": None, "peer_name": "none publishes one",
        "ratio": None, "goal": f"< {goal:g} {unit}", "met": ours < goal,
    }  # fmt: skip


def start(nodes: int, name: str, *, dense: bool = False) -> float:
    began = time.monotonic()
    terminal.up(load(), name=name, nodes=nodes, dense=dense)
    return time.monotonic() - began


def pids(process: int | str) -> str:
    """The namespace a process lives in: all of a container are in one."""
    return str(Path(f"/proc/{process}/ns/pid").readlink())


def idle_node(name: str) -> float:
    """Mean MiB of an idle node's processes beside the agent: their own and their part of what is shared (PSS)."""
    settings = load()
    told = terminal.status(settings, name)
    engine = open_engine(settings, told["engine"])
    try:
        hosts = [one["host"] for one in told["containers"] if one["role"] in ("node", "dense")]
        inside = {pids(engine.pid(f"qnib-{name}-{host}")) for host in hosts}
    finally:
        engine.close()
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if pids(process.name) not in inside or b"qnib.agent" in (process / "cmdline").read_bytes():
                continue
            pss = re.search(r"^Pss:\s+(\d+)", (process / "smaps_rollup").read_text(), re.MULTILINE)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is another's
        total += int(pss[1] if pss else 0)
    return total / told["nodes"] / 1024


def grow(name: str, by: int) -> tuple[float, float]:
    """Seconds until `by` more nodes take work and until they are gone again, while a job runs; raises SystemExit when
    the job was disturbed or a node left something behind."""
    settings = load()
    job = ["sbatch", "--quiet", "-N4", "-J", "here", "--wrap", "srun sleep 600"]
    terminal.execute(settings, "controller", job, name=name)
    before = terminal.status(settings, name)["nodes"]
    took = []
    for nodes in (before + by, before):
        began = time.monotonic()
        terminal.scale(settings, nodes, name=name)
        took.append(time.monotonic() - began)
    running = f"[ $(squeue -h -n here -t running -o %A | wc -l) = 1 ] && [ $(sinfo -h -p all -o %D) = {before} ]"
    if terminal.execute(settings, "controller", ["sh", "-c", running], name=name):
        raise SystemExit("the job did not go on while the cluster grew and shrank, or a node stayed in SLURM's list")
    return took[0], took[1]


def containers(name: str, nodes: int) -> Iterator[dict[str, Any]]:
    took = start(nodes, name)
    try:
        yield row(f"cluster of {nodes} nodes to three srun over all of them", "s", took, GOAL[nodes])
        yield row(f"idle node of {nodes}, beside its agent", "MiB", idle_node(name), IDLE_GOAL)
        if nodes == 4:
            grown, shrunk = grow(name, 12)
            yield row("twelve nodes more while a job runs, to a step on each", "s", grown, GROW_GOAL)
            yield row("twelve nodes fewer while a job runs, to nothing left of them", "s", shrunk, GROW_GOAL)
    finally:
        terminal.down(load(), name=name)


def dense(name: str) -> Iterator[dict[str, Any]]:
    took = start(DENSE, name, dense=True)
    try:
        yield row(f"cluster of {DENSE} dense nodes, all idle, to three srun over sixty", "s", took, DENSE_GOAL)
        yield row(f"idle dense node of {DENSE}, beside agents", "MiB", idle_node(name), IDLE_GOAL)
        began = time.monotonic()
        if terminal.execute(load(), "controller", ["srun", "--mpi=none", f"-N{DENSE}", "true"], name=name):
            raise SystemExit(f"a step over {DENSE} nodes failed")
        yield row(f"one srun over all {DENSE} dense nodes", "s", time.monotonic() - began, STEP_GOAL)
    finally:
        terminal.down(load(), name=name)


def everything(name: str, only: Sequence[str]) -> Iterator[dict[str, Any]]:
    for one in only:
        yield from dense(name) if one == "dense" else containers(name, int(one))


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
    arguments.add_argument("--only", choices=PARTS, action="append", help="this part; may stand several times")
    given = arguments.parse_args()
    found = []
    measured = series(given.name, given.nodes, given.starts, not given.json) if given.nodes else everything(
        given.name, given.only or (PARTS[:1] if given.quick else PARTS)
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
