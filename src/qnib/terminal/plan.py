"""A blueprint given a name and a subnet: what everything is called, where it is, and what it may use. Pure values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from qnib.errors import Unavailable, WrongUse
from qnib.terminal.blueprint import MAX_DENSE, MAX_NODES, Blueprint, Nodes

LABEL = "qnib"
"""Every container, network and volume carries ``qnib=<cluster>``: `down` removes by this label alone."""

HOME_LABEL = "qnib.home"
"""… and the state directory it was started from: `down --all` leaves the clusters of other directories alone."""

POOL = ipaddress.IPv4Network("10.213.0.0/16")
"""Clusters take a free /24 of this private range each."""

_FIRST_NODE = 10  # last octet of compute0; below it: .1 the host, and _FIXED
_FIRST_GID = 2000
_FIRST_PORT = 7000  # of the nodes in a dense container
PER_CONTAINER = 50
"""Nodes that share a container where a cluster is dense."""
_FIXED = {"controller": 2, "fabric": 3, "database": 5, "rest": 6, "login": 9}
_NODE = re.compile(r"compute(\d+)")
_DENSE = re.compile(r"dense(\d+)")


@dataclass(frozen=True)
class Plan:
    """One cluster as planned. Names, addresses and adapters are laid out for `capacity` nodes, so that scaling
    changes no file in any container."""

    name: str
    subnet: ipaddress.IPv4Network
    blueprint: Blueprint
    first: int
    """Nodes it was started with: the shape of its fabric follows from it."""

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
    def capacity(self) -> int:
        return self.blueprint.capacity

    @property
    def has_fabric(self) -> bool:
        return self.blueprint.fabric.shape != "none"

    @property
    def whole(self) -> str:
        """A partition with every node in it, which the terminal itself uses; a hidden one if the blueprint has none."""
        return next((one.name for one in self.blueprint.partitions if one.nodes == "all"), "qnib")

    @property
    def database_volume(self) -> str:
        return f"qnib-{self.name}-database"

    @property
    def volumes(self) -> list[str]:
        return [self.home_volume, *([self.database_volume] if self.blueprint.services.accounting else [])]

    @property
    def services(self) -> list[str]:
        """Hosts beside the nodes."""
        asked = {"fabric": self.has_fabric, "login": self.blueprint.services.login}
        return ["controller", *(host for host, wanted in asked.items() if wanted)]

    @property
    def uids(self) -> dict[str, int]:
        """Users with their numbers."""
        return {user: gid + 1 + place for gid, members in self.groups.values() for place, user in enumerate(members)}

    @property
    def beside(self) -> list[str]:
        """Hosts of services that the cluster does not wait for, and works without."""
        told = self.blueprint.services
        return [*(["database"] if told.accounting else []), *(["rest"] if told.rest else [])]

    def group(self, host: str) -> Nodes:
        return self.blueprint.group_of(self.number(host))

    def declared_cpus(self, host: str) -> int:
        """CPUs SLURM may hand out on a node; a whole number, at least one."""
        return max(1, int(self.group(host).cpus))

    def declared_memory(self, host: str) -> int:
        """MiB SLURM may hand out on a node: the daemons keep the rest of the node's limit."""
        memory = self.group(host).memory
        return memory - max(48, memory // 10)

    @property
    def dense(self) -> bool:
        return self.blueprint.dense

    def places(self, nodes: int) -> list[str]:
        """Host names of the containers that so many nodes are in."""
        if self.dense:
            return [f"dense{number}" for number in range(-(-nodes // PER_CONTAINER))]
        return node_names(nodes)

    def place(self, host: str) -> str:
        """The host name of the container a host is in: its own, or that of a dense node's container."""
        return f"dense{self.number(host) // PER_CONTAINER}" if self.dense and _NODE.fullmatch(host) else host

    def living_in(self, place: str) -> list[str]:
        """The nodes in a container of a dense cluster."""
        return [host for host in node_names(self.blueprint.count) if self.place(host) == place]

    def port(self, host: str) -> int:
        """Where slurmd of a dense node listens; the others have 6818, each on an address of its own."""
        return _FIRST_PORT + self.number(host) % PER_CONTAINER

    def container(self, host: str) -> str:
        return f"qnib-{self.name}-{self.place(host)}"

    def address(self, host: str) -> str:
        """Fixed per name, so that a node that comes back is found where SLURM remembers it."""
        if self.dense and (found := _DENSE.fullmatch(self.place(host))):
            return str(self.subnet[_FIRST_NODE + int(found[1])])
        if host in _FIXED:
            return str(self.subnet[_FIXED[host]])
        return str(self.subnet[_FIRST_NODE + self.number(host)])

    def number(self, host: str) -> int:
        """7 of compute7. Raises WrongUse for what is no node of this cluster."""
        found = _NODE.fullmatch(host)
        if not found or int(found[1]) >= self.capacity:
            raise WrongUse(
                f"{host!r} is no compute node.", where=host, try_next=f"use compute0 … compute{self.capacity - 1}.",
            )
        return int(found[1])

    def hosts(self) -> dict[str, str]:
        """Every name the cluster can ever have, for /etc/hosts: no look-up inside ever waits for a DNS server."""
        nodes = [*node_names(self.capacity), *self.places(self.capacity)]
        names = ["controller", "fabric", *self.services[1:], *self.beside, *nodes]
        # slurmd asks for the name of the address it listens on, 0.0.0.0, before it registers.
        return {name: self.address(name) for name in names} | {"anywhere": "0.0.0.0"}  # noqa: S104 - a name

    @cached_property
    def groups(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Users by group: name to (gid, members); a member's uid is gid + 1 + its place."""
        found: dict[str, tuple[int, tuple[str, ...]]] = {}
        gid = _FIRST_GID
        for group in self.blueprint.groups:
            found[group.name] = gid, tuple(group.users)
            gid += 100 * (1 + len(group.users) // 100)
        return found

    @property
    def users(self) -> list[str]:
        return [member for _, members in self.groups.values() for member in members]

    def check_count(self, count: int) -> int:
        if not 1 <= count <= self.capacity:
            raise WrongUse(
                f"This cluster has room for 1 to {self.capacity} nodes, not {count}.", where="--nodes",
                try_next="choose another number, or start one with a larger `grow_to` or fabric in its blueprint.",
            )
        return count


def node_names(count: int) -> list[str]:
    return [f"compute{number}" for number in range(count)]


def check_count(count: int, *, dense: bool = False) -> int:
    most = MAX_DENSE if dense else MAX_NODES
    if not 1 <= count <= most:
        raise WrongUse(
            f"A cluster has 1 to {most} nodes, not {count}.", where="--nodes",
            try_next="choose another number." if dense else f"--dense starts up to {MAX_DENSE}, with less in each.",
        )
    return count


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
