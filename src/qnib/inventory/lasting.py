"""Which kinds last: known by their content, told once, and true at any time (`EntityKind.lasting`)."""

from __future__ import annotations

from functools import cache

from qnib.domains import all_domains


@cache
def lasting() -> frozenset[str]:
    """Names of the kinds of entity and relation that nobody need tell of again."""
    things = {kind.name for domain in all_domains() for kind in domain.entities if kind.lasting}
    return frozenset(things | {kind.name for domain in all_domains() for kind in domain.relations if kind.lasting})
