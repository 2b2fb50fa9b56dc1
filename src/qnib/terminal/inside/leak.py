"""Grows by so many MB a second until most of the node's memory is taken, then keeps it: a leak to be found."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from qnib.domains.host import cgroup


def used() -> float:
    """Octets the whole node uses, as its agent tells; 0 where that cannot be read."""
    found = cgroup.roots()
    told = cgroup.memory_v1(found["memory"]) if "memory" in found else cgroup.memory_v2(found.get("unified", ""))
    return told.get("used", 0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=16, help="megabytes a second")
    arguments.add_argument("--limit", type=int, required=True, help="MiB the node may use")
    given = arguments.parse_args()
    Path("/proc/self/oom_score_adj").write_text("1000")  # if somebody must go, it is this one
    kept: list[bytearray] = []
    full = 0.95 * (given.limit << 20)
    step = max(1, int(given.rate * (1 << 20) / 4))
    while True:
        mine = sum(map(len, kept))
        if max(used(), mine) + step < full:
            grown = bytearray(step)
            grown[::4096] = b"1" * len(grown[::4096])  # touched, or the kernel gives nothing
            kept.append(grown)
        time.sleep(0.25)


if __name__ == "__main__":
    main()
