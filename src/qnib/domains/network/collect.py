"""What is read of the network on each machine: small answers, rarely, and at once when a link is said to change."""

from __future__ import annotations

from qnib.domains.network.happened import events
from qnib.domains.network.interfaces import parse_interfaces, parse_neighbours
from qnib.domains.network.lldp import parse_lldp, settle
from qnib.model import Capture

INTERFACES = ("sh", "-c", "ip -j addr && { grep -s . /sys/class/net/*/speed || :; }")
_LINKS = (r"Link is (Up|Down)", r"link (up|down|becomes ready)", r"NIC Link", r"carrier (lost|acquired)")

CAPTURES = (
    Capture("interfaces", INTERFACES, parse_interfaces, 300, "node", _LINKS, of_host=True, events=events),
    Capture("neighbours", ("ip", "-j", "neigh"), parse_neighbours, 900, "node", of_host=True),
    Capture(
        "lldp", ("lldpctl", "-f", "json"), parse_lldp, 300, "node", _LINKS, of_host=True, settle=settle, events=events,
        watch=("/run/lldpd.socket", "/var/run/lldpd.socket"),
    ),
)
