"""Where this machine's own cgroup files are: v1, hybrid and v2, inside a container and outside.

The root of the *visible* mount is what we want in every case: in a container it is the container's (or,
where a node's own directory is bound there, the node's) cgroup, on a real host it is the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

V1 = ("memory", "cpuacct", "cpu", "pids")


def mounts(mountinfo: str) -> dict[str, str]:
    """Mount points by v1 controller name, the v2 tree under ``"unified"``, from the text of mountinfo.

    A part of the v2 tree that is mounted again below the whole is this machine's own: a virtual node's.

    >>> mounts("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw")
    {'unified': '/sys/fs/cgroup'}
    """
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not dash or len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            if fields[4].startswith(found.get("unified", "")):
                found["unified"] = fields[4]
        elif kind[0] == "cgroup":
            for controller in kind[2].split(","):
                if controller in V1:
                    found[controller] = fields[4]
    return found


def roots() -> dict[str, str]:
    """The mounts of this very process."""
    try:
        return mounts(Path("/proc/self/mountinfo").read_text())
    except OSError:
        return {}


def whole_machine(found: Mapping[str, str]) -> bool:
    """Whether what we see is the root of all cgroups, not a container's part: v1 keeps `release_agent` there alone, v2
    keeps `cgroup.type` everywhere else."""
    if "memory" in found:
        return Path(f"{found['memory']}/release_agent").exists()
    return "unified" in found and text(found["unified"] + "/cgroup.type") == ""


def text(path: str) -> str:
    """A cgroup file's text; empty when the cgroup vanished meanwhile, which is no error here."""
    try:
        with open(path) as file:  # noqa: PTH123 - called hundreds of times a minute on a node, pathlib costs
            return file.read()
    except OSError:
        return ""


def pairs(content: str) -> dict[str, int]:
    """``name value`` lines (memory.stat, cpu.stat) as numbers; odd lines are left out."""
    found: dict[str, int] = {}
    for line in content.splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found


def number(content: str) -> int | None:
    """The number a file consists of; None for ``max``, nothing or nonsense."""
    content = content.strip()
    return int(content) if content.isdigit() else None


def cpu_v1(folder: str) -> tuple[float, float, float] | None:
    """Seconds (used, user, system) a v1 cpuacct cgroup has consumed, descendants included."""
    used = number(text(f"{folder}/cpuacct.usage"))
    if used is None:
        return None
    user = number(text(f"{folder}/cpuacct.usage_user"))
    system = number(text(f"{folder}/cpuacct.usage_sys"))
    return used / 1e9, (user or 0) / 1e9, (system or 0) / 1e9


def cpu_v2(folder: str) -> tuple[float, float, float] | None:
    """The same of a v2 cgroup."""
    stat = pairs(text(f"{folder}/cpu.stat"))
    if "usage_usec" not in stat:
        return None
    return stat["usage_usec"] / 1e6, stat.get("user_usec", 0) / 1e6, stat.get("system_usec", 0) / 1e6


def memory_v1(folder: str) -> dict[str, float]:
    """Octets used (page cache that can be dropped at once not counted), cache and effective limit."""
    usage = number(text(f"{folder}/memory.usage_in_bytes"))
    if usage is None:
        return {}
    stat = pairs(text(f"{folder}/memory.stat"))
    found: dict[str, float] = {
        "used": max(0, usage - stat.get("total_inactive_file", 0)), "cache": stat.get("total_cache", 0),
    }
    limit = stat.get("hierarchical_memory_limit", 0)  # counts the limits set above what we can see
    if 0 < limit < 1 << 60:
        found["limit"] = limit
    return found


def memory_v2(folder: str) -> dict[str, float]:
    """The same of a v2 cgroup; empty at the root of a real host, which has no memory.current."""
    usage = number(text(f"{folder}/memory.current"))
    if usage is None:
        return {}
    stat = pairs(text(f"{folder}/memory.stat"))
    found: dict[str, float] = {"used": max(0, usage - stat.get("inactive_file", 0)), "cache": stat.get("file", 0)}
    limit = number(text(f"{folder}/memory.max"))
    if limit is not None:
        found["limit"] = limit
    return found


def memory_host(meminfo: str) -> dict[str, float]:
    """The same of a whole machine, from the text of meminfo: right only outside of containers."""
    kib: dict[str, int] = {}
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        first = value.split()
        if first and first[0].isdigit():
            kib[name] = int(first[0])
    if "MemTotal" not in kib or "MemAvailable" not in kib:
        return {}
    return {
        "used": (kib["MemTotal"] - kib["MemAvailable"]) * 1024.0,
        "cache": kib.get("Cached", 0) * 1024.0, "limit": kib["MemTotal"] * 1024.0,
    }
