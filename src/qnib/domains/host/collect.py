"""What a machine says about itself: numbers from its cgroup and network namespace, and its names.

In a container /proc/stat and /proc/meminfo show the machine below, so they are not asked there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from qnib.domains.host import cgroup
from qnib.domains.paths import segment
from qnib.model import HERE, Capture, Entity, Metric, Reading, Ref, Relation, Snapshot

Points = Sequence[tuple[str, float]]
_DISK = re.compile(r"(?:[shv]d|xvd)[a-z]+|nvme\d+n\d+|mmcblk\d+")

CGROUP = "cgroup of the machine"
NAMESPACE = "network namespace of the machine"
DISKS = "the kernel's count of whole disks; only machines tell it, for containers see the machine's"
AGENT = "the agent about itself"
SECTOR = 512
"""Octets in which /proc/diskstats counts, whatever the disk's own sectors."""

METRICS = (
    Metric("cpu.used", "servers.{host}.cpu.used", "%", "CPU time used; 100 is one core", source=CGROUP,
           on="Host:{host}"),
    Metric("cpu.user", "servers.{host}.cpu.user", "%", "CPU time used by programs; 100 is one core", source=CGROUP),
    Metric("cpu.system", "servers.{host}.cpu.system", "%", "CPU time used by the kernel; 100 is one core",
           source=CGROUP),
    Metric("memory.used", "servers.{host}.memory.used", "B",
           "Memory in use, without page cache that can be dropped at once", source=CGROUP, on="Host:{host}"),
    Metric("memory.limit", "servers.{host}.memory.limit", "B", "Memory the machine may use", source=CGROUP),
    Metric("memory.cache", "servers.{host}.memory.cache", "B", "Page cache", source=CGROUP),
    Metric("disk.used", "servers.{host}.disk.tmp.used", "B", "Of /tmp, in use", source="file system of /tmp"),
    Metric("disk.size", "servers.{host}.disk.tmp.size", "B", "Of /tmp, in all", source="file system of /tmp"),
    Metric("network.rx_bytes", "servers.{host}.network.{interface}.rx_bytes", "B", "Octets received", "counter",
           NAMESPACE),
    Metric("network.tx_bytes", "servers.{host}.network.{interface}.tx_bytes", "B", "Octets sent", "counter",
           NAMESPACE),
    Metric("disk.read_bytes", "servers.{host}.disk.{device}.read_bytes", "B", "Octets read", "counter", DISKS),
    Metric("disk.write_bytes", "servers.{host}.disk.{device}.write_bytes", "B", "Octets written", "counter", DISKS),
    Metric("agent.cpu", "servers.{host}.agent.cpu", "%", "CPU time the agent itself used; 100 is one core",
           source=AGENT),
    Metric("agent.memory", "servers.{host}.agent.memory", "B", "Memory of the agent's own (PSS)", source=AGENT),
    Metric("agent.dropped", "servers.{host}.agent.dropped", "records",
           "Numbers and lines the agent dropped because the server did not take them", "counter", AGENT),
)


def parse_network(text: str) -> dict[str, tuple[int, int]]:
    """Octets received and sent by interface, loopback and containers' outer ends left out, from /proc/net/dev."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        name = name.strip()
        if name == "lo" or name.startswith("veth"):  # the outer end of a container's own
            continue
        if colon and len(fields) >= 9 and fields[0].isdigit() and fields[8].isdigit():
            found[name] = int(fields[0]), int(fields[8])
    return found


def parse_disks(text: str) -> dict[str, tuple[int, int]]:
    """Octets read and written by disk that was ever used, from the text of /proc/diskstats; partitions and devices
    that are made of other ones (loop, ram, md, dm) are left out."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 10 or not _DISK.fullmatch(fields[2]) or not (fields[5] + fields[9]).isdigit():
            continue
        if fields[5] != "0" or fields[9] != "0":
            found[fields[2]] = int(fields[5]) * SECTOR, int(fields[9]) * SECTOR
    return found


