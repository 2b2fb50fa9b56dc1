"""What is around an entity: the things whose events belong over its charts."""

from __future__ import annotations

from datetime import datetime

from qnib.context.known import Sources, ties


def around_hosts(sources: Sources, cluster: str, hosts: list[str], at: datetime | None = None) -> list[str]:
    """Refs of hosts and what belongs to them, as events name them: ``Host:…``, ``Node:…``, ``HCA:…``, ``PORT:…``.

    A link's event names both of its ports, so the adapter's own port also finds what happened to its cable.
    """
    wanted = set(hosts)
    adapters = {
        tie.source.key
        for tie in ties(sources, cluster, "BELONGS_TO", at)
        if tie.source and tie.target and tie.target.key in wanted
    }
    ports = {
        tie.target.key
        for tie in ties(sources, cluster, "HAS_PORT", at)
        if tie.source and tie.target and tie.source.kind == "HCA" and tie.source.key in adapters
    }
    return [
        *(f"{kind}:{host}" for host in sorted(wanted) for kind in ("Host", "Node")),
        *(f"HCA:{adapter}" for adapter in sorted(adapters)),
        *(f"PORT:{port}" for port in sorted(ports)),
    ]
