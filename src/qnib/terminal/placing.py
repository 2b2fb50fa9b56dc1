"""Which host each node lives on. Pure: the answer is kept in the cluster's record.

At the start hosts get blocks of nodes that follow each other, as racks do, in proportion to their shares. A node that
is added goes to the host with the fewest for its share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def blocks(count: int, shares: Sequence[int]) -> list[int]:
    """The place of each of `count` nodes: indexes into `shares`. What does not divide goes to the largest remainders.

    >>> blocks(4, [1, 1]), blocks(5, [3, 1])
    ([0, 0, 1, 1], [0, 0, 0, 0, 1])
    """
    total = sum(shares)
    counts = [count * share // total for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda place: -(count * shares[place] % total))
    for place in by_remainder[: count - sum(counts)]:
        counts[place] += 1
    return [place for place, here in enumerate(counts) for _ in range(here)]


def more(places: Sequence[int], added: int, shares: Sequence[int]) -> list[int]:
    """`places` and those of so many `added` nodes.

    >>> more([0, 0, 1, 1], 3, [1, 1])
    [0, 0, 1, 1, 0, 1, 0]
    """
    found = list(places)
    for _ in range(added):
        found.append(min(range(len(shares)), key=lambda place: (found.count(place) + 1) / shares[place]))
    return found


def folded(nodes: Iterable[str]) -> str:
    """compute[0-3] of their names."""
    from ClusterShell.NodeSet import NodeSet

    return str(NodeSet.fromlist(list(nodes)))