def start_machine(host: str) -> Callable[[], Points]:
    """CPU, memory and network of this machine at each call; CPU from the second call on."""
    found = cgroup.roots()
    unified = found.get("unified", "")
    v1 = found.get("cpuacct", "")
    memory = _memory(found)
    base, whole = f"servers.{segment(host)}", cgroup.whole_machine(found)
    last: list[tuple[float, tuple[float, float, float]]] = []

    def read() -> Points:
        points: list[tuple[str, float]] = []
        now, cpu = time.monotonic(), cgroup.cpu_v1(v1) if v1 else cgroup.cpu_v2(unified)
        if cpu:
            if last and now > last[0][0]:
                span, before = now - last[0][0], last[0][1]
                points += [
                    (f"{base}.cpu.{name}", round(100 * max(0.0, cpu[i] - before[i]) / span, 3))
                    for i, name in enumerate(("used", "user", "system"))
                ]
            last[:] = [(now, cpu)]
        points += [(f"{base}.memory.{name}", value) for name, value in memory().items()]
        disk = os.statvfs("/tmp")  # noqa: S108 - it is looked at, not written to
        points.append((f"{base}.disk.tmp.used", float((disk.f_blocks - disk.f_bfree) * disk.f_frsize)))
        points.append((f"{base}.disk.tmp.size", float(disk.f_blocks * disk.f_frsize)))
        for name, (received, sent) in parse_network(cgroup.text("/proc/self/net/dev")).items():
            points.append((f"{base}.network.{segment(name)}.rx_bytes", received))
            points.append((f"{base}.network.{segment(name)}.tx_bytes", sent))
        for name, (got, put) in parse_disks(cgroup.text("/proc/diskstats")).items() if whole else ():
            points.append((f"{base}.disk.{segment(name)}.read_bytes", got))
            points.append((f"{base}.disk.{segment(name)}.write_bytes", put))
        return points

    return read


def _memory(found: Mapping[str, str]) -> Callable[[], Mapping[str, float]]:
    """The way to memory figures that works here, tried once."""
    ways: list[Callable[[], Mapping[str, float]]] = []
    if cgroup.whole_machine(found):
        ways.append(lambda: cgroup.memory_host(cgroup.text("/proc/meminfo")))
    if "memory" in found:
        ways.append(lambda: cgroup.memory_v1(found["memory"]))
    if "unified" in found:
        ways.append(lambda: cgroup.memory_v2(found["unified"]))
    return next((way for way in ways if way()), dict)


def parse_identity(text: str, at: datetime) -> Snapshot:
    """A host and its names, from its host name followed by its hosts file.

    Other hosts' lines in that file are theirs to tell. Raises ValueError when there is no name.
    """
    lines = text.splitlines()
    if not lines or len(lines[0].split()) != 1:
        raise ValueError(f"no host name in {lines[:1]!r}")
    full = lines[0].strip()
    name = full.split(".")[0]
    aliases = {("hostname", full)}
    for line in lines[1:]:
        address, *names = line.partition("#")[0].split() or [""]
        if (name not in names and full not in names) or address.startswith(("127.", "::1", "fe80:")):
            continue
        aliases.add(("address", address))
        aliases.update(("fqdn" if "." in other else "hostname", other) for other in names)
    host = Ref("Host", name)
    return Snapshot(
        entities=[
            Entity("Host", name, {"name": name}),
            *(Entity("Alias", f"{kind}:{alias}", {"name": alias, "kind": kind}) for kind, alias in sorted(aliases)),
        ],
        relations=[Relation("ALIAS_OF", Ref("Alias", f"{kind}:{alias}"), host) for kind, alias in sorted(aliases)],
        complete=frozenset({"Alias", "ALIAS_OF"}),
    )


def parse_system(text: str, at: datetime) -> Snapshot:
    """The kernel's release and the distribution, from /proc/version and os-release. Raises ValueError for others."""
    first, *rest = text.splitlines() or [""]
    words = first.split()
    if words[:2] != ["Linux", "version"] or len(words) < 3:
        raise ValueError(f"no version of a kernel: {first[:120]!r}")
    told = {"name": HERE, "kernel": words[2]}
    for line in rest:
        name, equals, value = line.partition("=")
        if equals and name == "PRETTY_NAME":
            told["os"] = value.strip().strip("\"'")
    return Snapshot([Entity("Host", HERE, told)])


READINGS = (Reading("machine", 5, "node", start_machine),)

CAPTURES = (
    # `cat` of files is done by the agent itself: no process is started on a node.
    Capture("identity", ("cat", "/proc/sys/kernel/hostname", "/etc/hosts"), parse_identity, 300, "node"),
    Capture("system", ("cat", "/proc/version", "/etc/os-release"), parse_system, 3600, "node", of_host=True),
)
