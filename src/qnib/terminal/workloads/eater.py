"""Takes memory step by step, up to an amount, and holds it: a job that needs what it asked for, or more.

    srun --mpi=none --mem=100 python3 eater.py --megabytes 80 --seconds 60
"""

from __future__ import annotations

import argparse
import sys
import time

from report import Progress, say


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--megabytes", type=int, default=80)
    arguments.add_argument("--seconds", type=int, default=60, help="how long it grows, and then holds")
    given = arguments.parse_args()

    progress = Progress(2 * given.seconds)
    kept: list[bytearray] = []
    say(f"eater takes {given.megabytes} MB within {given.seconds} s")
    for second in range(1, 2 * given.seconds + 1):
        while sum(map(len, kept)) < min(1.0, second / given.seconds) * (given.megabytes << 20):
            grown = bytearray(1 << 20)
            grown[::4096] = b"1" * len(grown[::4096])  # touched, or the kernel gives nothing
            kept.append(grown)
        progress.step(second)
        time.sleep(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
