"""Brings to every host what a cluster over several hosts needs there: the image, a swarm, the network, the package.

Nothing is bound from a folder of this machine, which another does not see: files are copied to where they are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import Conflict, QnibError, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import image, package, record, swarm
from qnib.terminal.addresses import parse
from qnib.terminal.blueprint import Blueprint
from qnib.terminal.engines import open_engine
from qnib.terminal.engines.several import Host, Several
from qnib.terminal.interrupts import at_once
from qnib.terminal.memory import IDLE_NODE, SERVICES
from qnib.terminal.plan import Plan

if TYPE_CHECKING:
    from qnib.terminal.engines.remote import Remote

Say = Callable[[str], None]


def check(several: Several, blueprint: Blueprint) -> list[dict[str, Any]]:
    """The record's part about each host. Raises Unavailable or WrongUse for what a host cannot carry."""
    several.check_all_present()
    notes = []
    for place, (host, told) in enumerate(zip(several.hosts, blueprint.hosts, strict=True)):
        total = int(host.there.info().get("MemTotal") or 0) >> 20
        nodes = [number for number, there in enumerate(several.places) if there == place]
        groups = [blueprint.group_of(number) for number in nodes]
        largest = max((group.memory for group in groups), default=0)
        idle = len(nodes) * IDLE_NODE + (SERVICES if place == 0 else 0)
        if max(largest, idle) > total:
            raise Unavailable(
                f"{len(nodes)} nodes of up to {largest} MiB do not fit a host of {total} MiB.", where=host.address,
                try_next="give it fewer nodes (`share`), or give the nodes less memory.",
            )
        if parse(host.address).kind == "tcp" and any(group.rate for group in groups):
            raise WrongUse(
                "A node's network is held to a rate by tools on its host, which TLS does not reach.",
                where=host.address, try_next="reach that host by ssh://, or leave `rate` out.",
            )
        notes.append({"address": host.address, "share": told.share, "advertise": told.advertise, "cpus": host.cpus})
    return notes


def check_listening(settings: Settings, name: str, address: str) -> None:
    """Senders are told apart by where they send to, and clusters over several hosts send to this machine's address."""
    known = clusters.load_all(settings.clusters)
    taken = next((one.name for one in known if one.gateway == address and one.name != name), None)
    if taken:
        raise Conflict(
            f"What comes in on {address} is cluster {taken!r}'s.", where=address,
            try_next=f"`qnib down --name {taken}` first.",
        )


def image_everywhere(settings: Settings, several: Several, blueprint: Blueprint, say: Say) -> str:
    """The image's tag, once every host has it: from one that has it, else from this machine's engine, else built."""
    from qnib.terminal.engines.socket import SocketEngine

    wanted = image.tag(blueprint)
    told = several.on_each(lambda engine: engine.has_image(wanted))
    having = {host.address: there for host, there in zip(several.hosts, told, strict=True)}
    if all(having.values()):
        return wanted
    source: SocketEngine | None = next((host.there for host in several.hosts if having[host.address]), None)
    own = None
    try:
        if source is None:
            with suppress(QnibError):  # this machine needs none of its own
                own = open_engine(settings)
                source = own if isinstance(own, SocketEngine) and own.has_image(wanted) else None
        if source is None:
            first = several.hosts[0]
            image.ensure(settings, first.there, blueprint, say)
            source, having[first.address] = first.there, True
        lacking = [host for host in several.hosts if not having[host.address]]
        size = source.image_size(wanted)
        given = source

        def hand(host: Host) -> None:
            host.there.load_image(_told(given.save_image(wanted), size, f"handing the image to {host.address}", say))

        at_once(hand, lacking, threads=4)
    finally:
        if own is not None:
            own.close()
    return wanted


def _told(chunks: Iterable[bytes], size: int, doing: str, say: Say) -> Iterator[bytes]:
    """The same chunks; each quarter is said."""
    done, quarter = 0, -1
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if (now := min(3, 4 * done // max(size, 1))) > quarter:
            quarter = now
            say(f"{doing}: {25 * quarter} % of {size >> 20} MiB")


def prepare(settings: Settings, several: Several, cluster: Cluster, plan: Plan, say: Say) -> None:
    """The swarm, the network and the package's volume on each host. Each step is in the record before it is done."""
    from qnib.terminal.engines.remote import packed

    swarm.join(several, cluster.details["hosts"], say, lambda: clusters.save(settings.clusters, cluster))
    labels = record.labels(settings, plan.name)
    several.create_network(plan.network, str(plan.subnet), plan.gateway, labels)
    say("copying the agent to each host")
    volume, tag = cluster.details["package"], cluster.details["image"]
    archive = packed((f"{package.INSIDE}/{inside}", source) for inside, source in package.files())
    several.create_volume(volume, labels)
    numbers = itertools.count()

    def fill(engine: Remote) -> None:
        engine.run_once(
            f"{volume}-{next(numbers)}", tag, package.COMPILE, (volume, package.INSIDE), archive, labels,
        )

    several.on_each(fill)
