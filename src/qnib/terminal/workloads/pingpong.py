"""Messages of growing size to and fro between pairs of ranks: what the network between the nodes gives.

    srun --mpi=pmix -N2 python3 pingpong.py --rounds 60

Exit status 1 with fewer than two ranks, or when a message came back changed.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from gemm import politely
from mpi4py import MPI
from report import Progress, say

SIZES = (1 << 10, 16 << 10, 256 << 10, 1 << 20)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=60, help="each round sends every size")
    arguments.add_argument("--pause", type=float, default=1.0, help="seconds between rounds")
    given = arguments.parse_args()

    world = MPI.COMM_WORLD
    rank, ranks = world.rank, world.size
    if ranks < 2:
        say("ERROR pingpong needs two ranks", severity="user.err")
        return 1
    peer = rank ^ 1
    progress = Progress(given.rounds)
    changed = False
    for number in range(1, given.rounds + 1):
        size = SIZES[number % len(SIZES)]
        message = np.full(size, number % 251, dtype=np.uint8)
        back = np.empty_like(message)
        repeats = max(2, (2 << 20) // size)
        began = time.monotonic()
        for _ in range(min(repeats, 32)):
            if peer >= ranks:
                break  # an odd rank out has nobody to play with
            receive = world.Irecv(back, source=peer, tag=number)
            politely(world.Isend(message, dest=peer, tag=number))
            politely(receive)
            changed |= bool((back != message).any())
        took = time.monotonic() - began
        if rank == 0:
            if number % len(SIZES) == 0:
                say(f"pingpong {size} bytes: {2 * size * min(repeats, 32) / max(took, 1e-9) / 1e6:.1f} MB/s both ways")
            progress.step(number)
        time.sleep(given.pause)
    if changed:
        say(f"ERROR pingpong: rank {rank} got a changed message", severity="user.err")
    return int(changed)


if __name__ == "__main__":
    sys.exit(main())
