"""Folded sets of nodes, ``compute[0-15],login``: how many names one stands for, and which."""

from __future__ import annotations

import re

from qnib.errors import WrongUse

MOST_NODES = 200_000
"""Names that a set may stand for where it is unfolded."""


def count_names(folded: str) -> int:
    """How many names it stands for at most, told without unfolding it: ``c[0-99999999]`` would fill memory."""
    total, each = 0, 1
    for mark in re.finditer(r"\[([^\]]*)\]?|[,&!^]", folded):
        if mark[1] is None:
            total, each = total + each, 1
        else:
            each *= max(1, sum(map(_span, mark[1].split(","))))
    return total + each


def _span(part: str) -> int:
    found = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*(?:/.*)?", part)
    if found is None:
        return 1
    if max(map(len, found.groups())) > 18:
        return 1 << 60
    return abs(int(found[2]) - int(found[1])) + 1


def unfold(folded: str, most: int = MOST_NODES) -> list[str]:
    """The names, in order; none for an empty text. Raises WrongUse for what is no set, and for one of too many."""
    if not folded:
        return []
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
    from ClusterShell.RangeSet import RangeSetException

    if count_names(folded) > most:
        raise WrongUse("This set has too many nodes.", where=folded[:100], try_next=f"name at most {most}.")
    try:
        return [str(name) for name in NodeSet(folded, resolver=RESOLVER_NOGROUP)]
    except (NodeSetException, RangeSetException) as error:
        raise WrongUse(f"This is no set of nodes: {error}.", where=folded[:100], try_next="write c[0-7].") from error
