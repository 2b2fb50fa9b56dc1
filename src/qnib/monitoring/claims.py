"""Whether a sender may speak for the host it names: marked when the record knows better, refused once senders are set.

`settings.senders` maps an address or a network to node sets; the most exact entry counts. ``known`` in it means the
host that the inventory knows at that address, ``*`` any. Without settings nothing is refused: an event from the
address of another host than it names (a relay, or a liar) bears that other host as field ``sent_by``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from ClusterShell.NodeSet import NodeSet

Resolve = Callable[[str, str], str | None]
"""Cluster and a name or address to the host's own name; None when nobody knows it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sent_by`: the host known at the sender's address, when it is another; `refused`: why it may not come in."""

    sent_by: str = ""
    refused: str = ""


FINE = Verdict()


class Claims:
    """Thread-safe as far as `resolve` is."""

    def __init__(self, senders: Mapping[str, Sequence[str]], resolve: Resolve) -> None:
        self._networks = sorted(
            ((ip_network(where), tuple(hosts)) for where, hosts in senders.items()),
            key=lambda entry: entry[0].prefixlen, reverse=True,
        )  # fmt: skip
        self._resolve = resolve

    def judge(self, cluster: str, sender: str, host: str) -> Verdict:
        """Of one claim: `sender`, an address, says that it speaks for `host`."""
        known = self._resolve(cluster, sender)
        claimed = self._resolve(cluster, host) or host
        sent_by = known if known and host != sender and claimed != known else ""
        if not self._networks:
            return Verdict(sent_by) if sent_by else FINE
        allowed = self._allowed(sender)
        if allowed is None:
            return Verdict(refused="the sender is none of those that are set")
        if "*" in allowed or host in (sender, "") or ("known" in allowed and claimed == known):
            return Verdict(sent_by) if sent_by else FINE
        if {host, claimed} & _hosts(tuple(one for one in allowed if one != "known")):
            return Verdict(sent_by) if sent_by else FINE
        return Verdict(refused=f"the sender may not speak for {host}"[:200])

    def _allowed(self, sender: str) -> tuple[str, ...] | None:
        try:
            address = ip_address(sender)
        except ValueError:
            return None
        return next((hosts for network, hosts in self._networks if address in network), None)


@lru_cache(maxsize=1000)
def _hosts(sets: tuple[str, ...]) -> frozenset[str]:
    return frozenset(host for one in sets for host in NodeSet(one))
