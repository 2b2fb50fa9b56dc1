"""A job that runs well for a while and then fails on one node: something for the diagnosis to find.

    srun -N2 python3 failing.py --seconds 25 --bad compute3

On the host named by `--bad` it logs an error and exits with 42; elsewhere it ends well.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from report import Progress, say

EXIT = 42


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=int, default=25)
    arguments.add_argument("--bad", default="", help="host on which the job fails")
    given = arguments.parse_args()

    here = os.uname().nodename
    first = os.environ.get("SLURM_PROCID", "0") == "0"
    progress = Progress(given.seconds)
    for second in range(1, given.seconds + 1):
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            sum(number * number for number in range(500))
        time.sleep(0.95)
        if first:
            progress.step(second)
        if here == given.bad and second == given.seconds - 1:
            trouble = f"could not write block {second * 64}: Input/output error"
            say(f"ERROR checkpoint failed on {here}: {trouble}", severity="user.err")
            return EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
