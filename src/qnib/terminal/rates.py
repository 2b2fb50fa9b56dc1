"""Holds a node's network to a rate, both ways, by the kernel's token buckets outside of the container."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess

from qnib.errors import Unavailable
from qnib.terminal.counting import SYSTEM_PATH
from qnib.terminal.engines import ContainerEngine
from qnib.terminal.plan import Plan

_BURST = 4096
"""Octets that may pass at once; more than one packet, or none ever would."""


def limit(engine: ContainerEngine, plan: Plan, host: str, rate: int | None) -> None:
    """Let `host` send and receive at most `rate` octets a second; None takes the limit away.

    Raises Unavailable when the container is not running or the kernel refuses.
    """
    pid = engine.pid(plan.container(host))
    inside = ["nsenter", "--target", str(pid), "--net", "--"]
    told = json.loads(_run([*inside, "ip", "-json", "link", "show", "dev", "eth0"], host))
    here = json.loads(_run(["ip", "-json", "link", "show"], host))
    peer = next((link["ifname"] for link in here if link["ifindex"] == told[0].get("link_index")), None)
    if peer is None:
        raise Unavailable(
            f"The other end of {host}'s network was not found.", where=f"link {told[0].get('link_index')}",
            try_next="`ip link` on this machine lists the ends there are.",
        )
    for command in ([*inside, "tc", "qdisc", "replace", "dev", "eth0"], ["tc", "qdisc", "replace", "dev", peer]):
        if rate is None:
            command[command.index("replace")] = "delete"
            with contextlib.suppress(Unavailable):  # there is no limit
                _run([*command, "root"], host)
        else:
            # A queue of a second's worth, and of at least some packets.
            queue = str(max(rate, 16 * _BURST))
            bucket = ["tbf", "rate", f"{rate * 8}bit", "burst", str(max(_BURST, rate // 50)), "limit", queue]
            _run([*command, "root", *bucket], host)


def _run(command: list[str], host: str) -> str:
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
