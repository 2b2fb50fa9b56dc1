"""Adds what the host says was carried to the counters of the simulated ports. Runs beside ibsim in the fabric.

The host leaves /run/fabric/traffic.json: for each port (``SW1/3``) by how much which counter has grown, data in octets.
Counters are read, added to and set, so that they also go on from what the fabric's own packets counted, and from 0
after somebody has reset them.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path

from qnib.domains.infiniband.counters import BITS, COUNTERS, ERRORS, WORD, parse_counters

FOLDER = Path("/run/fabric")
TRAFFIC = FOLDER / "traffic.json"
LOG_MOST = 1 << 20
NAMES = {short: name for name, short in COUNTERS.items()}


def read() -> dict[tuple[str, int], dict[str, int]]:
    """Every port's counters as they are."""

    def ask(*options: str) -> dict[tuple[str, int], dict[str, int]]:
        done = subprocess.run(("ibqueryerrors", *options), capture_output=True, text=True, timeout=20, check=False)
        return parse_counters(done.stdout)

    found, errors = ask("--counters"), ask("--details")
    for port, values in found.items():
        values.update({name: errors.get(port, {}).get(name, 0) for name in ERRORS})
    return found


def commands(grown: dict[str, dict[str, int]], now: dict[tuple[str, int], dict[str, int]]) -> list[str]:
    """ibsim's commands that make the counters `grown` larger than they are `now`."""
    found = []
    for name, fields in grown.items():
        device, _, number = name.rpartition("/")
        values = now.get((device, int(number)))
        if values is None:
            continue  # not in the fabric any more
        for field, amount in fields.items():
            size = BITS[field]
            value = values.get(field, 0) + (amount // WORD if field.endswith("_data") else amount)
            value = value % (1 << 64) if size == 64 else min(value, (1 << size) - 1)
            port = f'PerformanceSet "{device}"[{number}]'
            if size == 64:
                found.append(f"{port} PortCountersExtended.{NAMES[field]}={value}")
            # The short form of a counter stops at its end.
            found.append(f"{port} PortCounters.{NAMES[field]}={min(value, (1 << min(size, 32)) - 1)}")
    return found


def once() -> None:
    grown = json.loads(TRAFFIC.read_text())
    told = commands(grown, read())
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (FOLDER / "commands").open("w") as fifo:
            for line in told:
                fifo.write(line + "\n")
                fifo.flush()  # a line at a time: longer writes could be torn apart by another's
        log = FOLDER / "ibsim.log"
        if log.stat().st_size > LOG_MOST:
            log.open("w").close()
    TRAFFIC.unlink()  # the host may leave the next


def main() -> None:
    while True:
        try:
            if TRAFFIC.exists():
                once()
        except (ValueError, OSError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"qnib: traffic was not carried: {error}\n")
            TRAFFIC.unlink(missing_ok=True)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
