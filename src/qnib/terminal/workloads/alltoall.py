"""Every rank sends every other a block, again and again: what a fabric's middle has to carry.

    srun --mpi=pmix -N4 python3 alltoall.py --rounds 60 --block 262144

Exit status 1 when a block came back changed.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from gemm import politely
from mpi4py import MPI
from report import Progress, say


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=60)
    arguments.add_argument("--block", type=int, default=256 << 10, help="octets from each rank to each other")
    arguments.add_argument("--pause", type=float, default=1.0, help="seconds between rounds")
    given = arguments.parse_args()

    world = MPI.COMM_WORLD
    rank, ranks = world.rank, world.size
    out = np.empty((ranks, given.block), dtype=np.uint8)
    into = np.empty_like(out)
    progress = Progress(given.rounds)
    wrong = False
    for number in range(1, given.rounds + 1):
        out[:] = (rank + number) % 251
        began = time.monotonic()
        politely(world.Ialltoall(out, into))
        took = max(time.monotonic() - began, 1e-9)
        wrong |= any((into[sender] != (sender + number) % 251).any() for sender in range(ranks))
        if rank == 0:
            if number % 10 == 1:
                rate = out.nbytes * (ranks - 1) / took / 1e6
                say(f"alltoall {given.block} octets over {ranks} ranks: {rate:.1f} MB/s")
            progress.step(number)
        time.sleep(given.pause)
    if wrong:
        say(f"ERROR alltoall: rank {rank} got a changed block", severity="user.err")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
