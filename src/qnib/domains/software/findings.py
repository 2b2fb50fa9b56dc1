"""What is known to go wrong with software: machines of one job that are not alike.

The facts a check is given: ``differences``, rows of {aspect, item, usual: {value, hosts, count} or None, others: the
same of those that differ}; ``count``, how many hosts were compared.
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
    """A finding for each set of hosts that differs in an aspect; where no value is the usual one, one for all."""
    rows = facts.get("differences")
    if not isinstance(rows, list | tuple):
        return ()
    together: dict[tuple[str, str], list[str]] = {}
    divided: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["usual"] is None:
            hosts = " and ".join(other["hosts"] for other in row["others"])
            values = " or ".join(other["value"] for other in row["others"])
            divided.setdefault((row["aspect"], hosts), []).append(f"{row['item']} {values}")
            continue
        for other in row["others"]:
            most = "most of the cluster" if row.get("of_cluster") else "most"
            told = f"{row['item']} {other['value']} ({most}: {row['usual']['value']})"
            together.setdefault((row["aspect"], other["hosts"]), []).append(told)
    found = [
        _finding(f"{hosts} {_verb(hosts)} from the others in", aspect, told)
        for (aspect, hosts), told in together.items()
    ]
    found += [_finding(f"{hosts} differ in", aspect, told) for (aspect, hosts), told in divided.items()]
    return found[:MOST]


def _verb(hosts: str) -> str:
    return "differ" if "[" in hosts or "," in hosts else "differs"


def _finding(start: str, aspect: str, told: list[str]) -> Finding:
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return Finding(
        "nodes_differ", "warn", f"{start} {WORDS[aspect]}: {', '.join(told[:SHOWN])}{more}.", ADVICE[aspect],
        (f"{len(told)} difference{'s' if len(told) > 1 else ''}",),
    )


WORDS = {
    "packages": "packages", "kernel": "kernel or system", "libraries": "loaded libraries", "modules": "loaded modules",
    "available": "available modules", "slurm": "SLURM's version", "resources": "memory or CPUs",
    "ports": "fabric ports", "interfaces": "network interfaces", "container": "containers",
}

CHECKS = (
    Check("nodes_differ", "Hosts of one job, or of one set, that are not alike", ADVICE["packages"], "Hosts",
          nodes_differ),
)
