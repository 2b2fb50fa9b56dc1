"""Octets and packets that pairs of a cluster's hosts exchanged, counted by the kernel on the cluster's bridge, where
what goes to another cluster ends.

One nftables table per cluster, in the family of bridges, with a set that grows by itself: an element for each pair.
Interface counters would give only sums. Engines let networks reach each other (podman's option against it loses its
rules), and none keeps a container from where this machine listens for another cluster.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qnib.errors import Unavailable
from qnib.terminal.plan import POOL, Plan

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where nft, tc and ip are, whatever PATH somebody has."""
ETHERNET = 14
"""Octets of a frame's head: interfaces count them, the bridge does not."""


@dataclass(frozen=True, slots=True)
class Sent:
    octets: int
    packets: int


Nft = Callable[[Sequence[str], str], str]
"""Runs nft with these words and this input, where the bridge is; what it printed."""


def here(words: Sequence[str], given: str) -> str:
    """On this machine."""
    program = shutil.which("nft", path=SYSTEM_PATH)
    if program is None:
        raise Unavailable(
            "nft is not installed; it counts what nodes send each other.", where=SYSTEM_PATH,
            try_next="apt-get install nftables",
        )
    done = subprocess.run([program, *words], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(
            f"The kernel cannot count on bridges: {told[0] if told else 'no reason was given'}.", where="nft",
            try_next="it needs the module nf_tables with the family bridge.",
        )
    return done.stdout


def start(plan: Plan, nft: Nft = here) -> None:
    """Begin to count and to part. Raises Unavailable without nft, or where the kernel cannot count on bridges."""
    if nft is here:
        end(plan.name)
    net = plan.subnet
    nft(["-f", "-"], f"""
        table bridge {_table(plan.name)} {{
            set pairs {{
                type ipv4_addr . ipv4_addr
                flags dynamic
                size 65535
                counter
            }}
            chain forward {{
                type filter hook forward priority 0; policy accept;
                ip saddr {net} ip daddr {net} update @pairs {{ ip saddr . ip daddr counter }}
            }}
            chain input {{
                type filter hook input priority 0; policy accept;
                ip saddr {net} ip daddr {POOL} ip daddr != {net} drop
            }}
        }}
    """)


def read(plan: Plan, nft: Nft = here) -> dict[tuple[str, str], Sent]:
    """What each pair (addresses of sender and receiver) has exchanged since `start`."""
    told = json.loads(nft(["-j", "list", "set", "bridge", _table(plan.name), "pairs"], ""))
    elements: list[Any] = next((one["set"].get("elem", []) for one in told["nftables"] if "set" in one), [])
    found = {}
    for element in elements:
        source, target = element["elem"]["val"]["concat"]
        counter = element["elem"]["counter"]
        octets = counter["bytes"] + ETHERNET * counter["packets"]
        found[source, target] = Sent(octets, counter["packets"])
    return found


def end(name: str) -> None:
    """Count no more. Harmless where nothing was counted."""
    if program := shutil.which("nft", path=SYSTEM_PATH):
        # It fails where there is none, which is what is wanted.
        subprocess.run([program, "delete", "table", "bridge", _table(name)], capture_output=True, check=False)


def _table(name: str) -> str:
    return "qnib_" + name.replace("-", "_")
