"""What one cluster is made of before anything runs: names, addresses, limits, labels. Pure values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from qnib.errors import Unavailable, WrongUse

LABEL = "qnib"
"""Every container, network and volume carries ``qnib=<cluster>``: `down` removes by this label alone."""

HOME_LABEL = "qnib.home"
"""… and the state directory it was started from: `down --all` leaves the clusters of other directories alone."""

MAX_NODES = 64
"""Names, addresses and HCAs are laid out for this many, so that scaling changes no file in any container."""

POOL = ipaddress.IPv4Network("10.213.0.0/16")
"""Clusters take a free /24 of this private range each."""

GROUPS = {"clusers": (2000, ("alice", "bob", "carol", "dave", "eve")), "guests": (2100, ("john", "jane"))}
"""Users of every cluster: group → (gid, members); a member's uid is gid + 1 + its place."""

_FIRST_NODE = 10  # last octet of compute0; below it: .1 the host, .2 controller, .3 fabric
_NODE = re.compile(r"compute(\d+)")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One cluster as planned. `node_memory` in MiB, `node_cpus` in cores; `leaf` hosts hang on a leaf switch."""

    name: str
    subnet: ipaddress.IPv4Network
    node_cpus: float
    node_memory: int
    leaf: int

    @property
    def network(self) -> str:
        return f"qnib-{self.name}"

    @property
    def home_volume(self) -> str:
        return f"qnib-{self.name}-home"

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @property
    def declared_cpus(self) -> int:
        """CPUs SLURM may hand out on a node; a whole number, at least one."""
        return max(1, int(self.node_cpus))

    @property
    def declared_memory(self) -> int:
        """MiB SLURM may hand out on a node: the daemons keep the rest of the node's limit."""
        return self.node_memory - max(48, self.node_memory // 10)

    def container(self, host: str) -> str:
        return f"qnib-{self.name}-{host}"

    def address(self, host: str) -> str:
        """Fixed per name, so that a node that comes back is found where SLURM remembers it."""
        if host == "controller":
            return str(self.subnet[2])
        if host == "fabric":
            return str(self.subnet[3])
        return str(self.subnet[_FIRST_NODE + node_number(host)])

    def hosts(self) -> dict[str, str]:
        """Every name the cluster can ever have, for /etc/hosts: no look-up inside ever waits for a DNS server."""
        names = ["controller", "fabric", *node_names(MAX_NODES)]
        # slurmd asks for the name of the address it listens on, 0.0.0.0, before it registers.
        return {name: self.address(name) for name in names} | {"anywhere": "0.0.0.0"}  # noqa: S104 - a name


def node_names(count: int) -> list[str]:
    return [f"compute{number}" for number in range(count)]


def node_number(host: str) -> int:
    found = _NODE.fullmatch(host)
    if not found or int(found[1]) >= MAX_NODES:
        raise WrongUse(f"{host!r} is no compute node.", where=host, try_next=f"use compute0 … compute{MAX_NODES - 1}.")
    return int(found[1])


def check_count(count: int) -> int:
    if not 1 <= count <= MAX_NODES:
        raise WrongUse(
            f"A cluster has 1 to {MAX_NODES} nodes, not {count}.", where="--nodes", try_next="choose another number.",
        )
    return count


def hosts_per_leaf(count: int) -> int:
    """So many hosts on a leaf switch that even a small cluster spans two leaves, at most eight.

    >>> [hosts_per_leaf(n) for n in (1, 2, 4, 6, 16, 64)]
    [2, 2, 2, 3, 8, 8]
    """
    return min(8, max(2, -(-count // 2)))


def free_subnet(taken: Iterable[str], pool: ipaddress.IPv4Network = POOL) -> ipaddress.IPv4Network:
    """The first /24 of `pool` that overlaps none of `taken` (networks in CIDR form; others are skipped).

    >>> str(free_subnet(["10.213.0.0/24", "0.0.0.0/0", "10.213.1.7/32"]))
    '10.213.2.0/24'
    """
    used = []
    for text in taken:
        network = ipaddress.ip_network(text, strict=False)
        if isinstance(network, ipaddress.IPv4Network) and network.prefixlen > 0:
            used.append(network)
    for candidate in pool.subnets(new_prefix=24):
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    raise Unavailable(f"No free /24 is left in {pool}.", where="the host's routes", try_next="`qnib down --all`.")


def host_routes(table: str) -> list[str]:
    """Networks this host has routes to, from the text of /proc/net/route (little-endian hexadecimal)."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[i])[::-1]) for i in (1, 7))
        found.append(f"{address}/{mask}")
    return found
