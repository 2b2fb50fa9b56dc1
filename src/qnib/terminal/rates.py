"""Holds a node's network to a rate, both ways, by the kernel's token buckets outside of the container."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qnib.errors import Unavailable
from qnib.terminal.counting import SYSTEM_PATH
from qnib.terminal.engines import ContainerEngine
from qnib.terminal.engines.several import Several
from qnib.terminal.plan import Plan

_BURST = 4096
"""Octets that may pass at once; more than one packet, or none ever would."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the two ends of a node's network are: starts of command lines for each, and what runs them."""

    inside: list[str]
    outside: list[str]
    run: Callable[[Sequence[str]], str]


def limit(engine: ContainerEngine, plan: Plan, host: str, rate: int | None) -> None:
    """Let `host` send and receive at most `rate` octets a second; None takes the limit away.

    Raises Unavailable when the container is not running or the kernel refuses.
    """
    if isinstance(engine, Several):
        place = _over_there(engine, plan, host)
    else:
        pid = engine.pid(plan.container(host))
        place = Place(["nsenter", "--target", str(pid), "--net", "--"], [], lambda command: _run(command, host))
    told = json.loads(place.run([*place.inside, "ip", "-json", "link", "show", "dev", "eth0"]))
    here = json.loads(place.run([*place.outside, "ip", "-json", "link", "show"]))
    # On another host there may be a link of the same number by chance: the other end points back.
    both = [link for link in here if link["ifindex"] == told[0].get("link_index")]
    peer = next((one["ifname"] for one in both if one.get("link_index") in (None, told[0]["ifindex"])), None)
    if peer is None:
        raise Unavailable(
            f"The other end of {host}'s network was not found.", where=f"link {told[0].get('link_index')}",
            try_next="`ip link` on this machine lists the ends there are.",
        )
    for end, device in ((place.inside, "eth0"), (place.outside, peer)):
        if rate is None:
            with contextlib.suppress(Unavailable):  # there is no limit
                place.run([*end, "tc", "qdisc", "delete", "dev", device, "root"])
        else:
            # A queue of a second's worth, and of at least some packets.
            queue = str(max(rate, 16 * _BURST))
            bucket = ["tbf", "rate", f"{rate * 8}bit", "burst", str(max(_BURST, rate // 50)), "limit", queue]
            place.run([*end, "tc", "qdisc", "replace", "dev", device, "root", *bucket])


def _over_there(several: Several, plan: Plan, host: str) -> Place:
    """On its own host: the bridge of an overlay network is in a namespace of the engine's."""
    engine = several.host_of(plan.container(host)).there
    pid, bridge = engine.pid(plan.container(host)), engine.overlay_namespace(plan.network)
    return Place(
        ["nsenter", "--target", str(pid), "--net", "--"], ["nsenter", f"--net={bridge}", "--"], engine.tool,
    )


def _run(command: Sequence[str], host: str) -> str:
    if (program := shutil.which(command[0], path=SYSTEM_PATH)) is None:
        raise Unavailable(
            f"{command[0]} is not installed; it holds networks of nodes to a rate.", where=SYSTEM_PATH,
            try_next="apt-get install iproute2 util-linux",
        )
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, env={**os.environ, "PATH": SYSTEM_PATH},
    )
    if done.returncode:
        raise Unavailable(
            f"The network of {host} could not be limited: {done.stderr.strip() or 'no reason was given'}.",
            where=" ".join(command), try_next="`tc` and `nsenter` (iproute2, util-linux) are needed, and root.",
        )
    return done.stdout
