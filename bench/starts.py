"""Starts a cluster again and again and tells how long each start took until it was ready.

    python bench/starts.py --nodes 16 --starts 20 [--json] [--quick]

Ready means that three `srun` over all nodes in a row came back within a second each. The image must be there
(one `qnib up` builds it). No other product publishes such a figure, so there is no peer to compare with.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from qnib import terminal
from qnib.settings import load

GOAL = {4: 5.0, 16: 10.0, 64: 30.0}


def start(nodes: int, name: str) -> dict[str, Any]:
    began = time.monotonic()
    cluster = terminal.up(load(), name=name, nodes=nodes)
    took = time.monotonic() - began
    began = time.monotonic()
    terminal.down(load(), name=name)
    return {"seconds": took, "down": time.monotonic() - began, **cluster.details["ready"]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--nodes", type=int, default=16)
    arguments.add_argument("--starts", type=int, default=20)
    arguments.add_argument("--name", default="bench-starts")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="three starts of four nodes")
    given = arguments.parse_args()
    nodes, starts = (4, 3) if given.quick else (given.nodes, given.starts)

    rows = []
    for number in range(1, starts + 1):
        found = start(nodes, given.name)
        rows.append(found)
        if not given.json:
            print(
                f"{number:3}  ready {found['seconds']:6.2f} s  registered {found['registered'] / 1000:6.2f} s  "
                f"srun {' '.join(f'{ms:5}' for ms in found['srun'])} ms  down {found['down']:5.2f} s", flush=True,
            )
    times = sorted(row["seconds"] for row in rows)
    goal = GOAL.get(nodes, 30.0)
    summary = {
        "work": f"cluster of {nodes} nodes to three srun in a row, slowest of {starts}", "unit": "s", "ours": times[-1],
        "peer": None, "peer_name": "none publishes one", "ratio": None, "goal": f"< {goal} s", "met": times[-1] < goal,
    }
    if given.json:
        print(json.dumps({"rows": [summary]}))
    else:
        print(f"median {times[len(times) // 2]:.2f} s, slowest {times[-1]:.2f} s, goal {goal} s: "
              f"{'met' if summary['met'] else 'missed'}")


if __name__ == "__main__":
    main()
