"""What a cluster shall be, as people write it down: a TOML file, checked before anything starts.

    name = "lab"
    system = "debian13"                      # SLURM 24.11; debian12: SLURM 22.05

    [[nodes]]
    count = 12
    cpus = 2
    memory = "512M"

    [fabric]
    shape = "fat-tree"
    radix = 8

`docs/guides/blueprints.md` has every key; `examples/*.toml` beside this file are whole ones.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from qnib import clusters
from qnib.errors import WrongUse
from qnib.terminal import accounts as accounting
from qnib.terminal.accounts import QOS, Account
from qnib.terminal.addresses import parse
from qnib.terminal.faults.kinds import KINDS
from qnib.terminal.schema import LIMIT, SYSTEM_NAMES, Part, Word, packages
from qnib.terminal.schema import at as _at
from qnib.terminal.units import Rate, Size, Span

MAX_NODES = 240
"""Containers in one cluster: so many addresses fit beside the controller in one subnet."""

MAX_DENSE = 1000
"""Nodes in one cluster where many share a container: as many as were tried."""

_NAMES = re.compile(r"compute(\d|\[)")


Mpi = Literal["openmpi", "mpich"]


class Nodes(Part):
    """A group of nodes alike; groups are numbered through: compute0 to compute11, then the next from compute12 on."""

    count: int = Field(4, ge=1, description="How many")
    cpus: float = Field(2, gt=0, le=1024, description="Cores a node may use, and SLURM may hand out")
    memory: Size = Field(512, ge=128, description='Memory a node may use: "512M", "2G"')
    rate: Rate | None = Field(None, ge=128, description='What its network gives at most: "1KB/s"; empty: no limit')
    disk: Size | None = Field(
        None, ge=1, description='Size of its /tmp, kept in its memory: "64M"; empty: a quarter of it, at most 128M'
    )
    features: list[Word] = Field(default_factory=list, description="SLURM features of these nodes")

    @property
    def scratch(self) -> int:
        """MiB of /tmp."""
        return self.disk or min(128, self.memory // 4)


class Partition(Part):
    name: Word
    nodes: str = Field("all", description='"all", "odd", "even", a feature, or names: "compute[0-3,8]"')
    default: bool = Field(False, description="Jobs go here when they name no partition")
    limit: str = Field("1-00:00:00", pattern=f"^{LIMIT}$", description="SLURM's MaxTime")


    @property
    def lists_names(self) -> bool:
        return _NAMES.match(self.nodes) is not None


class Group(Part):
    name: Word
    users: list[Word] = Field(min_length=1, description="Who is in it; each has a home and a uid of its own")


class Fabric(Part):
    shape: Literal["tree", "fat-tree", "torus", "none"] = Field("tree", description="How the switches are wired")
    hosts: int | None = Field(None, ge=1, le=64, description="tree, torus: hosts on a switch")
    spines: int = Field(2, ge=1, le=16, description="tree: switches above the leaves")
    radix: int = Field(8, ge=4, le=64, description="fat-tree: ports of a switch; even")
    levels: Literal[2, 3] = Field(2, description="fat-tree: 2 (radix²/2 hosts) or 3 (radix³/4 hosts)")
    size: list[int] = Field(default_factory=lambda: [3, 3], description="torus: switches along each dimension")
    capacity: Rate = Field(4 << 30, ge=1024, description='What a link carries before packets wait: "4GB/s" is 4X QDR')

    @field_validator("radix")
    @classmethod
    def _even(cls, radix: int) -> int:
        if radix % 2:
            raise ValueError("half of a switch's ports go up, half down: the radix is even")
        return radix

    @field_validator("size")
    @classmethod
    def _dimensions(cls, size: list[int]) -> list[int]:
        if not 1 <= len(size) <= 3 or any(side < 2 for side in size):
            raise ValueError("a torus has 1 to 3 dimensions of at least 2 switches each, such as [4, 4]")
        if prod(size) > 256:
            raise ValueError(f"{prod(size)} switches are more than the 256 that are simulated")
        return size


class Services(Part):
    """What stands beside the controller. The image has a service's packages only where it is asked for."""

    login: bool = Field(False, description="A login node with SSH: `qnib ssh alice`")
    ssh_port: int = Field(0, ge=0, le=65535, description="Its port on this machine's loopback; 0: one that is free")
    accounting: bool = Field(False, description="slurmdbd and MariaDB: sacct, accounts, QOS")
    rest: bool = Field(False, description="slurmrestd, on this machine's loopback only")


