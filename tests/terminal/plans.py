"""Plans for tests."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from qnib.terminal.blueprint import Blueprint, Nodes
from qnib.terminal.plan import Plan


def plan(count: int = 4, **told: Any) -> Plan:
    """A plan called demo with `count` nodes alike; anything of a blueprint may be given."""
    blueprint = Blueprint(**({"nodes": [Nodes(count=count)]} | told))
    return Plan("demo", IPv4Network("10.213.7.0/24"), blueprint, blueprint.count)
