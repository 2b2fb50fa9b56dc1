"""What is known to go wrong on a machine.

The facts a check is given are plain values about one host, gathered by whoever asks:
``memory.used``, ``memory.limit``, ``disk.used`` and ``disk.size`` (of /tmp) in octets (the newest),
``age`` in seconds of the newest number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnib.model import Check, Finding, Ref

NEARLY_FULL = 0.92
DISK_FULL = 0.95
SILENT = 60.0

FULL_ADVICE = "See which job grows on this node; ask for more with --mem, or spread the job over more nodes."
DISK_ADVICE = "See what fills it (`du -x /tmp | sort -n`); jobs that write there fail until there is room."
SILENT_ADVICE = "Check that the node is up (`sinfo -N`) and that its agent runs and reaches the server."


def _number(facts: Mapping[str, object], name: str) -> float | None:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else None


def memory_nearly_full(facts: Mapping[str, object]) -> Sequence[Finding]:
    used, limit = _number(facts, "memory.used"), _number(facts, "memory.limit")
    if used is None or not limit or used / limit < NEARLY_FULL:
        return ()
    host = str(facts.get("host", ""))
    return (Finding(
        "memory_nearly_full", "warn",
        f"{host} uses {used / limit:.0%} of its memory; the kernel will soon end a process.",
        FULL_ADVICE, (f"memory.used {used:.0f} B of memory.limit {limit:.0f} B",), Ref("Host", host),
    ),)


def disk_full(facts: Mapping[str, object]) -> Sequence[Finding]:
    used, size = _number(facts, "disk.used"), _number(facts, "disk.size")
    if used is None or not size or used / size < DISK_FULL:
        return ()
    host = str(facts.get("host", ""))
    return (Finding(
        "disk_full", "critical", f"The /tmp of {host} is full to {used / size:.0%}.", DISK_ADVICE,
        (f"disk.used {used:.0f} B of disk.size {size:.0f} B",), Ref("Host", host),
    ),)


def silent(facts: Mapping[str, object]) -> Sequence[Finding]:
    age = _number(facts, "age")
    if age is None or age < SILENT:
        return ()
    host = str(facts.get("host", ""))
    return (Finding(
        "silent", "unknown", f"{host} has not been heard for {age:.0f} s: its state is not known.", SILENT_ADVICE,
        (f"newest number is {age:.0f} s old",), Ref("Host", host),
    ),)


CHECKS = (
    Check("memory_nearly_full", "A host close to its memory limit", FULL_ADVICE, "Host", memory_nearly_full),
    Check("disk_full", "A host whose /tmp has no room", DISK_ADVICE, "Host", disk_full),
    Check("silent", "A host that stopped sending numbers", SILENT_ADVICE, "Host", silent),
)
