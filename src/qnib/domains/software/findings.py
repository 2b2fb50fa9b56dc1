"""What is known to go wrong with software: machines of one job that are not alike.

The facts a check is given: ``differences``, rows of {aspect, item, usual, others: [{value, hosts, count}]} as
`qnib.inventory.differs` makes them; ``hosts``, how many were compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnib.model import Check, Finding

ADVICE = {
    "packages": "Bring them to one version with the package manager or the image; drain the host until that is done.",
    "kernel": "Reboot the host into the kernel of the others, or drain it; modules of the fabric's driver follow it.",
    "libraries": "See which path each loads (LD_LIBRARY_PATH, modules, RPATH) and which package owns it.",
    "modules": "Load the same modules on all hosts; in a batch script, not in a shell's start-up files.",
    "available": "Look whether the host mounts the same module tree as the others.",
    "slurm": "Upgrade slurmd on the host: SLURM speaks with two older releases, but steps may behave differently.",
    "resources": "See `scontrol show node`: a memory module or a core may be missing, or the node's line is wrong.",
    "ports": "See `qnib fabric degraded` and the cable: one slow port slows every collective operation.",
    "interfaces": "Check cable, switch port and configuration: one speed and one MTU on all hosts of a network.",
    "container": "Start the host's container again from the image, and with the limits, of the others.",
}
SHOWN = 3
MOST = 12


def nodes_differ(facts: Mapping[str, object]) -> Sequence[Finding]:
    rows = facts.get("differences")
    if not isinstance(rows, list | tuple):
        return ()
    together: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for other in row["others"]:
            usual = f" (most: {row['usual']})" if row["usual"] else ""
            together.setdefault((row["aspect"], other["hosts"]), []).append(f"{row['item']} {other['value']}{usual}")
    found = [_finding(aspect, hosts, told) for (aspect, hosts), told in together.items()]
    return found[:MOST]


def _finding(aspect: str, hosts: str, told: list[str]) -> Finding:
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return Finding(
        "nodes_differ", "warn", f"{hosts} differs from the others in {WORDS[aspect]}: {', '.join(told[:SHOWN])}{more}.",
        ADVICE[aspect], (f"{len(told)} difference{'s' if len(told) > 1 else ''}",),
    )


WORDS = {
    "packages": "packages", "kernel": "its kernel", "libraries": "loaded libraries", "modules": "loaded modules",
    "available": "available modules", "slurm": "SLURM's version", "resources": "memory or CPUs",
    "ports": "its fabric port", "interfaces": "its network interface", "container": "its container",
}

CHECKS = (
    Check("nodes_differ", "Hosts of one job, or of one set, that are not alike", ADVICE["packages"], "Hosts",
          nodes_differ),
)
