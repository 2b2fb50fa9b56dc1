"""Opens the engine of a cluster: the one of this machine, or those of several hosts as one."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence

from qnib.clusters import Cluster
from qnib.errors import QnibError
from qnib.settings import Settings
from qnib.terminal.addresses import parse
from qnib.terminal.engines import ContainerEngine, open_engine
from qnib.terminal.engines.several import Host, Several
from qnib.terminal.interrupts import at_once


def engine_of(settings: Settings, cluster: Cluster) -> ContainerEngine:
    """The engine a virtual cluster runs on. Hosts that are away are so in it; it raises only where there is but one."""
    if told := cluster.details.get("hosts"):
        return several(settings, [one["address"] for one in told], list(cluster.details["places"]))
    return open_engine(settings, cluster.engine)  # type: ignore[arg-type]


def address_of(cluster: Cluster, host: str) -> str:
    """Of the engine that a container of a cluster over several hosts is on."""
    place = cluster.details["places"][int(host.removeprefix("compute"))] if host.startswith("compute") else 0
    return str(cluster.details["hosts"][place]["address"])


def docker(settings: Settings, address: str, words: Sequence[str]) -> list[str]:
    """The command line that runs docker's own with these words on the engine at an address."""
    from qnib.terminal.engines.remote import SSH, over_tls, ssh_to

    told = parse(address)
    if told.kind == "tcp":
        return ["docker", *over_tls(settings, told)[1], *words]
    there = ["docker", "-H", f"unix://{told.path}", *words]
    if told.kind == "unix":
        return there
    terminal = ["-t"] if "--tty" in words else []
    return ["ssh", *SSH, *terminal, *ssh_to(told, settings.terminal.ssh_config), "--", shlex.join(there)]


def several(settings: Settings, addresses: Sequence[str], places: list[int]) -> Several:
    """All of them tried at once; what kept one from being reached is noted in its host."""
    return Several(at_once(lambda address: reach(settings, address), addresses, threads=len(addresses)), places)


def reach(settings: Settings, address: str) -> Host:
    from qnib.terminal.engines.remote import Remote  # which needs docker's package: not for `qnib exec` on this machine

    try:
        engine = Remote(settings, parse(address))
    except QnibError as error:
        return Host(address, None, error)
    try:
        return Host(address, engine, None, int(engine.info().get("NCPU") or 0))
    except QnibError as error:
        engine.close()
        return Host(address, None, error)


def this_machine(addresses: Sequence[str]) -> str:
    """The address of this machine that those hosts can send to: the one it speaks to the first other machine from."""
    there = next((parse(one).host for one in addresses if parse(one).host), "192.0.2.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((there, 9))  # of a datagram's socket: it looks up the route, and sends nothing
        return str(asked.getsockname()[0])


def advertised(address: str, told: str, others: Sequence[str]) -> str:
    """Where the other hosts reach this one: what the blueprint says, else the address it is reached at from here."""
    where = told or parse(address).host
    return socket.gethostbyname(where) if where else this_machine(others)
