"""Grows by so many MB a second until most of the node's memory is taken, then keeps it: a leak to be found."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"), Path("/sys/fs/cgroup/memory.current")


def used() -> int:
    """Octets the whole node uses, by its cgroup; 0 where that cannot be read."""
    return next((int(file.read_text()) for file in (V1, V2) if file.exists()), 0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=16, help="megabytes a second")
    arguments.add_argument("--limit", type=int, required=True, help="MiB the node may use")
    given = arguments.parse_args()
    Path("/proc/self/oom_score_adj").write_text("1000")  # if somebody must go, it is this one
    kept: list[bytearray] = []
    full = 0.94 * (given.limit << 20)
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
