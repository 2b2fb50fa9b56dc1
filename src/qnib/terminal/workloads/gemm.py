"""Blocked matrix multiplication over MPI: C = A·B, rows of A and C spread over the ranks, panels of B broadcast.

    srun --mpi=pmix -N4 python3 gemm.py --iterations 240 --rate 4

One iteration multiplies by one panel. The pace is held down on purpose (`--rate`, iterations per second, with a
slow swell) so that a laptop plays a cluster without growing hot; waiting ranks sleep instead of spinning.
Exit status 1 when the product is wrong.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np
from mpi4py import MPI
from report import Progress, say


def politely(request: MPI.Request) -> None:
    """Wait for a message without burning the core, as MPI's own wait would."""
    while not request.Test():
        time.sleep(0.002)


def pace(iteration: int, rate: float) -> float:
    """Seconds this iteration should take: the rate swells and ebbs by half within a minute."""
    return 1 / (rate * (1 + 0.5 * math.sin(2 * math.pi * iteration / (60 * rate))))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--size", type=int, default=768, help="rows and columns of the matrices")
    arguments.add_argument("--block", type=int, default=64, help="rows of B in one panel")
    arguments.add_argument("--iterations", type=int, default=240)
    arguments.add_argument("--rate", type=float, default=4.0, help="iterations per second, about")
    given = arguments.parse_args()

    world = MPI.COMM_WORLD
    rank, ranks = world.rank, world.size
    size, block = given.size, given.block
    mine = np.array_split(np.arange(size), ranks)[rank]
    # Entries everyone can compute without asking: no scatter, and the product can be checked.
    columns = np.arange(size, dtype=np.float64)
    a = np.cos(mine[:, None] * 0.01) + columns[None, :] / size
    b_full = np.sin(columns[:, None] * 0.02) - columns[None, :] / size if rank == 0 else None
    c = np.zeros((len(mine), size))
    panel = np.empty((block, size))
    panels = size // block
    progress = Progress(given.iterations)
    if rank == 0:
        say(f"gemm of {size} x {size} on {ranks} ranks, {given.iterations} iterations of {block} rows")

    due = time.monotonic()
    for iteration in range(1, given.iterations + 1):
        at = (iteration - 1) % panels * block
        if at == 0:
            c[:] = 0  # the next product begins
        if b_full is not None:
            panel[:] = b_full[at : at + block]
        politely(world.Ibcast(panel, root=0))
        c += a[:, at : at + block] @ panel
        if rank == 0:
            progress.step(iteration)
        due += pace(iteration, given.rate)
        time.sleep(max(0.0, due - time.monotonic()))

    politely(world.Ibarrier())
    done = ((given.iterations - 1) % panels + 1) * block
    b = np.sin(columns[:done, None] * 0.02) - columns[None, :8] / size
    wrong = not np.allclose(c[:, :8], a[:, :done] @ b)
    if wrong:
        say(f"ERROR gemm: rank {rank} has a wrong product", severity="user.err")
    if rank == 0:
        say(f"gemm done, {2 * size * size * block * given.iterations / 1e9:.1f} Gflop in all")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