class Image(Part):
    """What jobs may run in. Staged before the cluster starts: built here from Debian packages, or brought by hand."""

    name: Word = Field(description="What jobs call it: --comment=image:NAME")
    system: Literal["debian13", "debian12"] | None = Field(
        None, description="Debian it is built from; empty: `qnib images add NAME TAR` has brought it"
    )
    packages: list[str] = Field(default_factory=list, description="Debian packages in it")

    @field_validator("packages")
    @classmethod
    def _packages(cls, names: list[str]) -> list[str]:
        return packages(names)


class Coming(Part):
    """A fault that will happen by itself, so long after the cluster is ready."""

    after: Span = Field(gt=0, description='"90s", "2m"')
    kind: str = Field(description="As in `qnib fault`: cable-out, port-bad, node-down …")
    target: str = Field(description="A port (SW1/3) or a node (compute2)")
    value: str = Field("", description="The kind's own measure, as `qnib fault kinds` says; empty: its default")
    lasts: Span | None = Field(None, gt=0, description="Undone after this long; empty: until it is cleared")


MOST_HOSTS, MOST_NODES_OVER_HOSTS = 14, 230
"""The swarm takes an address of the subnet for each host; these lie above the nodes'."""


class Host(Part):
    """One of several hosts; nodes are spread over them by their shares."""

    address: str = Field(description='Its engine: "local", "ssh://USER@HOST", "tcp://HOST:2376"')
    share: int = Field(1, ge=1, le=1000, description="Nodes it gets, in proportion to the other hosts' shares")
    advertise: str = Field("", description="Where the other hosts reach it; empty: the host of its address")

    @field_validator("address")
    @classmethod
    def _an_address(cls, address: str) -> str:
        return parse(address).text


