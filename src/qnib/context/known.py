"""What the inventory knows, in the few forms the pages ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from qnib.clock import Clock
from qnib.engine import Engine
from qnib.errors import NotFound
from qnib.inventory.facts import Fact, Facts
from qnib.settings import Settings


class Sources(Protocol):
    """What a page is made from; the server's `Parts` is one."""

    settings: Settings
    clock: Clock
    engine: Engine
    facts: Facts


def things(sources: Sources, cluster: str, kind: str, at: datetime | None = None) -> dict[str, Fact]:
    """Entities of a kind by key: those that hold, or held at `at`."""
    return {fact.key: fact for fact in sources.facts.entities(cluster, kind, at)}


def ties(sources: Sources, cluster: str, kind: str, at: datetime | None = None) -> list[Fact]:
    """Relations of a kind that hold, or held at `at`."""
    return list(sources.facts.relations(cluster, kind, at))


def fold(names: Iterable[str]) -> str:
    """A node set as people read it: ``compute[0-15]``."""
    from ClusterShell.NodeSet import NodeSet

    return str(NodeSet.fromlist(sorted(set(names)))) if names else ""


def not_here(kind: str, key: str, cluster: str, list_command: str) -> NotFound:
    return NotFound(
        f"No {kind} {key!r} is known.", where=f"cluster {cluster}", try_next=f"`{list_command}` lists them."
    )


def iso(value: Any) -> str | None:
    """A time as it travels; None stays None."""
    return value.isoformat() if isinstance(value, datetime) else (value or None)


def whole(value: Any) -> int:
    """A property as a whole number; what is not told counts as none."""
    return int(value) if value is not None else 0
