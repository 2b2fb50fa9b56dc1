"""Joins engines to one swarm, for the network over all of them, and undoes what it did.

A swarm that is there is used as it is. Where there is none the first host starts one and the others join it; a host
that is in none joins the first one's. What was done is noted host by host, before and after, in the cluster's record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from qnib.errors import Conflict, QnibError, Unavailable
from qnib.terminal.engines.several import Host, Several
from qnib.terminal.hosts import advertised

if TYPE_CHECKING:
    from qnib.terminal.engines.remote import Remote

BRIDGE = "docker_gwbridge"
"""What an engine makes when it joins a swarm, and keeps when it leaves."""
PORT = 2377

Say = Callable[[str], None]


def join(several: Several, told: list[dict[str, Any]], say: Say, save: Callable[[], None]) -> None:
    """`told` is the record's part about each host; ``joined`` is noted in it. Raises Conflict for hosts of different
    swarms, with what to type."""
    first, *rest = several.hosts
    state = _swarm(first.there)
    inside = {host.address: _swarm(host.there) for host in rest}
    if state["LocalNodeState"] == "active" and not state.get("ControlAvailable"):
        raise Conflict(
            "The first host is a worker of a swarm, which only a manager gives networks to.", where=first.address,
            try_next="name one of that swarm's managers first in --hosts.",
        )
    if state["LocalNodeState"] != "active":
        if member := next((name for name, there in inside.items() if there["LocalNodeState"] == "active"), None):
            raise Conflict(
                f"{member} is in a swarm and {first.address} is not.", where=first.address,
                try_next=f"name {member} first if it is a manager, or `docker swarm leave` there.",
            )
        say(f"starting a swarm on {first.address}")
        others = [host.address for host in rest]
        at = advertised(first.address, told[0].get("advertise", ""), others)
        with _noted(first.there, told[0], save):
            first.there.api("starting a swarm", lambda api: api.init_swarm(at, f"{at}:{PORT}"))
    manager = _swarm(first.there)
    known = {node["ID"] for node in first.there.api("listing the swarm", lambda api: api.nodes())}
    tokens = first.there.api("asking for the swarm's token", lambda api: api.inspect_swarm())["JoinTokens"]
    for host, note in zip(rest, told[1:], strict=True):
        there = inside[host.address]
        if there["LocalNodeState"] == "active":
            if there["NodeID"] not in known:
                raise Conflict(
                    f"{host.address} is in another swarm than {first.address}.", where=host.address,
                    try_next=f"`docker swarm leave` there; it then joins the one of {first.address} by itself.",
                )
            continue
        say(f"{host.address} joins the swarm")
        at = advertised(host.address, note.get("advertise", ""), [first.address])
        with _noted(host.there, note, save):
            host.there.api("joining the swarm", partial(
                _join, at=at, token=tokens["Worker"], remotes=[f"{manager['NodeAddr']}:{PORT}"],
            ))


def _join(api: Any, *, at: str, token: str, remotes: list[str]) -> Any:
    return api.join_swarm(remotes, token, f"{at}:{PORT}", at)


@contextmanager
def _noted(engine: Remote, note: dict[str, Any], save: Callable[[], None]) -> Iterator[None]:
    """That we do it is written down first, which membership it was afterwards."""
    there = engine.api("listing networks", lambda api: api.networks(names=[BRIDGE]))
    note["joined"], note["bridge"] = "", bool(there)
    save()
    yield
    note["joined"] = _swarm(engine)["NodeID"]
    save()


def undo(several: Several, told: list[dict[str, Any]], network: str, say: Say) -> None:
    """Hosts that joined leave, the first last; harmless where it is done. A swarm that others use by now, for more than
    the cluster's own `network`, is left alone."""
    pairs = [(host, note) for host, note in zip(several.hosts, told, strict=True) if host.engine and "joined" in note]
    used = next((host.address for host, _ in pairs if _in_use(host.there, network)), None)
    if used:
        say(f"the swarm stays as it is: {used} has other networks or services in it")
        return
    for host, note in reversed(pairs):
        state = _swarm(host.there)
        if state["LocalNodeState"] != "inactive" and note["joined"] in ("", state["NodeID"]):
            host.there.api("leaving the swarm", lambda api: api.leave_swarm(force=True))
            _remove_bridge(host.there, note)
            _forget(several.hosts[0], state["NodeID"])
        del note["joined"]


def _remove_bridge(engine: Remote, note: dict[str, Any], patience: float = 3) -> None:
    """Where it was not there before; what is leaving may hold it for a moment yet, and somebody else's for good."""
    deadline = time.monotonic() + patience
    while not note.get("bridge"):
        try:
            engine.remove_network(BRIDGE)
        except Unavailable:
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)
        else:
            return


def _forget(first: Host, node: str) -> None:
    """A manager lists who left as down, for ever."""
    if first.engine is None or not _swarm(first.engine).get("ControlAvailable"):
        return
    first.engine.api("forgetting a host", lambda api: api.remove_node(node, force=True))


def _in_use(engine: Remote, network: str) -> bool:
    """Whether there is anything in the swarm that is neither ours nor the swarm's own."""
    listed = engine.api("listing networks", lambda api: api.networks(filters={"driver": "overlay"}))
    if any(not one.get("Ingress") and one["Name"] != network for one in listed):
        return True
    manager = _swarm(engine).get("ControlAvailable")
    return bool(manager and engine.api("listing services", lambda api: api.services()))


def remove_network(engine: Remote, name: str, patience: float = 10) -> str:
    """Remove a network of the swarm, which it lets go of only when it has seen its containers end; why not, if not."""
    deadline = time.monotonic() + patience
    while True:
        try:
            engine.remove_network(name)
        except QnibError as error:
            if time.monotonic() > deadline:
                return error.what
        if not engine.api("listing networks", lambda api: api.networks(names=[f"^{name}$"])):
            return ""
        if time.monotonic() > deadline:
            return "the swarm still holds it"
        time.sleep(0.1)


def _swarm(engine: Remote) -> dict[str, Any]:
    found: dict[str, Any] = engine.info().get("Swarm") or {}
    return {"LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", **found}