class Blueprint(Part):
    """One cluster. What is left out has the defaults of `qnib up`."""

    name: str | None = Field(None, description="The cluster's name; --name wins over it")
    system: Literal["debian13", "debian12"] = Field("debian13", description="Image line: SLURM 24.11 or 22.05")
    nodes: list[Nodes] = Field(default_factory=lambda: [Nodes()], min_length=1)
    fidelity: Literal["full", "dense"] = Field(
        "full", description="full: a container for each node; dense: fifty nodes share one, up to 1000 in all, with no "
        "limits, network or fabric of their own"
    )
    grow_to: int | None = Field(None, ge=1, le=MAX_NODES, description="Nodes `qnib scale` may reach; default 64")
    partitions: list[Partition] = Field(default_factory=lambda: [
        Partition(name="all", default=True), Partition(name="odd", nodes="odd"), Partition(name="even", nodes="even"),
    ], min_length=1)
    groups: list[Group] = Field(default_factory=lambda: [
        Group(name="clusers", users=["alice", "bob", "carol", "dave", "eve"]),
        Group(name="guests", users=["john", "jane"]),
    ], min_length=1)
    services: Services = Field(default_factory=Services)
    accounts: list[Account] = Field(default_factory=list, description="None: one for each group, without limits")
    qos: list[QOS] = Field(default_factory=list)
    fabric: Fabric = Field(default_factory=Fabric)
    software: list[str] = Field(default_factory=list, description="More Debian packages for the image")
    mpi: list[Mpi] = Field(
        default_factory=lambda: list[Mpi](["openmpi"]),
        description="Open MPI is always there (pmix); mpich comes beside it (pmi2)",
    )
    images: list[Image] = Field(default_factory=list, description="Images that jobs may run in")
    racks: dict[str, str] = Field(
        default_factory=dict, description='Where its nodes stand, as the server shall know: {r1 = "compute[0-15]"}'
    )
    jobs: Literal["none", "demo", "people"] = Field(
        "none", description="demo: a few users keep a few jobs running; people: all users by their habits"
    )
    faults: list[Coming] = Field(default_factory=list, description="Faults to come")
    hosts: list[Host] = Field(
        default_factory=list, max_length=MOST_HOSTS, description="Docker engines to spread it over; empty: this machine"
    )

    @property
    def count(self) -> int:
        return sum(group.count for group in self.nodes)

    @property
    def dense(self) -> bool:
        return self.fidelity == "dense"

    @property
    def enforces(self) -> bool:
        """Whether SLURM holds users to accounts and QOS: only where the blueprint says which."""
        return bool(self.accounts or self.qos)

    @property
    def capacity(self) -> int:
        """Nodes it may grow to: names, addresses and cables are laid out for so many."""
        if self.dense:
            return self.count
        wanted = self.grow_to or max(64, self.count)
        if self.hosts:
            wanted = min(wanted, MOST_NODES_OVER_HOSTS)
        return min(wanted, ports_for_hosts(self.fabric) or wanted)

    @property
    def without_account(self) -> list[str]:
        """Users whose jobs are refused, because accounts are named and none lists them."""
        groups = {group.name: group.users for group in self.groups}
        there = {user for one in self.accounts for user in accounting.members(one, groups)}
        return [user for users in groups.values() for user in users if self.accounts and user not in there]

    def group_of(self, number: int) -> Nodes:
        """What node `number` is like; what is added later is like the last group."""
        for group in self.nodes:
            if number < group.count:
                return group
            number -= group.count
        return self.nodes[-1]

    @model_validator(mode="before")
    @classmethod
    def _dense_has_no_fabric(cls, told: Any) -> Any:
        if isinstance(told, dict) and told.get("fidelity") == "dense":
            return {"fabric": {"shape": "none"}, **told}
        return told

    @field_validator("partitions")
    @classmethod
    def _node_sets(cls, partitions: list[Partition]) -> list[Partition]:
        from ClusterShell.NodeSet import NodeSet, NodeSetParseError

        for place, partition in enumerate(partitions):
            if partition.lists_names:
                try:
                    NodeSet(partition.nodes)
                except NodeSetParseError as error:
                    raise _at(["partitions", place, "nodes"], f"{partition.nodes!r} is no node set") from error
        return partitions

    @field_validator("faults")
    @classmethod
    def _kinds(cls, faults: list[Coming]) -> list[Coming]:
        for place, fault in enumerate(faults):
            if fault.kind not in KINDS:
                raise _at(["faults", place, "kind"], f"there is no fault {fault.kind!r}; one of {', '.join(KINDS)}")
            try:
                KINDS[fault.kind].valued(fault.value)
            except WrongUse as error:
                raise _at(["faults", place, "value"], error.what) from error
        return faults

    @field_validator("hosts")
    @classmethod
    def _each_once(cls, hosts: list[Host]) -> list[Host]:
        for place, host in enumerate(hosts):
            if host.address in [other.address for other in hosts[:place]]:
                raise _at(["hosts", place, "address"], f"{host.address} is named already")
        return hosts

    @field_validator("racks")
    @classmethod
    def _stand(cls, racks: dict[str, str]) -> dict[str, str]:
        clusters.check_racks(racks)
        return racks

    @field_validator("images")
    @classmethod
    def _staged(cls, images: list[Image]) -> list[Image]:
        for place, image in enumerate(images):
            if image.packages and image.system is None:
                raise _at(["images", place, "packages"], "an image with packages needs the `system` it is built from")
            if image.name in [other.name for other in images[:place]]:
                raise _at(["images", place, "name"], f"there is an image {image.name!r} already")
        return images

    @field_validator("software")
    @classmethod
    def _packages(cls, names: list[str]) -> list[str]:
        return packages(names)

    @model_validator(mode="after")
    def _over_hosts(self) -> Self:
        """What needs a folder or a port of this machine in a container cannot be had of another's engine."""
        if self.hosts and self.images:
            raise _at(["images"], "jobs bring no image of their own to a cluster over several hosts")
        if self.hosts and self.dense:
            raise _at(["fidelity"], "dense nodes are of one machine")
        asked = [name for name in ("login", "accounting", "rest") if getattr(self.services, name)]
        if self.hosts and asked:
            lacking = f"a cluster over several hosts has no {asked[0]}: it needs folders and ports of one machine"
            raise _at(["services", asked[0]], lacking)
        return self

    @model_validator(mode="after")
    def _fits_dense(self) -> Self:
        """Nodes that share a container have nothing that is a container's."""
        if not self.dense:
            return self
        if self.fabric.shape != "none":
            raise _at(["fabric"], "dense nodes have no network of their own to carry through a fabric")
        if self.images:
            raise _at(["images"], "jobs have containers of their own only where a node has one")
        if self.grow_to:
            raise _at(["grow_to"], "a dense cluster keeps the nodes it was started with")
        for place, group in enumerate(self.nodes):
            if group.rate or group.disk:
                raise _at(["nodes", place], "dense nodes share network and disk of their container: no rate, no disk")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        from ClusterShell.NodeSet import NodeSet

        if self.jobs != "none" and not any(one.nodes == "all" for one in self.partitions):
            raise _at(["jobs"], 'these jobs need a partition with nodes = "all"')
        most = MAX_DENSE if self.dense else MOST_NODES_OVER_HOSTS if self.hosts else MAX_NODES
        if self.count > most:
            last, over = len(self.nodes) - 1, " over several hosts" if self.hosts else ""
            more = "" if self.dense or self.hosts else f'; fidelity = "dense" has up to {MAX_DENSE}'
            raise _at(["nodes", last, "count"], f"a cluster{over} has up to {most} nodes, not {self.count}{more}")
        for place, group in enumerate(self.nodes):
            if group.scratch >= group.memory:
                raise _at(["nodes", place], "the disk is kept in the memory, and has to be smaller")
        if self.count > self.capacity:
            ports = ports_for_hosts(self.fabric)
            told = self.grow_to and (ports is None or self.grow_to < ports)
            room = "grow_to says" if told else f"a {self.fabric.shape} of this size has"
            raise _at(
                ["grow_to"] if told else ["fabric"],
                f"{self.count} nodes are more than the {self.capacity} that {room}",
            )
        there = {"all", "odd", "even", *(feature for group in self.nodes for feature in group.features)}
        for place, partition in enumerate(self.partitions):
            if not partition.lists_names and partition.nodes not in there:
                raise _at(
                    ["partitions", place, "nodes"],
                    f"{partition.nodes!r} is no feature of any nodes; there are {', '.join(sorted(there))}",
                )
            if partition.name in ("qnib", "default"):
                raise _at(["partitions", place, "name"], f"{partition.name!r} means something else already")
            listed = NodeSet(partition.nodes) if partition.lists_names else None
            if listed is not None and not any(f"compute{number}" in listed for number in range(self.capacity)):
                raise _at(["partitions", place, "nodes"], f"none of {partition.nodes} can be there")
            if partition.default and any(other.default for other in self.partitions[:place]):
                raise _at(["partitions", place, "default"], "another partition is the default already")
        taken: dict[str, str] = {}
        for place, (what, name) in enumerate(self._names()):
            path: list[int | str] = ["partitions", place] if what == "partition" else ["groups"]
            # Partitions are SLURM's, groups and users are the system's: only the latter can clash.
            key = f"partition {name}" if what == "partition" else name
            if key in taken or (what != "partition" and name in SYSTEM_NAMES):
                owner = f"a {taken[key]}" if key in taken else "the system"
                raise _at(path, f"{what} {name!r}: the name belongs to {owner} already")
            taken[key] = what
        self._accounts_fit()
        return self

    def _accounts_fit(self) -> None:
        kept = next((name for name in ("accounts", "qos") if getattr(self, name)), "")
        if kept and not self.services.accounting:
            raise _at([kept, 0], "accounting keeps them: write accounting = true below [services]")
        groups = {group.name: group.users for group in self.groups}
        accounting.check(self.accounts, self.qos, groups)
        if self.jobs != "none" and (left := self.without_account):
            raise _at(["jobs"], f"{', '.join(left)} could submit none: no account lists them")

    def _names(self) -> list[tuple[str, str]]:
        found = [("partition", one.name) for one in self.partitions]
        for group in self.groups:
            found += [("group", group.name), *(("user", user) for user in group.users)]
        return found


def ports_for_hosts(fabric: Fabric) -> int | None:
    """Hosts a fabric has room for; None: as many as there are addresses.

    >>> ports_for_hosts(Fabric(shape="fat-tree", radix=8)), ports_for_hosts(Fabric(shape="fat-tree", levels=3))
    (32, 128)
    """
    if fabric.shape == "fat-tree":
        return fabric.radix**2 // 2 if fabric.levels == 2 else fabric.radix**3 // 4
    if fabric.shape == "torus":
        return prod(fabric.size) * (fabric.hosts or 2)
    return None
