"""How SLURM writes times, spans, sizes, codes and node sets in text, and how nothing.

Times without a zone are in the zone of the file: a first line ``TZ=Europe/Berlin`` says which, else it is UTC
(``TZ=UTC sacct …`` makes the tools print that).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

_NOTHING = frozenset({
    "", "(null)", "N/A", "n/a", "NONE", "None", "none", "Unknown", "NOT_SET", "INVALID", "None assigned",
})
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_PARTS = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")
_SPAN = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?(?:\.\d+)?")

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT",
})
"""States a job does not leave, except by a requeue."""
SHORT = {
    "BF": "BOOT_FAIL", "CA": "CANCELLED", "CD": "COMPLETED", "CF": "CONFIGURING", "CG": "COMPLETING", "DL": "DEADLINE",
    "F": "FAILED", "NF": "NODE_FAIL", "OOM": "OUT_OF_MEMORY", "PD": "PENDING", "PR": "PREEMPTED", "R": "RUNNING",
    "RD": "RESV_DEL_HOLD", "RF": "REQUEUE_FED", "RH": "REQUEUE_HOLD", "RQ": "REQUEUED", "RS": "RESIZING",
    "RV": "REVOKED", "SI": "SIGNALING", "SE": "SPECIAL_EXIT", "SO": "STAGE_OUT", "ST": "STOPPED", "S": "SUSPENDED",
    "TO": "TIMEOUT",
}
"""The abbreviations of squeue's column ST."""


def word(value: str) -> str:
    """`value`, or nothing where SLURM says in one of its ways that there is none."""
    return "" if value in _NOTHING else value


def moment(value: str, zone: tzinfo = UTC) -> datetime | None:
    """Epoch seconds, or ISO 8601 with a zone or in `zone`, as a time in UTC; None when there is none (yet).

    >>> moment("1763640000"), moment("2026-11-20T12:00:00"), moment("Unknown")
    (datetime.datetime(2025, 11, 20, 12, 0, tzinfo=datetime.timezone.utc), \
datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.timezone.utc), None)
    """
    if value.isdigit():
        return datetime.fromtimestamp(int(value), UTC) if int(value) > 0 else None
    if not value[:1].isdigit():
        return None
    try:
        told = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"not a time: {value!r}") from error
    return (told if told.tzinfo else told.replace(tzinfo=zone)).astimezone(UTC)


def zone_of(text: str) -> tuple[tzinfo, str]:
    """The zone a first line ``TZ=…`` states (UTC without one), and the text after that line."""
    head, newline, rest = text.partition("\n")
    if not head.startswith("TZ="):
        return UTC, text
    from zoneinfo import ZoneInfo

    name = head.removeprefix("TZ=").strip()
    try:
        return ZoneInfo(name), rest if newline else ""
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"no such time zone: {head!r}") from error


def iso(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


@lru_cache(4096)
def duration(value: str) -> int | None:
    """Seconds of ``days-hours:minutes:seconds`` or a shorter form of it; None for no limit.

    >>> duration("1-02:00:00"), duration("30:00"), duration("1-02"), duration("UNLIMITED")
    (93600, 1800, 93600, None)
    """
    found = _SPAN.fullmatch(value)
    if not found:
        return None
    days, *parts = found.groups()
    told = [int(part) for part in parts if part is not None]
    if days is not None:  # counted from the hours on: 1-02 is a day and two hours
        told += [0] * (3 - len(told))
    seconds = 0
    for part in told:
        seconds = seconds * 60 + part
    return seconds + 86400 * int(days or 0)


@lru_cache(4096)
def octets(value: str, unit: str = "M") -> int | None:
    """Octets of a size like ``50M`` or ``2.50G``; a bare number counts in `unit`. sacct before 21.08 adds n or c
    (per node, per core), which is left to its reader."""
    value = value.rstrip("nc")
    factor = _UNITS.get(value[-1:].upper())
    digits = value[:-1] if factor else value
    try:
        return int(float(digits) * (factor or _UNITS[unit]))
    except ValueError:
        return None


def whole(value: str) -> int | None:
    """A whole number; sizes of pending jobs may come as a range (``2-4``), then the least."""
    first = value.partition("-")[0]
    return int(first) if first.isdigit() else None


def code(value: str) -> dict[str, int | None]:
    """Exit code and signal of ``1:0``."""
    left, _, right = value.partition(":")
    return {"exit_code": whole(left), "signal": whole(right)}


def state(value: str) -> str:
    """One word of the state: long, without who cancelled it (``CANCELLED by 1000``) or a mark after it."""
    first = value.split(" ", maxsplit=1)[0].rstrip("+*")
    return SHORT.get(first, first)


_NODE_STATES = {
    "ALLOC": "ALLOCATED", "BOOT": "REBOOT", "COMP": "COMPLETING", "DRAIN": "DRAINED", "DRNG": "DRAINING",
    "FAILG": "FAILING", "FUTR": "FUTURE", "MIX": "MIXED", "PLND": "PLANNED", "RESV": "RESERVED", "UNK": "UNKNOWN",
}


def node_state(value: str, short: bool = False) -> str:
    """A node's state in long words joined by +; a star after one means that the node does not answer. `short`: it
    is of sinfo's column of abbreviations, where drain means drained.

    >>> node_state("DOWN*+DRAIN"), node_state("mix", short=True)
    ('DOWN+DRAIN+NOT_RESPONDING', 'MIXED')
    """
    words = [word.rstrip("*~#!%$@^-") for word in value.upper().split("+")]
    silent = ["NOT_RESPONDING"] if "*" in value and "NOT_RESPONDING" not in words else []
    return "+".join([*(_NODE_STATES.get(one, one) if short else one for one in words), *silent])


def tres(value: str) -> dict[str, str]:
    """``cpu=4,mem=8G,gres/gpu:a100=2`` as amounts by name."""
    return dict(part.partition("=")[::2] for part in value.split(",") if "=" in part)


@lru_cache(8192)
def _expand(nodes: str) -> tuple[str, ...]:
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return tuple(NodeSet(nodes, resolver=RESOLVER_NOGROUP))


def expand(nodes: str) -> list[str]:
    """The names in a folded node set: ``compute[0-1]`` gives compute0 and compute1."""
    if not nodes:
        return []
    if not any(mark in nodes for mark in "[,&!^@*?"):
        return [nodes]
    from qnib.nodes import MOST_NODES, count_names

    if count_names(nodes) > MOST_NODES:
        raise ValueError(f"not a set of nodes: {nodes[:100]!r} stands for more than {MOST_NODES}")
    try:
        return list(_expand(nodes))
    except Exception as error:  # ClusterShell has an error family of its own
        raise ValueError(f"not a set of nodes: {nodes!r} ({error})") from error


def fold(nodes: str) -> str:
    """The shortest way to write a set of nodes: where nodes joined at runtime SLURM's JSON lists them in their order,
    ``n[3,2,1]``, and its tables sorted, ``n[1-3]``."""
    if "," not in nodes and "[" not in nodes:
        return nodes
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    expand(nodes)  # says in words what is wrong
    return str(NodeSet(nodes, resolver=RESOLVER_NOGROUP))


def in_order(nodes: str) -> list[str]:
    """The names in a folded set in the order they are written.

    >>> in_order("n[3,1-2],m7")
    ['n3', 'n1', 'n2', 'm7']
    """
    found: list[str] = []
    for part in _PARTS.findall(nodes):
        head, bracket, rest = part.partition("[")
        inside, _, tail = rest.partition("]")
        for one in inside.split(",") if bracket else [""]:
            found += expand(f"{head}[{one}]{tail}" if bracket else part)
    return found
