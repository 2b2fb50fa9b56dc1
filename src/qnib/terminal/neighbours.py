"""Room in this machine's table of neighbours (ARP), which all networks of all its containers share.

Hosts that speak with each other take an entry each. The kernel comes with room for 1024: some 150 idle nodes fill it,
or thirty that all exchange data. Where it is full packets are thrown away, and steps hang until something times out.
"""

from __future__ import annotations

from pathlib import Path

from qnib.errors import Unavailable

FOLDER = Path("/proc/sys/net/ipv4/neigh/default")
BEFORE = Path("/run/qnib-neighbours")
"""What the limits were before we raised them: gone with the next boot, as the limits are."""
_NAMES = ("gc_thresh2", "gc_thresh3")
IDLE = 5
"""Entries a node takes that only speaks with its controller and the host."""


def make_room(hosts: int, folder: Path = FOLDER, before: Path = BEFORE) -> str:
    """Raise the limits so that so many hosts may all speak with each other; a sentence when that changed them.

    Raises Unavailable where they may not be changed and are too low even for idle nodes.
    """
    wanted = 2 * hosts**2
    there = {name: int((folder / name).read_text()) for name in _NAMES}
    if there["gc_thresh3"] >= wanted:
        return ""
    setting = f"net.ipv4.neigh.default.gc_thresh3={wanted}"
    try:
        if not before.exists():
            before.write_text(" ".join(str(value) for value in there.values()))
        for name, value in zip(_NAMES, (wanted // 2, wanted), strict=True):
            (folder / name).write_text(str(value))
    except OSError as error:
        if IDLE * hosts < there["gc_thresh3"]:
            return f"only {there['gc_thresh3']} neighbours are kept here, steps over all may hang: sysctl {setting}"
        raise Unavailable(
            f"{hosts} hosts know more neighbours than the {there['gc_thresh3']} this machine keeps.",
            where=f"{folder}/gc_thresh3: {error.strerror}", try_next=f"sysctl -w {setting}, or start fewer nodes.",
        ) from error
    return f"this machine kept {there['gc_thresh3']} neighbours, and keeps {wanted} until the last cluster is down"


def restore(folder: Path = FOLDER, before: Path = BEFORE) -> None:
    """Put back what `make_room` raised; called when no cluster is left."""
    try:
        values = before.read_text().split()
    except FileNotFoundError:
        return
    for name, value in zip(_NAMES, values, strict=True):
        (folder / name).write_text(value)
    before.unlink()
