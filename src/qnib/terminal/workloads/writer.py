"""Writes blocks to a file, makes them last, reads them back and compares: what a file system gives a job.

    srun --mpi=none -N2 python3 writer.py --blocks 60 --size 1048576

Each task has a file of its own, which it removes. Exit status 1 when a block came back changed or could not be written.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from report import Progress, say


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--blocks", type=int, default=60)
    arguments.add_argument("--size", type=int, default=1 << 20, help="octets of a block")
    arguments.add_argument("--folder", type=Path, default=Path.cwd(), help="where to write")
    arguments.add_argument("--pause", type=float, default=1.0, help="seconds between blocks")
    given = arguments.parse_args()

    task = os.environ.get("SLURM_PROCID", "0")
    file = given.folder / f"writer-{os.environ.get('SLURM_JOB_ID', '0')}-{task}"
    progress = Progress(given.blocks)
    try:
        for number in range(1, given.blocks + 1):
            block = bytes([number % 251]) * given.size
            began = time.monotonic()
            with file.open("wb") as out:
                out.write(block)
                out.flush()
                os.fsync(out.fileno())
            took = max(time.monotonic() - began, 1e-9)
            if file.read_bytes() != block:
                say(f"ERROR writer: block {number} came back changed", severity="user.err")
                return 1
            if task == "0":
                if number % 10 == 1:
                    say(f"writer {given.size} octets: {given.size / took / 1e6:.1f} MB/s to {given.folder}")
                progress.step(number)
            time.sleep(given.pause)
    except OSError as error:
        say(f"ERROR writer: could not write {file}: {error.strerror}", severity="user.err")
        return 1
    finally:
        file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
