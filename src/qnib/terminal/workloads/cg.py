"""Conjugate gradients on a grid in three dimensions, cut into slabs: much memory traffic, small messages to neighbours,
and a sum over all ranks twice an iteration, as in the HPCG benchmark.

    srun --mpi=pmix -N4 python3 cg.py --grid 48 --iterations 200 --rate 4

The equation is solved again from the start whenever it has converged. Exit status 1 when it does not converge.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from mpi4py import MPI
from report import Progress, say

Slab = np.ndarray[tuple[int, int, int], np.dtype[np.float64]]
"""(layers with one of each neighbour's around them, rows, columns)"""
TOLERANCE = 1e-8


def halo(slab: Slab, world: MPI.Comm) -> None:
    """Fetch the neighbours' outermost layers into ours around the slab."""
    up = world.rank + 1 if world.rank + 1 < world.size else MPI.PROC_NULL
    down = world.rank - 1 if world.rank else MPI.PROC_NULL
    world.Sendrecv(np.ascontiguousarray(slab[-2]), up, 1, slab[0], down, 1)
    world.Sendrecv(np.ascontiguousarray(slab[1]), down, 2, slab[-1], up, 2)


def apply(slab: Slab, world: MPI.Comm) -> Slab:
    """The seven-point Laplacian with zero at the border, of the inner layers."""
    halo(slab, world)
    told = 6.0 * slab[1:-1] - slab[:-2] - slab[2:]
    told[:, 1:] -= slab[1:-1, :-1]
    told[:, :-1] -= slab[1:-1, 1:]
    told[:, :, 1:] -= slab[1:-1, :, :-1]
    told[:, :, :-1] -= slab[1:-1, :, 1:]
    return told


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--grid", type=int, default=48, help="points along each side")
    arguments.add_argument("--iterations", type=int, default=200)
    arguments.add_argument("--rate", type=float, default=4.0, help="iterations per second, about")
    given = arguments.parse_args()

    world = MPI.COMM_WORLD
    grid = given.grid
    layers = len(np.array_split(np.arange(grid), world.size)[world.rank])
    right = np.ones((layers, grid, grid))
    total = float(world.allreduce(float((right * right).sum())))
    progress = Progress(given.iterations)
    if world.rank == 0:
        say(f"cg on {grid}³ points over {world.size} ranks, {given.iterations} iterations")

    solved, since, rest, slack = 0, 0, right.copy(), total
    way = np.zeros((layers + 2, grid, grid))
    way[1:-1] = rest
    due = time.monotonic()
    for iteration in range(1, given.iterations + 1):
        along = apply(way, world)
        step = slack / float(world.allreduce(float((way[1:-1] * along).sum())))
        rest -= step * along
        now = float(world.allreduce(float((rest * rest).sum())))
        way[1:-1] = rest + (now / slack) * way[1:-1]
        slack, since = now, since + 1
        if slack < TOLERANCE**2 * total:
            if world.rank == 0:
                say(f"cg converged after {since} iterations")
            solved, since, rest, slack = solved + 1, 0, right.copy(), total
            way[1:-1] = rest
        elif since > 10 * grid:
            if world.rank == 0:
                say("ERROR cg does not converge", severity="user.err")
            return 1
        if world.rank == 0:
            progress.step(iteration)
        due += 1 / given.rate
        time.sleep(max(0.0, due - time.monotonic()))
    if world.rank == 0:
        say(f"cg done, solved {solved} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
